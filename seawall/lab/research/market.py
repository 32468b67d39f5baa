"""A market as research sees it: what perception made of a tape, one instrument, kept on disk.

Perception is the slow part and knows nothing of what is wanted of it; so it is done once, and
every parameter set reads the same files, mapped into memory.
"""

from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.errors import DataError
from seawall.core.frames import FrameFlag
from seawall.core.instruments import Catalog, Instrument, Kind
from seawall.lab.research.following_kernels import BAR, BREAK, PATH, TRADABLE

LONGEST_GAP = 86_400_000_000_000  # ns without a row: what was before it is another market
GOOD = int(FrameFlag.VALID)
FILES = ("rows.npy", "path.npy")


class Market(NamedTuple):
    """One instrument through time.

    Attributes:
        instrument: what is traded; SPOT or LINEAR, so that its quote asset is the money.
        cadence: ns between two rows.
        rows: (n,) CONSENSUS of the instrument's group, which is numbered 0; what strategies see.
        path: (n,) PATH at the same boundaries; what orders meet.
    """

    instrument: Instrument
    cadence: int
    rows: NDArray[Any]
    path: NDArray[Any]

    def between(self, first: int, past: int) -> "Market":
        """Rows [first, past)."""
        return self._replace(rows=self.rows[first:past], path=self.path[first:past])


def market_of(
    catalog: Catalog,
    name: str,
    groups: tuple[str, ...],
    cadence: int,
    frames: NDArray[Any],
    rows: NDArray[Any],
) -> Market:
    """The market of one instrument, from its primary book's frames.

    Args:
        groups: the consensus groups in the order of `rows`. frames, rows: what perception gave.

    Raises:
        DataError: it is not listed, settles in coins, or has no frames.
    """
    if name not in catalog.by_name:
        listed = ", ".join(sorted(catalog.by_name))
        raise DataError(f"{name} is not on this tape; it lists {listed}")
    instrument = catalog.by_name[name]
    if instrument.kind is Kind.INVERSE:
        raise DataError(f"{name} settles in {instrument.base}; research takes spot and linear ones")
    own = frames[frames["book"] == catalog.primary[name]]
    group = rows[rows["group"] == groups.index(instrument.consensus_group)]
    _, of_own, of_group = np.intersect1d(own["index"], group["index"], return_indices=True)
    own, group = own[of_own], group[of_group].copy()
    if not len(own):
        raise DataError(f"{name} has no frames on this tape; is it shorter than one frame?")
    group["group"] = 0
    return Market(instrument, cadence, group, path_of(instrument, own))


def path_of(instrument: Instrument, frames: NDArray[Any]) -> NDArray[Any]:
    """PATH rows of one book's FRAME rows."""
    path = np.zeros(len(frames), PATH)
    bar = (frames["flags"] & int(FrameFlag.BAR)) != 0
    for column in ("ts", "bid", "ask", "bid_size", "ask_size"):
        path[column] = frames[column]
    volume = (frames["buy_volume"] + frames["sell_volume"]) / instrument.lot_float
    for column in ("bid_size", "ask_size"):
        path[column] = np.where(bar, np.rint(volume).astype(np.int64), path[column])
    for column in ("open", "high", "low"):
        path[column] = frames[column] / instrument.tick_float
    path["open"] = np.where(bar, np.rint(path["open"]), path["open"])
    quote = frames["quote_mark"]
    told = (frames["votes"] > 0) & (quote > 0.0)
    consensus = np.divide(frames["consensus"], quote, out=frames["mid"].copy(), where=told)
    path["mark"] = consensus / instrument.tick_float
    path["flags"] = np.where((frames["flags"] & GOOD) != 0, TRADABLE, 0) + np.where(bar, BAR, 0)
    gaps = np.flatnonzero(np.diff(frames["ts"]) > LONGEST_GAP) + 1
    path["flags"][gaps] |= BREAK
    return path


def save(market: Market, folder: Path) -> None:
    """Write it to an existing folder; `load` reads it."""
    for file, array in zip(FILES, (market.rows, market.path), strict=True):
        np.save(folder / file, array)
    about = {"instrument": market.instrument, "cadence": market.cadence}
    (folder / "market.json").write_bytes(msgspec.json.encode(about))


class _About(msgspec.Struct):
    """What stands beside the arrays."""

    instrument: Instrument
    cadence: int


def load(folder: Path) -> Market:
    """A saved market; its arrays are read-only maps of the files, shared by all who load it.

    Raises:
        DataError: the folder does not hold one.
    """
    try:
        about = msgspec.json.decode((folder / "market.json").read_bytes(), type=_About)
        rows, path = (np.load(folder / file, mmap_mode="r") for file in FILES)
    except (OSError, ValueError, msgspec.DecodeError) as error:
        raise DataError(f"{folder}: no perceived market is kept here: {error}") from error
    return Market(about.instrument, about.cadence, rows, path)
