"""The features once more, slowly: from the tape's rows and the formulas, with pandas and friends.

Books are dictionaries, sums are Python's, windows are pandas', slopes statsmodels', components
scikit-learn's. Nothing here is shared with the kernels but the names of the columns.
"""

import heapq
import math
from collections import defaultdict
from typing import Any

import numpy as np
import pandas as pd
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy.stats import norm
from sklearn.decomposition import PCA

from seawall.core.events import EventFlag, EventKind

NOTHING = {0: (-math.inf, 0), 1: (math.inf, 0)}  # a bid and an ask that are not there
BPS = 1e4


class Told:
    """What the rows of one frame said of one book; sizes in lots, prices in ticks."""

    def __init__(self) -> None:
        self.events: list[list[int]] = []  # e of levels 1 to 10, per message
        self.touch: list[tuple[int, int]] = []  # e of the best bid, e of the best ask
        self.shown: list[int] = []  # lots on ten levels of both sides, per message
        self.trades: list[tuple[int, int, int, float]] = []  # sign, price, size, mid
        self.book: tuple[list[Any], list[Any]] = ([], [])


def top(levels: dict[int, int], side: int) -> list[tuple[float, int]]:
    """Ten best levels of a side, padded with nothing."""
    prices = heapq.nlargest(10, levels) if side == 0 else heapq.nsmallest(10, levels)
    found: list[tuple[float, int]] = [(price, levels[price]) for price in prices]
    return found + [NOTHING[side]] * (10 - len(found))


def change(side: int, new: tuple[float, int], old: tuple[float, int]) -> int:
    """One side's part of e_n, counted as added to that side's queue."""
    better = new[0] >= old[0] if side == 0 else new[0] <= old[0]
    worse = new[0] <= old[0] if side == 0 else new[0] >= old[0]
    return new[1] * better - old[1] * worse


def told(rows: NDArray[Any], ends: NDArray[np.int64], book: tuple[int, int]) -> list[Told]:
    """Of each frame that closes at `ends`, what the rows said. Needs a tape without gaps."""
    frames = [Told() for _ in ends]
    sides: tuple[dict[int, int], dict[int, int]] = ({}, {})
    before: tuple[list[Any], list[Any]] | None = None
    last_price, direction = 0, 0
    mine = rows[(rows["instrument"] == book[0]) & (rows["source"] == book[1])]
    at = np.searchsorted(ends, mine["recv_ts"])
    for frame_index, row in zip(at.tolist(), mine.tolist(), strict=True):
        if frame_index == len(ends):
            break
        frame = frames[frame_index]
        _, _, _, _, price, size, _, _, kind, side, flags = row
        if kind == EventKind.TRADE:
            mid = (max(sides[0]) + min(sides[1])) / 2
            if price != last_price:
                direction = 0 if not last_price else (1 if price > last_price else -1)
            sign = {0: 1, 1: -1}.get(side) or (price > mid) - (price < mid) or direction
            frame.trades.append((sign, price, size, mid))
            last_price = price
            continue
        if kind == EventKind.SNAPSHOT:
            sides[0].clear()
            sides[1].clear()
        elif size:
            sides[side][price] = size
        else:
            sides[side].pop(price, None)
        if flags & EventFlag.END:
            now = (top(sides[0], 0), top(sides[1], 1))
            if before is not None:
                parts = [[change(s, now[s][m], before[s][m]) for m in range(10)] for s in (0, 1)]
                frame.events.append([b - a for b, a in zip(*parts, strict=True)])
                frame.touch.append((parts[0][0], parts[1][0]))
                frame.shown.append(sum(q for s in now for _, q in s))
            before = now
            for later in frames[frame_index:]:
                if later.book[0] == now[0] and later.book[1] == now[1]:
                    break
                later.book = now
    return frames


def z_score(values: Any) -> Any:
    """Of each value in its last hundred."""
    rolling = pd.Series(values, dtype=float).rolling(100)
    away = (values - rolling.mean()).where(rolling.std() > 1e-9, 0.0)
    return (away / rolling.std().where(rolling.std() > 1e-9, 1.0)).where(rolling.mean().notna())


