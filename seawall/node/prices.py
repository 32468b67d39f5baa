"""What perception said last, as the action side goes by it: marks, touches and what is amiss."""

import math
from typing import Any

from numpy.typing import NDArray

from seawall.core.events import Side
from seawall.core.frames import FrameFlag, Regime
from seawall.core.instruments import Catalog, Instrument, Kind

GOOD, STALE, UNKNOWN = int(FrameFlag.VALID), int(FrameFlag.STALE), int(Regime.UNKNOWN)
_PRICES = ["votes", "mid", "quote_mark", "consensus", "bid", "ask"]
SAID = ["book", "flags", *_PRICES, "regime", "volatility"]  # what is read at each boundary
SILENT = "no frame: the market is silent"


class Prices:
    """What perception said last of each instrument: marks, touches and whether it can be traded."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.primary = {book: name for name, book in catalog.primary.items()}
        self.marks: dict[str, float] = {}
        self.asset_marks: dict[str, float] = {}
        self.touches: dict[str, tuple[int, int]] = {}
        self.trouble: dict[str, str] = dict.fromkeys(catalog.by_name, "no market data yet")
        self.consensus: dict[str, float] = {}
        self.volatility: dict[str, float] = {}
        self.regimes: dict[str, int] = {}
        self.frames: dict[str, NDArray[Any]] = {}  # instrument → its newest frame (a FRAME row)

    def update(self, frames: NDArray[Any]) -> None:
        """Take in the frames of one boundary."""
        seen = set()
        self.volatility.clear()
        for row, said in enumerate(frames[SAID].tolist()):  # plain numbers: an array's cost more
            name = self.primary.get(said[0])
            if name is not None:
                seen.add(name)
                self.frames[name] = frames[row]
                self._take(self.catalog.by_name[name], *said[1:])
        for name in self.trouble:
            if name not in seen:
                self.trouble[name] = SILENT
                self.touches.pop(name, None)
                self._mark_by_others(name, seen)

    def _take(
        self,
        instrument: Instrument,
        flags: int,
        votes: int,
        mid: float,
        quote: float,
        consensus: float,
        bid: int,
        ask: int,
        regime: int,
        volatility: float,
    ) -> None:
        name, group = instrument.name, instrument.consensus_group
        if quote > 0:
            self.asset_marks[instrument.quote] = quote
        else:
            self.asset_marks.pop(instrument.quote, None)
        if votes > 0 and quote > 0:
            self.consensus[group] = consensus
            self.asset_marks[instrument.base] = consensus
            self.marks[name] = consensus / quote
        elif mid > 0:
            self.marks[name] = mid
        if not flags & GOOD:
            stale = flags & STALE
            self.trouble[name] = "the market is stale" if stale else "the book is not valid"
            self.touches.pop(name, None)
            return
        self.trouble[name] = ""
        self.touches[name] = (bid, ask)
        self.regimes[name] = regime
        if regime != UNKNOWN:
            self.volatility[group] = max(self.volatility.get(group, 0.0), volatility)

    def shown(self, name: str, side: Side) -> int | None:
        """Lots of the best five levels that an order of `side` takes from, by the newest frame;
        None where that shows no book (bars), or there is none."""
        frame = self.frames.get(name)
        if frame is None or not frame["depth_5"] > 0:
            return None
        bids = 0.5 * (1.0 + float(frame["imbalance_5"]))
        share = 1.0 - bids if side is Side.BUY else bids
        return int(float(frame["depth_5"]) * share / self.catalog.by_name[name].lot_float)

    def volumes(self, now: int) -> dict[str, float]:
        """Instrument → lots that its market traded within the frame that closed now."""
        return {
            name: float(frame["buy_volume"] + frame["sell_volume"])
            / self.catalog.by_name[name].lot_float
            for name, frame in self.frames.items()
            if int(frame["ts"]) == now
        }

    def _mark_by_others(self, name: str, seen: set[str]) -> None:
        """What a silent market holds is worth what the consensus says, not what it said last."""
        for other in self.catalog.alike[name]:
            frame = self.frames[other] if other in seen else None
            if frame is not None and frame["votes"] > 0 and frame["quote_mark"] > 0:
                self.marks[name] = float(frame["consensus"] / frame["quote_mark"])

    def lot_value(self, instrument: Instrument) -> float:
        """Notional of one lot in the numeraire, NaN where unknown."""
        quote = self.asset_marks.get(instrument.quote, math.nan)
        if instrument.kind is Kind.INVERSE:
            return instrument.lot_float * quote
        return instrument.lot_float * self.marks.get(instrument.name, math.nan) * quote
