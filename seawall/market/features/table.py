"""Every feature once: name, unit, formula, source; the kernel's record and the documents follow it.

A feature may have several levels of the book and several windows; each combination is one column,
`name_l5_100` for level 5 over 100 frames. The record FEATURES has one field per feature.
"""

from itertools import product
from typing import Any, NamedTuple

import numpy as np

OFI_WINDOWS = (10, 50, 100)
VOLATILITY_WINDOWS = (20, 50, 100)
LEVELS = (1, 5, 10)
LONG = (100,)


class Feature(NamedTuple):
    """One feature.

    Attributes:
        levels: of the book, one column each; none where it has no levels.
        windows: in frames, the current one included; one column each.
        basic: one of the 70 columns that order-book models commonly share.
    """

    name: str
    group: str
    unit: str
    formula: str
    source: str
    levels: tuple[int, ...] = ()
    windows: tuple[int, ...] = ()
    basic: bool = True

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of its columns in the record's order."""
        marks = [[f"l{level}" for level in self.levels], [str(window) for window in self.windows]]
        return tuple("_".join((self.name, *mark)) for mark in product(*filter(None, marks)))

    @property
    def shape(self) -> tuple[int, ...]:
        """Of its field in the record."""
        return tuple(len(axis) for axis in (self.levels, self.windows) if len(axis) > 1)


CONT = "Cont, Kukanov, Stoikov 2014"
XU = "Xu, Gould, Howison 2018"
INTEGRATED = "Cont, Cucuringu, Zhang 2023"
STOIKOV = "Stoikov 2018"
KAUFMAN = "Kaufman 1995"
HUANG = "Huang, Stoll 1997"
SPREADS = "Huang, Stoll 1996"
PLAIN = "–"
Z = "(x − mean) / standard deviation over the window, 0 where that is 0; x = "