def columns(
    frames: NDArray[Any], said: list[Told], tick: float, lot: float, seconds: float
) -> dict[str, Any]:
    """Column → values of one book's frames, all VALID and without a RESET but the first."""
    out: dict[str, Any] = {}
    out |= order_flow(said)
    out |= prices(frames)
    out |= volume(frames, said, lot)
    out |= queues(said, lot)
    out |= volatility(frames)
    out |= integrated(said)
    out |= costs(frames, said, tick)
    out |= kyle(frames, said, lot)
    out["vpin"] = vpin(frames, said, out["realised_volatility_100"], lot)
    out |= intensity(said, seconds)
    return out


def order_flow(said: list[Told]) -> dict[str, Any]:
    """OFI of levels, raw and over windows."""
    by_level = np.array([np.sum(one.events, axis=0) if one.events else [0] * 10 for one in said])
    out: dict[str, Any] = {"ofi_level_l5": by_level[:, 4], "ofi_level_l10": by_level[:, 9]}
    for levels in (1, 5, 10):
        series = pd.Series(by_level[:, :levels].sum(axis=1), dtype=float)
        out[f"ofi_l{levels}"] = series
        for window in (10, 50, 100):
            rolling = series.rolling(window)
            out[f"ofi_mean_l{levels}_{window}"] = rolling.mean()
            out[f"ofi_std_l{levels}_{window}"] = rolling.apply(lambda x: np.std(x, ddof=1))
            out[f"ofi_sum_l{levels}_{window}"] = rolling.sum()
    return out


def prices(frames: NDArray[Any]) -> dict[str, Any]:
    """Mid, weighted mid, and Kaufman's average of mids."""
    mid = frames["mid"]
    share = frames["bid_size"] / (frames["bid_size"] + frames["ask_size"])
    tick = mid[0] / ((frames["bid"][0] + frames["ask"][0]) / 2)
    weighted = tick * (share * frames["ask"] + (1 - share) * frames["bid"])
    fair, efficiency, value = np.full(len(mid), np.nan), np.full(len(mid), np.nan), mid[9]
    for i in range(10, len(mid)):
        walked = sum(abs(mid[k] - mid[k - 1]) for k in range(i - 9, i + 1))
        efficiency[i] = abs(mid[i] - mid[i - 10]) / walked if walked else 0.0
        value += (efficiency[i] * (2 / 3 - 2 / 31) + 2 / 31) ** 2 * (mid[i] - value)
        fair[i] = value
    return {
        "mid": mid,
        "weighted_mid": weighted,
        "weighted_mid_deviation": BPS * (weighted / mid - 1),
        "fair_value_10": fair,
        "fair_value_deviation_10": BPS * (mid / fair - 1),
        "efficiency_10": efficiency,
    }


def volume(frames: NDArray[Any], said: list[Told], lot: float) -> dict[str, Any]:
    """Spread, and what was traded."""
    total = np.array([sum(size for _, _, size, _ in one.trades) for one in said])
    signed = np.array([sum(q * size for q, _, size, _ in one.trades) for one in said])
    count = np.array([len(one.trades) for one in said])
    signs = np.array([sum(q for q, *_ in one.trades) for one in said])
    value = np.array([sum(p * size for _, p, size, _ in one.trades) for one in said])
    spread = frames["ask"] - frames["bid"]
    mid = (frames["ask"] + frames["bid"]) / 2
    some = np.maximum(total, 1)
    return {
        "spread": spread,
        "spread_bps": BPS * spread / mid,
        "spread_z_100": z_score(spread),
        "volume": total * lot,
        "signed_volume": signed * lot,
        "volume_imbalance": signed / some,
        "volume_z_100": z_score(total),
        "trades": count,
        "trade_size": total / np.maximum(count, 1) * lot,
        "vwap_deviation": np.where(total > 0, BPS * (value / some / mid - 1), 0.0),
        "trade_sign": signs / np.maximum(count, 1),
    }


