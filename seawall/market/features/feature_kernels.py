"""The features, compiled: a closed frame and what its flow added up, into one row of numbers.

Windows are of frames of one book; they begin anew at a RESET and after a frame that is not VALID.
Sums over windows are exact integers, or are added up afresh for every frame: nothing drifts.
Names, units, formulas and sources: seawall/market/features/table.py.
"""

import math

import numpy as np
from numba import njit

from seawall.market.features import flow_kernels as flow
from seawall.market.features import vpin_kernels as vpins
from seawall.market.features.fit_kernels import (
    LAGS,
    collect,
    first_component,
    roll_spread,
    slope,
    split_three,
    split_two,
    square_sum,
)

VALID, RESET, BAR = 1, 4, 16
LONG = 100  # frames in the longest window
MIDDLE = 50
WINDOWS = (10, 50, 100)  # of sums
VOLATILITY_WINDOWS = (20, 50, 100)
RECENT = 8  # series that are gone through value by value, the first ones
EFFICIENCY = 10  # frames
FAST, SLOW = 2.0 / 3.0, 2.0 / 31.0
HORIZON = 5  # frames from a trade's own to the mid it is held against
BLOCK = 300  # frames that the integrated OFI's weights are fitted on
BUCKETS = 10  # of the imbalance, for the micro-price
SPREADS = 4  # classes of the spread for it: 1, 2, 3 ticks, and more
RANGE = 1.0 / (4.0 * math.log(2.0))  # Parkinson
CLOSE = 2.0 * math.log(2.0) - 1.0  # Garman and Klass

STATE = np.dtype(
    [
        ("tick", "<f8"),  # quote units
        ("lot", "<f8"),  # base units
        ("seconds", "<f8"),  # of a frame
        ("adjustment", "<f8", (SPREADS, BUCKETS)),  # G*, ticks; NaN while it is not fitted
        ("frames", "<i8"),  # since the windows began
        ("now", "<i8", (flow.SERIES,)),  # the series of the frame under way
        ("ring", "<i8", (LONG, flow.SERIES)),
        ("totals", "<i8", (3, flow.SERIES)),  # over WINDOWS
        ("recent", "<i8", (RECENT, 2 * LONG)),  # each twice, so that every window is in one piece
        ("squares", "<f8", (LONG, 4)),  # of each volatility, from the second frame on
        ("volatility", "<f8"),  # realised, over the last LONG frames; NaN before
        ("fair", "<f8"),
        ("scaled", "<f8", (flow.LEVELS,)),  # OFI of each level over the mean size
        ("count", "<i8"),  # of the block under way
        ("mean", "<f8", (flow.LEVELS,)),
        ("scatter", "<f8", (flow.LEVELS, flow.LEVELS)),
        ("fitted", "<i8"),
        ("weights", "<f8", (flow.LEVELS,)),
        ("room", "<f8", (LONG + LAGS,)),
    ]
)


@njit(cache=True)
def begin(state, vpin):
    """Windows begin anew."""
    state["frames"] = 0
    state["totals"][:, :] = 0
    state["volatility"] = np.nan
    state["count"] = 0
    state["fitted"] = 0
    vpins.begin(vpin)


@njit(cache=True)
def derive(state, frame, sample):
    """The series of this frame: those of the flow, and those that need frames before."""
    now, ring, n = state["now"], state["ring"], state["frames"]
    for k in range(flow.SERIES):
        now[k] = sample["sums"][k]
    mid_2 = frame["bid"] + frame["ask"]
    now[flow.MID_2] = mid_2
    now[flow.SPREAD] = frame["ask"] - frame["bid"]
    now[flow.DISPLAYED] = sample["depth"][0, 2] + sample["depth"][1, 2]
    if frame["flags"] & BAR:
        traded = frame["buy_volume"] + frame["sell_volume"]
        now[flow.VOLUME] = np.int64(round(traded / state["lot"]))
    if n > 0:
        move = mid_2 - ring[(n - 1) % LONG, flow.MID_2]
        now[flow.MOVE] = move
        now[flow.DISTANCE] = abs(move)
    if n >= HORIZON:
        past = ring[(n - HORIZON) % LONG]
        now[flow.IMPACT] = past[flow.MARKED] * mid_2 - past[flow.MARKED_MID]
        now[flow.PAST_EFFECTIVE] = past[flow.EFFECTIVE]
        now[flow.PAST_VALUE] = past[flow.MARKED_VALUE]