TABLE = (
    Feature("ofi", "order flow", "lots", "Σ over messages and levels 1 … l of e", CONT, LEVELS),
    Feature(
        "ofi_mean", "order flow", "lots", "mean of `ofi` over the window", CONT, LEVELS, OFI_WINDOWS
    ),
    Feature(
        "ofi_std",
        "order flow",
        "lots",
        "standard deviation of `ofi` over the window (n − 1)",
        CONT,
        LEVELS,
        OFI_WINDOWS,
    ),
    Feature(
        "ofi_sum", "order flow", "lots", "sum of `ofi` over the window", CONT, LEVELS, OFI_WINDOWS
    ),
    Feature("mid", "price", "quote", "M = (Pb + Pa) / 2", PLAIN),
    Feature("weighted_mid", "price", "quote", "I Pa + (1 − I) Pb, I = qb / (qb + qa)", PLAIN),
    Feature("micro_price", "price", "quote", "M + G*(I, spread), fitted on the past", STOIKOV),
    Feature("weighted_mid_deviation", "price", "bps", "10⁴ (weighted mid − M) / M", PLAIN),
    Feature("micro_price_deviation", "price", "bps", "10⁴ (micro-price − M) / M", STOIKOV),
    Feature(
        "fair_value",
        "fair value",
        "quote",
        "F += c (M − F), c = (E (2/3 − 2/31) + 2/31)²; F = M for the first 10 frames",
        KAUFMAN,
        windows=(10,),
    ),
    Feature(
        "fair_value_deviation",
        "fair value",
        "bps",
        "10⁴ (M − F) / F",
        KAUFMAN,
        windows=(10,),
    ),
    Feature(
        "efficiency",
        "fair value",
        "1",
        "E = |M − M ten frames ago| / Σ |ΔM| over those, 0 where nothing moved",
        KAUFMAN,
        windows=(10,),
    ),
    Feature("spread", "volume and spread", "ticks", "Pa − Pb", PLAIN),
    Feature("spread_bps", "volume and spread", "bps", "10⁴ (Pa − Pb) / M", PLAIN),
    Feature("spread_z", "volume and spread", "1", Z + "spread", PLAIN, windows=LONG),
    Feature("volume", "volume and spread", "base", "V = Σ v of the frame's trades", PLAIN),
    Feature("signed_volume", "volume and spread", "base", "Σ q v, q the trade's sign", PLAIN),
    Feature("volume_imbalance", "volume and spread", "1", "Σ q v / V, 0 where V = 0", PLAIN),
    Feature("volume_z", "volume and spread", "1", Z + "volume", PLAIN, windows=LONG),
    Feature("trades", "volume and spread", "trades", "N, trades in the frame", PLAIN),
    Feature("trade_size", "volume and spread", "base", "V / N, 0 where N = 0", PLAIN),
    Feature(
        "vwap_deviation", "volume and spread", "bps", "10⁴ (vwap − M) / M, 0 where V = 0", PLAIN
    ),
    Feature(
        "queue_imbalance",
        "queue",
        "1",
        "(Qb − Qa) / (Qb + Qa), Q the size on levels 1 … l",
        "Gould, Bonart 2016",
        LEVELS,
    ),
    Feature("bid_depth", "queue", "base", "Qb, size on ten levels", PLAIN, (10,)),
    Feature("ask_depth", "queue", "base", "Qa, size on ten levels", PLAIN, (10,)),
    Feature("depth_z", "queue", "1", Z + "Qb + Qa on ten levels", PLAIN, (10,), LONG),
    Feature("bid_added", "queue", "base", "Σ max(e, 0) at the best bid", CONT),
    Feature("bid_removed", "queue", "base", "Σ max(−e, 0) at the best bid", CONT),
    Feature("ask_added", "queue", "base", "Σ max(e, 0) at the best ask", CONT),
    Feature("ask_removed", "queue", "base", "Σ max(−e, 0) at the best ask", CONT),
    Feature(
        "realised_volatility",
        "volatility",
        "per √frame",
        "√ mean of ln(M / previous M)²",
        "Andersen, Bollerslev 1998",
        windows=VOLATILITY_WINDOWS,
    ),
    Feature(
        "parkinson_volatility",
        "volatility",
        "per √frame",
        "√ mean of ln(H / L)² / (4 ln 2)",
        "Parkinson 1980",
        windows=VOLATILITY_WINDOWS,
    ),
    Feature(
        "garman_klass_volatility",
        "volatility",
        "per √frame",
        "√ mean of ln(H / L)² / 2 − (2 ln 2 − 1) ln(C / O)²",
        "Garman, Klass 1980",
        windows=VOLATILITY_WINDOWS,
    ),
    Feature(
        "rogers_satchell_volatility",
        "volatility",
        "per √frame",
        "√ mean of ln(H / C) ln(H / O) + ln(L / C) ln(L / O)",
        "Rogers, Satchell 1991",
        windows=VOLATILITY_WINDOWS,
    ),
    Feature("ofi_level", "more", "lots", "Σ over messages of e at level l", XU, (5, 10), (), False),
    Feature(
        "ofi_integrated",
        "more",
        "1",
        "Σ over l of w(l) OFI(l) / Q; w = first principal component of the last whole block of 300 "
        "frames, Σ |w| = 1, Σ w ≥ 0; Q = mean size of a level over the frame's messages",
        INTEGRATED,
        basic=False,
    ),
    Feature(
        "vpin",
        "more",
        "1",
        "mean of |Vs − Vb| / V over 50 buckets; Vb = V Φ(r / σ), σ = realised volatility over the "
        "100 frames before",
        "Easley, López de Prado, O'Hara 2012",
        basic=False,
    ),
    Feature(
        "kyle_lambda",
        "more",
        "quote / base",
        "λ of ΔM = c + λ Σ q v + u, least squares",
        "Kyle 1985",
        windows=LONG,
        basic=False,
    ),
    Feature(
        "kyle_t",
        "more",
        "1",
        "λ over its standard error (Bartlett kernel, 4 lags)",
        "Newey, West 1987",
        windows=LONG,
        basic=False,
    ),
    Feature(
        "roll_spread",
        "more",
        "bps",
        "10⁴ · 2 √−cov(ΔP, previous ΔP) / M from trade to trade, 0 where cov ≥ 0",
        "Roll 1984",
        windows=LONG,
        basic=False,
    ),
    Feature(
        "effective_spread",
        "more",
        "bps",
        "10⁴ Σ v 2 q (P − M) / Σ v M, M at the trade",
        SPREADS,
        windows=LONG,
        basic=False,
    ),
    Feature(
        "realised_spread",
        "more",
        "bps",
        "10⁴ Σ v 2 q (P − M') / Σ v M, M' five frames after the trade's own; the trades of the "
        "frames whose five have passed",
        SPREADS,
        windows=LONG,
        basic=False,
    ),
    Feature(
        "price_impact",
        "more",
        "bps",
        "10⁴ Σ v 2 q (M' − M) / Σ v M, of the same trades",
        SPREADS,
        windows=LONG,
        basic=False,
    ),
    Feature(
        "huang_stoll_spread",
        "more",
        "bps",
        "10⁴ S / M of ΔP = S/2 (Q₀ − Q₁) + λ S/2 Q₁ + u, Q₁ the sign of the trade before",
        HUANG + ", eq. 5",
        windows=LONG,
        basic=False,
    ),
    Feature(
        "huang_stoll_lambda",
        "more",
        "1",
        "that λ: adverse selection and inventory as a share of S/2; order processing is 1 − λ",
        HUANG + ", eq. 5",
        windows=LONG,
        basic=False,
    ),
    Feature(
        "huang_stoll_adverse",
        "more",
        "1",
        "α of ΔP = S/2 Q₀ + (α + β − 1) S/2 Q₁ − α S/2 (1 − 2π) Q₂ + u, 1 − 2π = mean of Q₁ Q₂",
        HUANG + ", three-way",
        windows=LONG,
        basic=False,
    ),
    Feature(
        "huang_stoll_inventory",
        "more",
        "1",
        "β of the same",
        HUANG + ", three-way",
        windows=LONG,
        basic=False,
    ),
    Feature(
        "trade_sign",
        "more",
        "1",
        "mean of q: the aggressor as told, else by the mid, else by the last change of price; 0 "
        "where nothing traded",
        "Lee, Ready 1991",
        basic=False,
    ),
    Feature("trade_intensity", "more", "trades / s", "N / time", PLAIN, windows=(50,), basic=False),
    Feature("buy_intensity", "more", "trades / s", "N(q > 0) / time", PLAIN, (), (50,), False),
    Feature("sell_intensity", "more", "trades / s", "N(q < 0) / time", PLAIN, (), (50,), False),
    Feature(
        "message_intensity",
        "more",
        "messages / s",
        "book messages / time",
        PLAIN,
        windows=(50,),
        basic=False,
    ),
)

FEATURES = np.dtype([(feature.name, "<f8", feature.shape) for feature in TABLE])
COLUMNS: tuple[str, ...] = tuple(name for feature in TABLE for name in feature.columns)
BASIC = sum(len(feature.columns) for feature in TABLE if feature.basic)  # the first so many columns


def markdown() -> str:
    """The table as it stands in docs/features.md."""
    lines = [
        "| columns | feature | levels | windows | unit | formula | source |",
        "|---|---|---|---|---|---|---|",
    ]
    at = 0
    for one in TABLE:
        count = len(one.columns)
        place = str(at) if count == 1 else f"{at}–{at + count - 1}"
        cells: list[Any] = [place, f"`{one.name}`", *map(_listed, (one.levels, one.windows))]
        formula = one.formula.replace("|", "\\|")
        lines.append(f"| {' | '.join([*cells, one.unit, formula, one.source])} |")
        at += count
    return "\n".join(lines)


def _listed(numbers: tuple[int, ...]) -> str:
    return ", ".join(map(str, numbers)) or "–"
