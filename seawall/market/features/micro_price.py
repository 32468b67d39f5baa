"""Stoikov's micro-price: how far from the mid the next mids will be, by imbalance and spread.

Stoikov 2018 (Quantitative Finance 18): states are classes of the spread and buckets of the
imbalance I. With Q the chances of the next state while the mid stays, T while it moves and K the
mean move, G1 = (I - Q)^-1 K, B = (I - Q)^-1 T, and G* = sum of B^k G1 over k >= 0.
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seawall.core.errors import DataError, SettingError
from seawall.core.frames import FrameFlag
from seawall.core.instruments import Catalog
from seawall.market.features.feature_kernels import BUCKETS, SPREADS

LEAST_MOVES = 100
TOLERANCE = 1e-10  # ticks
MOST_TERMS = 100_000
Array = NDArray[np.float64]


def fit_micro_price(frames: NDArray[Any]) -> dict[int, Array]:
    """Book → G* in ticks, (spread classes, imbalance buckets), for `Features`.

    From each frame to the book's next one; every pair is also taken in the mirror, so that G* is
    antisymmetric. Fit on frames that end before the ones it is used on. Books whose mid moved less
    than LEAST_MOVES times are left out.

    Args:
        frames: (n,) FRAME in order; bars and frames that are not VALID are passed over.

    Raises:
        DataError: the sum does not converge, because states do not reach one another.
    """
    fits = {}
    for book in np.unique(frames["book"]):
        mine = frames[frames["book"] == book]
        states, moves = transitions(mine)
        if np.count_nonzero(moves) >= LEAST_MOVES:
            fits[int(book)] = adjustment(states, moves, f"book {book}")
    return fits


def transitions(frames: NDArray[Any]) -> tuple[NDArray[np.int64], Array]:
    """(now, next) state of each pair of a book's frames, (n, 2), and the mid's move in ticks."""
    flags = frames["flags"].astype(np.int64)
    both = frames["bid_size"] + frames["ask_size"]
    good = (flags & FrameFlag.VALID > 0) & (flags & FrameFlag.BAR == 0) & (both > 0)
    imbalance = frames["bid_size"] / np.maximum(both, 1)
    bucket = np.minimum(BUCKETS - 1, (BUCKETS * imbalance).astype(np.int64))
    spread = np.clip(frames["ask"] - frames["bid"], 1, SPREADS) - 1
    state = spread * BUCKETS + bucket
    joined = good[:-1] & good[1:] & (flags[1:] & FrameFlag.RESET == 0)
    move = np.diff(frames["bid"] + frames["ask"]) / 2
    return np.column_stack((state[:-1], state[1:]))[joined], move[joined]


def adjustment(states: NDArray[np.int64], moves: Array, where: str) -> Array:
    """G* of pairs of states (n, 2) and moves (n,), in the unit of the moves."""
    count = SPREADS * BUCKETS
    mirror = np.arange(count).reshape(SPREADS, BUCKETS)[:, ::-1].ravel()
    now, after = (np.concatenate((s, mirror[s])) for s in states.T)
    change = np.concatenate((moves, -moves))
    seen = np.maximum(1, np.bincount(now, minlength=count))
    stays = np.zeros((count, count))
    goes = np.zeros((count, count))
    np.add.at(stays, (now[change == 0], after[change == 0]), 1.0)
    np.add.at(goes, (now[change != 0], after[change != 0]), 1.0)
    mean = np.bincount(now, change, minlength=count) / seen
    # the least solution: 0 where the mid was never seen to move
    system = np.eye(count) - stays / seen[:, None]
    solved = np.linalg.lstsq(system, np.column_stack((mean, goes / seen[:, None])))[0]
    term, passed_on = solved[:, 0], solved[:, 1:]
    total = term.copy()
    for _ in range(MOST_TERMS):
        term = passed_on @ term
        term = (term - term[mirror]) / 2
        total += term
        if np.abs(term).max() < TOLERANCE:
            total = (total - total[mirror]) / 2
            return np.asarray(total.reshape(SPREADS, BUCKETS))
    raise DataError(
        f"the micro-price of {where} does not converge: its imbalances do not reach one another; "
        "fit it on a longer tape"
    )


def written(fits: Mapping[int, Array], catalog: Catalog) -> tuple[str, ...]:
    """Fits as the settings hold them: ``INSTRUMENT/SOURCE`` and its numbers, spread by spread."""
    return tuple(
        " ".join([_name(catalog, book), *(repr(float(one)) for one in fit.ravel())])
        for book, fit in sorted(fits.items())
    )


def fits_of(texts: Iterable[str], catalog: Catalog) -> dict[int, Array]:
    """What `written` wrote, for the books of this catalog; those of other books are left out.

    Raises:
        SettingError: no such numbers.
    """
    books = {_name(catalog, book): book for book in range(len(catalog.books))}
    found = {}
    for text in texts:
        name, *numbers = text.split()
        try:
            fit = np.array(numbers, np.float64).reshape(SPREADS, BUCKETS)
        except ValueError:
            raise SettingError(
                f"decision.micro_prices: {name}: give {SPREADS * BUCKETS} numbers, as `seawall "
                "calibrate micro-price` writes them"
            ) from None
        if name in books:
            found[books[name]] = fit
    return found


def _name(catalog: Catalog, book: int) -> str:
    return f"{catalog.instrument_of(book).name}/{catalog.sources[catalog.books[book][1]].name}"