@njit(cache=True)
def roll(state):
    """The series into the windows."""
    now, ring, totals, n = state["now"], state["ring"], state["totals"], state["frames"]
    for w in range(3):
        if n >= WINDOWS[w]:
            old = (n - WINDOWS[w]) % LONG
            for k in range(flow.SERIES):
                totals[w, k] += now[k] - ring[old, k]
        else:
            for k in range(flow.SERIES):
                totals[w, k] += now[k]
    row = n % LONG
    for k in range(flow.SERIES):
        ring[row, k] = now[k]
    recent = state["recent"]
    for k in range(RECENT):
        recent[k, row] = now[k]
        recent[k, row + LONG] = now[k]


@njit(cache=True)
def last(state, series, span):
    """The newest `span` values of a series, in order of time."""
    stop = state["frames"] % LONG + LONG + 1
    return state["recent"][series, stop - span : stop]


@njit(cache=True)
def deviation(state, window, series):
    """Standard deviation (n - 1) of a series over a window."""
    span = WINDOWS[window]
    mean = state["totals"][window, series] / span
    return math.sqrt(square_sum(last(state, series, span), mean) / (span - 1))


@njit(cache=True)
def z_score(state, series):
    """Where a series stands in its longest window, in standard deviations."""
    away = state["now"][series] - state["totals"][2, series] / LONG
    scale = deviation(state, 2, series)
    return away / scale if scale > 0.0 else 0.0


@njit(cache=True)
def ratio(above, below):
    """A quotient that is 0 where there is nothing to divide by."""
    return above / below if below != 0 else 0.0


@njit(cache=True)
def write_prices(state, frame, out):
    """Mid, its weighted kinds, and the adaptive fair value."""
    mid = frame["mid"]
    out["mid"] = mid
    both = frame["bid_size"] + frame["ask_size"]
    if both > 0:
        out["weighted_mid"] = frame["micro"]
        out["weighted_mid_deviation"] = (frame["micro"] - mid) / mid * 1e4
        spread = frame["ask"] - frame["bid"]
        bucket = min(BUCKETS - 1, np.int64(BUCKETS * (frame["bid_size"] / both)))
        adjustment = state["adjustment"][min(SPREADS, max(1, spread)) - 1, bucket]
        out["micro_price"] = mid + adjustment * state["tick"]
        out["micro_price_deviation"] = adjustment * state["tick"] / mid * 1e4
    n = state["frames"]
    if n < EFFICIENCY:
        state["fair"] = mid
        return
    gone = state["now"][flow.MID_2] - state["ring"][(n - EFFICIENCY) % LONG, flow.MID_2]
    efficiency = ratio(abs(gone), state["totals"][0, flow.DISTANCE])
    pace = efficiency * (FAST - SLOW) + SLOW
    state["fair"] += pace * pace * (mid - state["fair"])
    out["fair_value"] = state["fair"]
    out["fair_value_deviation"] = (mid - state["fair"]) / state["fair"] * 1e4
    out["efficiency"] = efficiency


@njit(cache=True)
def write_volume(state, frame, out):
    """Spread, and what was traded."""
    now, lot = state["now"], state["lot"]
    out["volume"] = now[flow.VOLUME] * lot
    out["vwap_deviation"] = 0.0
    if now[flow.VOLUME] > 0:
        vwap = now[flow.TRADED] / now[flow.VOLUME] * state["tick"]
        if frame["flags"] & BAR:
            vwap = frame["vwap"]
        out["vwap_deviation"] = (vwap - frame["mid"]) / frame["mid"] * 1e4
    warm = state["frames"] >= LONG - 1
    if warm:
        out["volume_z"] = z_score(state, flow.VOLUME)
    if frame["flags"] & BAR:
        return
    out["spread"] = now[flow.SPREAD]
    out["spread_bps"] = frame["spread_bps"]
    out["signed_volume"] = now[flow.NET] * lot
    out["volume_imbalance"] = ratio(now[flow.NET], now[flow.VOLUME])
    out["trades"] = now[flow.TRADES]
    out["trade_size"] = ratio(now[flow.VOLUME], now[flow.TRADES]) * lot
    out["trade_sign"] = ratio(now[flow.SIGNS], now[flow.TRADES])
    if warm:
        out["spread_z"] = z_score(state, flow.SPREAD)


