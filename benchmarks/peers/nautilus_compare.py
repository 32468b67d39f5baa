"""The whole node against NautilusTrader: the same tape, the same orders; fills and fees compared.

Our half leaves the orders that it sent; theirs sends the same ones, each at the moment at which
ours reached the venue. Both replay depth and trades: quotes are left out of the tape.
"""

import json
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from benchmarks import data
from benchmarks.measure import Bench, Floor, Result, Timings
from benchmarks.node import Book, busiest, flipping
from benchmarks.peers import environments, talking
from benchmarks.peers.environments import Half, Peer, Told, peak
from benchmarks.perception import backtest_settings
from seawall.core.clock import MILLISECOND, TapeClock
from seawall.core.errors import DataError
from seawall.core.events import EventKind, Raw
from seawall.core.records import FillBooked, OrderCreated
from seawall.core.settings import Settings
from seawall.ingestion.replay import ReplayFeed
from seawall.ingestion.tape import open_tape
from seawall.node import assembly
from seawall.node.summary import Summary
from seawall.storage.journal import MemoryJournal

VERSION = "2.0.0rc7"
PEER = Peer("NautilusTrader", (f"nautilus_trader=={VERSION}", "numpy"), ("3.13", "3.12"))
HALF = Path(__file__).with_name("nautilus_half.py")
LIGHT_MS = 1000  # between two frames of the light run
FLOORS = (Floor(5.0, "design, section 7"),)
UNITS = 1e8  # smallest units of a settle asset
MODES = {"shared": "two orders never take the same lot", "default": "their own rule of liquidity"}


class Part(NamedTuple):
    """Rows that both replay. book: traded at every frame; None: few orders."""

    label: str
    rows: Raw
    cadence_ms: int
    book: Book | None = None


def nautilus(bench: Bench) -> Iterator[Result]:
    """Order-light over all books, then a market round trip per 100 rows of one book."""
    try:
        python = environments.environment(PEER)
    except DataError as error:
        print(f"{error}; left out", file=sys.stderr)
        return
    market = data.market(bench)
    rows = Raw(market.rows[market.rows["kind"] != EventKind.QUOTE])
    book = busiest(market.catalog, rows)
    for part in (
        Part(f"{market.label}, depth and trades: {len(rows):,} rows", rows, LIGHT_MS),
        Part(book.label, book.rows, book.cadence_ms, book),
    ):
        folder = bench.scratch / f"nautilus-{'heavy' if part.book else 'light'}"
        job = _job(market, part, folder)
        ours = "benchmarks.peers.nautilus_compare"
        with environments.halves([python, HALF], ours, job, folder / "job.json") as both:
            compared = _heavy_results if part.book else _light_results
            yield from compared(bench, part, folder, *both)


def _job(market: data.Market, part: Part, folder: Path) -> dict[str, Any]:
    """What both halves are to do."""
    folder.mkdir()
    np.save(folder / "rows.npy", part.rows)
    settings = backtest_settings(market.folder, part.cadence_ms)
    if part.book:
        settings = flipping(market.folder, part.book)
    return {
        "tape": str(market.folder),
        "rows": str(folder / "rows.npy"),
        "orders": str(folder / "orders.npy"),
        "out": str(folder),
        "instruments": msgspec.to_builtins(market.catalog.instruments),
        "settings": settings.model_dump_json(),
        "capital": float(settings.capital),
        "fees_ppm": [settings.venue.maker_fee_ppm, settings.venue.taker_fee_ppm],
        "core": environments.core(),
    }


# --- what it came to ---


def _light_results(
    bench: Bench, part: Part, folder: Path, theirs: Half, ours: Half
) -> Iterator[Result]:
    """Rows a second with few orders; and of their engine alone, which then only replays."""
    our, their, bare = environments.in_turns(
        bench, (ours, ""), (theirs, "shared"), (theirs, "replay")
    )
    rows = len(part.rows)
    note = f"{_same(folder, 'shared', our)}; {_memory(our, their)}"
    for what, timed in (
        ("whole node, order-light", our),
        (f"NautilusTrader {VERSION}, order-light", their),
        (f"NautilusTrader {VERSION}, replay without a strategy", bare),
    ):
        rates = timed.rates(rows)
        yield Result("nautilus", what, part.label, "rows/s", rates, timed.cpu_rate(rows))
    walls, cpu = environments.ratios(their, our)
    yield Result("nautilus", _over("order-light"), part.label, "×", walls, cpu, note=note)


def _heavy_results(
    bench: Bench, part: Part, folder: Path, theirs: Half, ours: Half
) -> Iterator[Result]:
    """µs per order; theirs by the rule of liquidity that is ours, and by its own."""
    our, *other = environments.in_turns(bench, (ours, ""), *((theirs, mode) for mode in MODES))
    yield _per_order("whole node", part, our)
    for mode, their in zip(MODES, other, strict=True):
        yield _per_order(f"NautilusTrader {VERSION}, {MODES[mode]}", part, their)
        walls, cpu = environments.ratios(their, our)
        what = _over(f"order-heavy, {MODES[mode]}")
        note = f"{_same(folder, mode, our)}; {_memory(our, their)}"
        yield Result("nautilus", what, part.label, "×", walls, cpu, FLOORS, note)


