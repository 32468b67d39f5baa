"""Target following in one pass: wanted exposures in, equity and fills out; the fast tier's action.

It asks for exposure as the orchestrator does and fills as the simulated exchange does with orders
that take liquidity. Prices are in ticks, sizes in lots, money in tick x lot until it is told.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

TRADABLE, BAR, BREAK = 1, 2, 4  # flags of PATH
BY_TARGET, BY_STOP, BY_TAKE, BY_BREAK = range(4)  # why a fill came about
PPM = 1_000_000
CUT_TO = 0.9  # of the leverage that is allowed, as risk cuts it

PATH = np.dtype(
    [
        ("ts", "<i8"),  # ns UTC, the boundary
        ("bid", "<i8"),  # ticks; of a bar both are its close
        ("ask", "<i8"),
        ("bid_size", "<i8"),  # lots at the touch; of a bar all that was traded in it
        ("ask_size", "<i8"),
        ("open", "<f8"),  # ticks: of mids, of a bar of trades
        ("high", "<f8"),
        ("low", "<f8"),
        ("mark", "<f8"),  # ticks, by consensus
        ("flags", "<i8"),
    ]
)

FILL = np.dtype(
    [
        ("row", "<i8"),  # of the path
        ("lots", "<i8"),  # signed
        ("price", "<f8"),  # ticks, the mean of all that was filled in this row
        ("decision", "<f8"),  # ticks: mid when it was decided
        ("mid", "<f8"),  # ticks: mid when it was filled
        ("touch", "<f8"),  # ticks: the best price of the other side then
        ("fee", "<f8"),  # tick x lot
        ("realised", "<f8"),  # tick x lot, before fees, of the part that was closed
        ("held", "<i8"),  # signed lots before
        ("reason", "<i8"),
    ]
)

ACCOUNT = np.dtype(
    [
        ("cash", "<f8"),  # tick x lot
        ("equity", "<f8"),  # tick x lot, at the last mark
        ("lots", "<i8"),
        ("average", "<f8"),  # ticks, of the position's entries
        ("goal", "<i8"),  # lots to hold, while `aiming`
        ("aiming", "<i8"),
        ("expiry", "<i8"),  # ns UTC of the goal
        ("decision", "<f8"),  # ticks, mid at the decision
        ("standing", "<f8"),  # exposure asked for last, tick x lot
        ("standing_ts", "<i8"),
        ("standing_until", "<i8"),
        ("stopped", "<i8"),  # the side that a stop or a target has closed, until it is not wanted
        ("ts", "<i8"),  # of the last row, ns UTC
        ("bid", "<i8"),  # of the last tradable row, as the path has them
        ("ask", "<i8"),
        ("fees", "<f8"),  # sums, tick x lot
        ("spread", "<f8"),
        ("slippage", "<f8"),
        ("latency", "<f8"),
        ("traded", "<f8"),
        ("fills", "<i8"),
    ]
)


class Rule(NamedTuple):
    """Constants of the account."""

    cap: float  # exposure at full strength, share of equity
    deadband: float  # share of the cap
    hold: int  # ns
    expiry: int  # ns
    fee: float  # fraction of the value traded
    half_spread_ppm: int  # of bars
    participation_ppm: int  # of a bar's volume
    slippage: float  # fraction: how much worse than the touch what does not fit there is filled
    latency: int  # rows between a decision and its fill, 0 or 1
    stop: float  # fraction of the entry price, 0: none
    take: float
    leverage: float  # multiple of equity that a position may grow to before it is cut back
    long_only: bool


@njit(cache=True, _nrt=False)
def touch_of(row: Any, rule: Rule, opening: bool) -> tuple[float, float]:
    """Bid and ask in ticks: of a bar about its close or its opening price, as the venue does."""
    if not row["flags"] & BAR:
        return float(row["bid"]), float(row["ask"])
    return about(np.int64(row["open"]) if opening else np.int64(row["bid"]), rule)


@njit(cache=True, _nrt=False)
def about(price: Any, rule: Rule) -> tuple[float, float]:
    """The touch that a bar is taken to have about a price, in ticks, as the venue makes it."""
    away = price // PPM * rule.half_spread_ppm + price % PPM * rule.half_spread_ppm // PPM
    bid: Any = max(np.int64(1), price - away)
    ask: Any = max(price + away, bid + 1)
    return float(bid), float(ask)


@njit(cache=True, _nrt=False)
def book(
    account: Any, rule: Rule, number: int, lots: int, price: float, touch: Any, why: int, fills: Any
) -> None:
    """Book one fill. touch: (mid, best price of the other side) when it was filled."""
    mid, best = touch
    held = account["lots"]
    realised = 0.0
    if held != 0 and (held > 0) != (lots > 0):
        closed = min(abs(held), abs(lots))
        realised = closed * (price - account["average"]) * (1.0 if held > 0 else -1.0)
        if abs(lots) > abs(held):
            account["average"] = price
    else:
        total = abs(held) + abs(lots)
        account["average"] = (account["average"] * abs(held) + price * abs(lots)) / total
    value = abs(lots) * price
    fee = value * rule.fee
    account["cash"] -= lots * price + fee
    account["lots"] = held + lots
    account["fees"] += fee
    account["spread"] += lots * (best - mid)
    account["slippage"] += lots * (price - best)
    decision = account["decision"] if why == BY_TARGET else mid
    account["latency"] += lots * (mid - decision)
    account["traded"] += value
    at = account["fills"]
    account["fills"] = at + 1
    if at < len(fills):
        fill = fills[at]
        fill["row"] = number
        fill["lots"] = lots
        fill["price"] = price
        fill["decision"] = decision
        fill["mid"] = mid
        fill["touch"] = best
        fill["fee"] = fee
        fill["realised"] = realised
        fill["held"] = held
        fill["reason"] = why


@njit(cache=True, _nrt=False)
def execute(account: Any, row: Any, rule: Rule, number: int, opening: bool, fills: Any) -> None:
    """Trade toward the goal with what this row offers.

    What does not fit at the touch of a book is filled at the worst price that an order accepts;
    of a bar no more than its share is to be had, the rest waits for the next one.
    """
    if not account["aiming"] or not row["flags"] & TRADABLE:
        return
    sent = account["ts"] if opening else row["ts"]
    if account["goal"] != 0 and sent >= account["expiry"]:
        account["aiming"] = 0
        return
    delta = account["goal"] - account["lots"]
    if delta == 0:
        account["aiming"] = 0
        return
    bid, ask = touch_of(row, rule, opening)
    best = ask if delta > 0 else bid
    shown = row["ask_size"] if delta > 0 else row["bid_size"]
    price = best
    if row["flags"] & BAR:
        most = shown // PPM * rule.participation_ppm + shown % PPM * rule.participation_ppm // PPM
        delta = min(delta, most) if delta > 0 else max(delta, -most)
    elif abs(delta) > shown:
        worst = best * (1.0 + rule.slippage if delta > 0 else 1.0 - rule.slippage)
        price = (shown * best + (abs(delta) - shown) * worst) / abs(delta)
    if delta != 0:
        book(account, rule, number, delta, price, (0.5 * (bid + ask), best), BY_TARGET, fills)
    account["aiming"] = 0 if account["goal"] == account["lots"] else 1


@njit(cache=True, _nrt=False)
def guard(account: Any, row: Any, rule: Rule, number: int, fills: Any) -> None:
    """Stop and target inside the row. Where both were touched the stop counts; a stop that the
    opening has passed fills at the opening; a target never fills better than it stands."""
    lots = account["lots"]
    if lots == 0 or (rule.stop == 0.0 and rule.take == 0.0) or not row["flags"] & TRADABLE:
        return
    side = 1.0 if lots > 0 else -1.0
    bid, ask = touch_of(row, rule, False)
    half = 0.5 * (ask - bid)
    stop = account["average"] * (1.0 - side * rule.stop)
    take = account["average"] * (1.0 + side * rule.take)
    worst = row["low"] if lots > 0 else row["high"]
    best = row["high"] if lots > 0 else row["low"]
    price = 0.0
    why = BY_STOP
    if rule.stop > 0.0 and side * (worst - stop) <= 0.0:
        price = row["open"] if side * (row["open"] - stop) < 0.0 else stop
    elif rule.take > 0.0 and side * (best - take) >= 0.0:
        price = take
        why = BY_TAKE
    if price > 0.0:
        told = max(1.0, price - side * half)
        book(account, rule, number, -lots, told, (price, told), why, fills)
        account["stopped"] = 1 if lots > 0 else -1
        account["aiming"] = 0
        account["standing_until"] = 0


@njit(cache=True, _nrt=False)
def asked(account: Any, row: Any, rule: Rule, wanted: float, cap: float) -> float:
    """The exposure to ask for now, NaN where what stands is good enough (the orchestrator's rule).

    wanted: exposure, tick x lot; cap: exposure at full strength.
    """
    held = account["lots"] * row["mark"]
    standing = account["standing_until"] > 0
    reference = account["standing"] if row["ts"] < account["standing_until"] else held
    band = rule.deadband * cap
    turns = reference != 0.0 and wanted * reference <= 0.0
    if turns and abs(wanted) <= band:
        wanted = 0.0
    elif not turns and abs(wanted - reference) <= band:
        return np.nan
    grows = abs(wanted) > abs(reference) or (turns and wanted != 0.0)
    if grows and standing and row["ts"] - account["standing_ts"] < rule.hold:
        return 0.0 if turns else np.nan
    return wanted


@njit(cache=True, _nrt=False)
def aim(account: Any, row: Any, rule: Rule, lots: Any) -> None:
    """Make so many signed lots the goal."""
    account["goal"] = lots
    account["aiming"] = 1
    account["expiry"] = row["ts"] + rule.expiry
    bid, ask = touch_of(row, rule, False)
    account["decision"] = 0.5 * (bid + ask)


@njit(cache=True, _nrt=False)
def decide(account: Any, row: Any, rule: Rule, strength: float) -> None:
    """Set a goal at the close of a row, if there is reason to.

    A position that has outgrown the leverage allowed is cut back first, whatever is wanted.
    """
    mark = row["mark"]
    if not row["flags"] & TRADABLE or not mark > 0.0:
        return
    equity = account["cash"] + account["lots"] * mark
    gross = abs(account["lots"]) * mark
    if gross > rule.leverage * max(0.0, equity):
        share = max(0.0, CUT_TO * rule.leverage * equity / gross)
        aim(account, row, rule, np.int64(account["lots"] * share))
        return
    if np.isnan(strength) or not equity > 0.0:
        return
    strength = min(1.0, max(0.0 if rule.long_only else -1.0, strength))
    if account["stopped"] != 0:
        if strength * account["stopped"] > 0.0:
            return
        account["stopped"] = 0
    cap = rule.cap * equity
    exposure = asked(account, row, rule, strength * cap, cap)
    if np.isnan(exposure):
        return
    account["standing"] = exposure
    account["standing_ts"] = row["ts"]
    account["standing_until"] = row["ts"] + rule.expiry
    lots = np.int64(abs(exposure) / mark)
    aim(account, row, rule, lots if exposure > 0.0 else -lots)


@njit(cache=True, _nrt=False)
def step(account: Any, row: Any, strength: float, rule: Rule, number: int, fills: Any) -> float:
    """One row of the path; returns the equity at its end, tick x lot.

    After a break in the data the account starts flat: what was held is sold at the last touch
    before it, because nothing is known of the time between.
    """
    if row["flags"] & BREAK:
        lots = account["lots"]
        if lots != 0:
            bid, ask = float(account["bid"]), float(account["ask"])
            if row["flags"] & BAR:
                bid, ask = about(account["bid"], rule)
            price = bid if lots > 0 else ask
            mid = 0.5 * (bid + ask)
            book(account, rule, number, -lots, price, (mid, price), BY_BREAK, fills)
        account["aiming"] = 0
        account["standing_until"] = 0
        account["stopped"] = 0
    if rule.latency == 1:
        execute(account, row, rule, number, True, fills)
    guard(account, row, rule, number, fills)
    decide(account, row, rule, strength)
    if rule.latency == 0:
        execute(account, row, rule, number, False, fills)
    if row["flags"] & TRADABLE:
        account["bid"] = row["bid"]
        account["ask"] = row["ask"]
    account["ts"] = row["ts"]
    if row["mark"] > 0.0:
        account["equity"] = account["cash"] + account["lots"] * row["mark"]
    return float(account["equity"])


@njit(cache=True, _nrt=False)
def run(
    account: Any, path: Any, strengths: Any, rule: Rule, first: int, equity: Any, fills: Any
) -> None:
    """A block: `step` for each row; `equity` takes one value per row, `fills` as many as fit.

    first: number of the block's first row.
    """
    for i in range(len(path)):
        equity[i] = step(account, path[i], strengths[i], rule, first + i, fills)