@njit(cache=True)
def write_queue(state, sample, out):
    """The queues on both sides."""
    depth, now, lot = sample["depth"], state["now"], state["lot"]
    for i in range(3):
        bids, asks = depth[0, i], depth[1, i]
        out["queue_imbalance"][i] = ratio(bids - asks, bids + asks)
    out["bid_depth"] = depth[0, 2] * lot
    out["ask_depth"] = depth[1, 2] * lot
    out["bid_added"] = now[flow.BID_ADDED] * lot
    out["bid_removed"] = now[flow.BID_REMOVED] * lot
    out["ask_added"] = now[flow.ASK_ADDED] * lot
    out["ask_removed"] = now[flow.ASK_REMOVED] * lot
    if state["frames"] >= LONG - 1:
        out["depth_z"] = z_score(state, flow.DISPLAYED)


@njit(cache=True)
def write_order_flow(state, sample, out):
    """Order-flow imbalance by level, over windows, and integrated."""
    totals = state["totals"]
    for i in range(3):
        out["ofi"][i] = state["now"][flow.OFI + i]
        for w in range(3):
            if state["frames"] >= WINDOWS[w] - 1:
                out["ofi_sum"][i, w] = totals[w, flow.OFI + i]
                out["ofi_mean"][i, w] = totals[w, flow.OFI + i] / WINDOWS[w]
                out["ofi_std"][i, w] = deviation(state, w, flow.OFI + i)
    out["ofi_level"][0] = sample["level_ofi"][4]
    out["ofi_level"][1] = sample["level_ofi"][9]
    scaled, weights = state["scaled"], state["weights"]
    size = sample["displayed_sum"] / (2.0 * flow.LEVELS * max(1, sample["sums"][flow.MESSAGES]))
    total = 0.0
    for m in range(flow.LEVELS):
        scaled[m] = ratio(np.float64(sample["level_ofi"][m]), size)
        total += weights[m] * scaled[m]
    if state["fitted"]:
        out["ofi_integrated"] = total
    if state["count"] == 0:
        state["mean"][:] = 0.0
        state["scatter"][:, :] = 0.0
    state["count"] += 1
    collect(state["count"], scaled, state["mean"], state["scatter"])
    if state["count"] == BLOCK:
        state["count"] = 0
        if first_component(state["scatter"], weights):
            state["fitted"] = 1


@njit(cache=True)
def write_volatility(state, vpin, frame, out):
    """Four volatilities over three windows; VPIN, whose scale is that before this frame."""
    n = state["frames"]
    change = 0.0
    if n > 0:
        now, squares = state["now"], state["squares"]
        change = math.log(now[flow.MID_2] / (now[flow.MID_2] - now[flow.MOVE]))
        high = math.log(frame["high"] / frame["open"])
        low = math.log(frame["low"] / frame["open"])
        close = math.log(frame["mid"] / frame["open"])
        row = (n - 1) % LONG
        wide = (high - low) * (high - low)
        squares[row, 0] = change * change
        squares[row, 1] = wide * RANGE
        squares[row, 2] = 0.5 * wide - CLOSE * close * close
        squares[row, 3] = (high - close) * high + (low - close) * low
    volume = state["now"][flow.VOLUME]
    if volume > 0 and state["volatility"] > 0.0:
        vpins.step(vpin, volume * state["lot"], change, state["volatility"])
    out["vpin"] = vpin["vpin"]
    add_up_squares(state, out)


@njit(cache=True)
def add_up_squares(state, out):
    """Means of the squares over each window, from the newest back."""
    n, squares = state["frames"], state["squares"]
    row = (n - 1) % LONG
    done = 0
    realised = parkinson = garman_klass = rogers_satchell = 0.0
    for w in range(3):
        span = VOLATILITY_WINDOWS[w]
        if n < span:
            return
        for _ in range(span - done):
            realised += squares[row, 0]
            parkinson += squares[row, 1]
            garman_klass += squares[row, 2]
            rogers_satchell += squares[row, 3]
            row = row - 1 if row > 0 else LONG - 1
        done = span
        out["realised_volatility"][w] = math.sqrt(realised / span)
        out["parkinson_volatility"][w] = math.sqrt(parkinson / span)
        out["garman_klass_volatility"][w] = math.sqrt(garman_klass / span)
        out["rogers_satchell_volatility"][w] = math.sqrt(max(0.0, rogers_satchell) / span)
    state["volatility"] = out["realised_volatility"][2]