def _over(what: str) -> str:
    return f"whole node over NautilusTrader {VERSION}, {what}"


def _per_order(what: str, part: Part, timed: Timings[Told]) -> Result:
    orders = max(1, timed.outcomes[0]["orders"])
    micros = [seconds / orders * 1e6 for seconds in timed.wall]
    cpu = timed.cpu_median / orders * 1e6
    return Result("nautilus", f"{what}, order-heavy", part.label, "µs/order", micros, cpu)


def _memory(our: Timings[Told], their: Timings[Told]) -> str:
    return f"at most {peak(our)} and {peak(their)} of memory"


Fills = NDArray[np.int64]  # (fills, 6): order, instrument, side, ticks, lots, fee


def _same(folder: Path, mode: str, our: Timings[Told]) -> str:
    """Fills, fees and cash of both, and how many orders were filled alike."""
    ours, theirs = np.load(folder / "ours.npy"), np.load(folder / f"theirs-{mode}.npy")
    listed = json.loads((folder / "job.json").read_text())["instruments"]
    mine, other = _by_order(ours), _by_order(theirs)
    alike = sum(mine[order] == other[order] for order in {*mine, *other})
    held = "the same" if np.array_equal(_held(ours, listed), _held(theirs, listed)) else "DIFFER"
    return (
        f"{len(ours):,} and {len(theirs):,} fills, {alike:,} of {our.outcomes[0]['orders']:,} "
        f"orders filled alike, positions {held}, "
        f"fees {ours[:, 5].sum() / UNITS:,.2f} and {theirs[:, 5].sum() / UNITS:,.2f}, "
        f"result {_result(ours, listed):,.2f} and {_result(theirs, listed):,.2f}"
    )


def _by_order(fills: Fills) -> dict[int, list[tuple[int, ...]]]:
    """Order → its fills as (instrument, side, ticks, lots)."""
    found: dict[int, list[tuple[int, ...]]] = defaultdict(list)
    for order, *rest in fills.tolist():
        found[order].append(tuple(rest[:4]))
    return found


def _held(fills: Fills, listed: list[dict[str, Any]]) -> Fills:
    """Lots of each instrument at the end."""
    signed = np.where(fills[:, 2] == 0, 1, -1) * fills[:, 4]
    return np.bincount(fills[:, 1], signed, len(listed)).astype(np.int64)


def _result(fills: Fills, listed: list[dict[str, Any]]) -> float:
    """Cash of all fills after fees, what is held valued at the last fill's price; linear ones."""
    total = -fills[:, 5].sum() / UNITS
    for number in np.unique(fills[:, 1]):
        mine = fills[fills[:, 1] == number]
        unit = float(listed[number]["tick"]) * float(listed[number]["lot"])
        signed = np.where(mine[:, 2] == 0, 1, -1) * mine[:, 4]
        total += unit * float((signed * (mine[-1, 3] - mine[:, 3])).sum())
    return total


# --- our half ---


class Ours:
    """The tape, and runs of the whole node over it."""

    def __init__(self, job: dict[str, Any]) -> None:
        self.job = job
        self.catalog = open_tape(job["tape"]).catalog
        self.rows = np.load(job["rows"])
        self.settings = Settings(**msgspec.json.decode(job["settings"]))

    def run(self, _: str) -> Told:
        """One run: what it took; its orders and fills go to the disk."""
        blocks = [
            Raw(self.rows[at : at + data.BLOCK]) for at in range(0, len(self.rows), data.BLOCK)
        ]
        feed = ReplayFeed(self.catalog, iter(blocks), TapeClock(), None)
        journal = MemoryJournal()
        node = assembly.build(
            self.settings,
            self.catalog,
            feed,
            journal,
            assembly.Silent(),
            assembly.run_id(self.settings.fingerprint(), self.catalog),
            strict=True,
            eager=False,
        )
        cpu_began, began = time.process_time(), time.perf_counter()
        summary: Summary = node.run()
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu_began
        self._keep(journal)
        return {
            "rows": len(self.rows),
            "seconds": seconds,
            "cpu": cpu,
            "orders": summary.orders,
            "fills": summary.fills,
        }

    def _keep(self, journal: MemoryJournal) -> None:
        """What theirs is to send: (moment, instrument, side, lots, ticks); and our fills."""
        later = round(self.settings.venue.entry_latency_ms * MILLISECOND) + 1
        places = {one.name: number for number, one in enumerate(self.catalog.instruments)}
        orders, fills, numbers = [], [], dict[str, int]()
        for _, record in journal.read():
            if isinstance(record, OrderCreated):
                order = record.order
                numbers[order.client_id] = len(orders)
                place = places[order.instrument]
                orders.append((record.ts + later, place, order.side, order.size, order.price))
            elif isinstance(record, FillBooked):
                fill = record.fill
                place = places[fill.instrument]
                number = numbers[fill.client_id]
                fills.append((number, place, fill.side, fill.price, fill.size, fill.fee))
        np.save(self.job["orders"], np.array(orders, np.int64).reshape(-1, 5))
        np.save(Path(self.job["out"]) / "ours.npy", np.array(fills, np.int64).reshape(-1, 6))


def main() -> None:
    """Our half."""
    talking.answer(Ours(talking.job()).run)


if __name__ == "__main__":
    main()