def queues(said: list[Told], lot: float) -> dict[str, Any]:
    """Sizes shown, and what came and went at the touch."""
    shown = {
        (side, m): np.array([sum(q for _, q in one.book[side][:m]) for one in said])
        for side in (0, 1)
        for m in (1, 5, 10)
    }
    out: dict[str, Any] = {
        f"queue_imbalance_l{m}": (shown[0, m] - shown[1, m]) / (shown[0, m] + shown[1, m])
        for m in (1, 5, 10)
    }
    out["bid_depth_l10"], out["ask_depth_l10"] = shown[0, 10] * lot, shown[1, 10] * lot
    out["depth_z_l10_100"] = z_score(shown[0, 10] + shown[1, 10])
    for side, name in enumerate(("bid", "ask")):
        for word, way in (("added", 1), ("removed", -1)):
            out[f"{name}_{word}"] = lot * np.array(
                [sum(max(0, way * touch[side]) for touch in one.touch) for one in said]
            )
    return out


def volatility(frames: NDArray[Any]) -> dict[str, Any]:
    """Four estimators over the mids of frames; a frame opens where the one before closed."""
    close = pd.Series(frames["mid"])
    opened, high, low = (pd.Series(frames[name]) for name in ("open", "high", "low"))
    squares = {
        "realised": np.log(close).diff() ** 2,
        "parkinson": np.log(high / low) ** 2 / (4 * np.log(2)),
        "garman_klass": 0.5 * np.log(high / low) ** 2
        - (2 * np.log(2) - 1) * np.log(close / opened) ** 2,
        "rogers_satchell": np.log(high / close) * np.log(high / opened)
        + np.log(low / close) * np.log(low / opened),
    }
    out = {}
    for name, series in squares.items():
        series[0] = np.nan  # the first frame has no return, and has not lasted
        for window in (20, 50, 100):
            mean = series.rolling(window).apply(np.mean)
            out[f"{name}_volatility_{window}"] = np.sqrt(mean)
    return out


def integrated(said: list[Told]) -> dict[str, Any]:
    """Cont, Cucuringu and Zhang 2023, on weights of the last whole block of 300 frames."""
    scaled = np.zeros((len(said), 10))
    for i, one in enumerate(said):
        if one.events:
            mean_size = np.mean(one.shown) / 20
            scaled[i] = np.sum(one.events, axis=0) / mean_size
    out = np.full(len(said), np.nan)
    for start in range(300, len(said), 300):
        weights = PCA(n_components=1).fit(scaled[start - 300 : start]).components_[0]
        weights /= np.abs(weights).sum() * (1 if weights.sum() >= 0 else -1)
        out[start : start + 300] = scaled[start : start + 300] @ weights
    return {"ofi_integrated": out}


def costs(frames: NDArray[Any], said: list[Told], tick: float) -> dict[str, Any]:
    """Spreads of Roll, of Huang and Stoll (1996 and 1997), over 100 frames."""
    mid = (frames["bid"] + frames["ask"]) / 2
    names = "effective_spread realised_spread price_impact roll_spread huang_stoll_spread"
    names += " huang_stoll_lambda huang_stoll_adverse huang_stoll_inventory"
    out = defaultdict(lambda: np.full(len(said), np.nan))
    trades = [(i, *trade) for i, one in enumerate(said) for trade in one.trades]
    frame = np.array([i for i, *_ in trades])
    sign, price, size, middle = (
        np.array([trade[k] for trade in trades], float) for k in (1, 2, 3, 4)
    )
    moves = np.diff(price)
    for i in range(99, len(said)):
        mine = (frame > i - 100) & (frame <= i)
        if mine.any():
            paid = 2 * sign * (price - middle) * size
            out["effective_spread_100"][i] = BPS * paid[mine].sum() / (size * middle)[mine].sum()
        if i >= 104:
            ripe = (frame > i - 105) & (frame <= i - 5)
            if ripe.any():
                later = mid[np.minimum(frame + 5, len(mid) - 1)]
                told_us, value = 2 * sign * (later - middle) * size, (size * middle)[ripe].sum()
                kept = 2 * sign * (price - later) * size
                out["price_impact_100"][i] = BPS * told_us[ripe].sum() / value
                out["realised_spread_100"][i] = BPS * kept[ripe].sum() / value
        new, old = moves[1:][mine[2:]], moves[:-1][mine[2:]]
        if len(new) > 1:
            covariance = np.cov(new, old)[0, 1]
            roll = 2 * math.sqrt(-covariance) if covariance < 0 else 0.0
            out["roll_spread_100"][i] = BPS * roll / mid[i]
        signed = mine[2:] & (sign[2:] != 0) & (sign[1:-1] != 0) & (sign[:-2] != 0)
        q = np.column_stack((sign[2:], sign[1:-1], sign[:-2]))[signed]
        if len(q) > 3 and i % 11 == 0:
            change = moves[1:][signed]
            two = sm.OLS(change, np.column_stack((q[:, 0] - q[:, 1], q[:, 1]))).fit().params
            out["huang_stoll_spread_100"][i] = BPS * 2 * two[0] / mid[i]
            out["huang_stoll_lambda_100"][i] = two[1] / two[0]
            if np.linalg.matrix_rank(q) == 3:
                half, second, third = sm.OLS(change, q).fit().params
                adverse = -third / half / np.mean(q[:, 1] * q[:, 2])
                out["huang_stoll_adverse_100"][i] = adverse
                out["huang_stoll_inventory_100"][i] = second / half + 1 - adverse
    return {f"{name}_100": out[f"{name}_100"] for name in names.split()}