@njit(cache=True)
def write_costs(state, mid, out):
    """What trading cost and what it told, over the longest window."""
    totals, tick = state["totals"][2], state["tick"]
    bps = 1e4 * tick / mid
    if totals[flow.MARKED_VALUE] > 0:
        out["effective_spread"] = 2e4 * totals[flow.EFFECTIVE] / totals[flow.MARKED_VALUE]
    if state["frames"] >= LONG - 1 + HORIZON and totals[flow.PAST_VALUE] > 0:
        impact = 2e4 * totals[flow.IMPACT] / totals[flow.PAST_VALUE]
        kept = totals[flow.PAST_EFFECTIVE] - totals[flow.IMPACT]
        out["realised_spread"] = 2e4 * kept / totals[flow.PAST_VALUE]
        out["price_impact"] = impact
    out["roll_spread"] = bps * roll_spread(
        totals[flow.ROLL_N],
        totals[flow.ROLL_NEW],
        totals[flow.ROLL_OLD],
        totals[flow.ROLL_PRODUCT],
    )
    n, r01 = totals[flow.SPLIT_N], totals[flow.SPLIT_01]
    p0, p1 = totals[flow.SPLIT_P0], totals[flow.SPLIT_P1]
    spread, share = split_two(n, r01, p0, p1)
    out["huang_stoll_spread"] = bps * spread
    out["huang_stoll_lambda"] = share
    r12, r02, p2 = totals[flow.SPLIT_12], totals[flow.SPLIT_02], totals[flow.SPLIT_P2]
    adverse, inventory = split_three(n, r01, r12, r02, p0, p1, p2)
    out["huang_stoll_adverse"] = adverse
    out["huang_stoll_inventory"] = inventory


@njit(cache=True)
def write_kyle(state, out):
    """How far the mid moves with what is bought, frame by frame."""
    x, y, totals = last(state, flow.NET, LONG), last(state, flow.MOVE, LONG), state["totals"][2]
    mean_x, mean_y = totals[flow.NET] / LONG, totals[flow.MOVE] / LONG
    found, t = slope(x, y, mean_x, mean_y, state["room"])
    out["kyle_lambda"] = found * 0.5 * state["tick"] / state["lot"]
    out["kyle_t"] = t


@njit(cache=True)
def write_intensity(state, out):
    """How often things happen."""
    totals = state["totals"][1]
    time = MIDDLE * state["seconds"]
    out["trade_intensity"] = totals[flow.TRADES] / time
    out["buy_intensity"] = totals[flow.BUYS] / time
    out["sell_intensity"] = totals[flow.SELLS] / time
    out["message_intensity"] = totals[flow.MESSAGES] / time


@njit(cache=True)
def step(state, vpin, frame, sample, out):
    """One frame of a book and its sample into `out` (FEATURES), which comes filled with NaN."""
    flags = frame["flags"]
    if not flags & VALID or flags & RESET:
        begin(state, vpin)
    if not flags & VALID:
        return
    derive(state, frame, sample)
    roll(state)
    write_prices(state, frame, out)
    write_volume(state, frame, out)
    write_volatility(state, vpin, frame, out)
    if not flags & BAR:
        write_order_flow(state, sample, out)
        write_queue(state, sample, out)
        if state["frames"] >= MIDDLE - 1:
            write_intensity(state, out)
        if state["frames"] >= LONG - 1:
            write_costs(state, frame["mid"], out)
        if state["frames"] >= LONG:
            write_kyle(state, out)
    state["frames"] += 1


@njit(cache=True)
def run(states, vpin, frames, samples, out):
    """A block of frames in order, with their samples; states and vpin: (books,)."""
    for i in range(len(frames)):
        at = frames[i]["book"]
        step(states[at], vpin[at], frames[i], samples[i], out[i])