def kyle(frames: NDArray[Any], said: list[Told], lot: float) -> dict[str, Any]:
    """Kyle's lambda with Newey and West's t, every eleventh frame."""
    bought = np.array([sum(q * size for q, _, size, _ in one.trades) for one in said]) * lot
    moves = np.diff(frames["mid"], prepend=np.nan)
    found, t = np.full(len(said), np.nan), np.full(len(said), np.nan)
    for i in range(100, len(said)):
        x, y = bought[i - 99 : i + 1], moves[i - 99 : i + 1]
        if i % 11 == 0 and np.ptp(x) > 0:
            fit = sm.OLS(y, sm.add_constant(x, has_constant="add")).fit(
                cov_type="HAC", cov_kwds={"maxlags": 4}
            )
            found[i], t[i] = fit.params[1], fit.tvalues[1]
    return {"kyle_lambda_100": found, "kyle_t_100": t}


def vpin(frames: NDArray[Any], said: list[Told], scale: Any, lot: float) -> Any:
    """Volume as a list of small equal pieces, cut into buckets one after the other."""
    out = np.full(len(said), np.nan)
    returns = np.diff(np.log(frames["mid"]), prepend=np.nan)
    volumes, buckets = [], []
    size = filled = one_sided = 0.0
    for i, one in enumerate(said):
        traded = sum(trade[2] for trade in one.trades) * lot
        sigma = scale.iloc[i - 1] if i else math.nan
        if traded > 0 and sigma > 0:
            volumes.append(traded)
            weights = (1 - 1 / 600) ** np.arange(len(volumes) - 1, -1, -1.0)
            usual = np.average(volumes, weights=weights)
            size = size or 20 * usual
            lean = 2 * norm.cdf(returns[i] / sigma) - 1
            left = min(traded, 50 * size)
            while left > 0:
                part = min(left, size - filled)
                filled, one_sided, left = filled + part, one_sided + part * lean, left - part
                if filled >= size * (1 - 1e-12):
                    buckets.append(abs(one_sided) / size)
                    filled, one_sided, size = 0.0, 0.0, 20 * usual
        if len(buckets) >= 50:
            out[i] = np.mean(buckets[-50:])
    return out


def intensity(said: list[Told], seconds: float) -> dict[str, Any]:
    """Counts per second over 50 frames."""
    counts = {
        "trade": [len(one.trades) for one in said],
        "buy": [sum(q > 0 for q, *_ in one.trades) for one in said],
        "sell": [sum(q < 0 for q, *_ in one.trades) for one in said],
        "message": [len(one.events) for one in said],
    }
    return {
        f"{name}_intensity_50": pd.Series(values).rolling(50).sum() / (50 * seconds)
        for name, values in counts.items()
    }
