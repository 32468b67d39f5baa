"""Single calls on the action side: approval, breakers, and fills into the ledger."""

import gc
import hashlib
import time
from collections.abc import Callable, Iterator, Sequence

import msgspec
import numpy as np

from benchmarks import records
from benchmarks.measure import Bench, Floor, Result, percentile, repeat, same
from seawall.core.clock import SECOND
from seawall.core.intents import Target
from seawall.core.randomness import generator
from seawall.ledger import Ledger
from seawall.risk.breakers import BREAKERS, Breakers, Reading
from seawall.risk.gauges import Gauges
from seawall.risk.limits import Holding, Limits, approve

EQUITY = 100_000.0
APPROVE_FLOOR = (Floor(20, "goal", at_least=False),)
CHECK_FLOOR = (Floor(1, "goal", at_least=False),)


def risk(bench: Bench) -> Iterator[Result]:
    """Approval of one intent, the breakers' check, and the gauges that it looks at."""
    calls = 500 if bench.quick else 20_000
    yield from _approving(bench, calls)
    yield from _checking(bench, calls)


def _approving(bench: Bench, calls: int) -> Iterator[Result]:
    holdings = {
        instrument.name: Holding(
            asset=instrument.base, lots=number * 3 - 12, mark=50_000.0, value=50.0
        )
        for number, instrument in enumerate(records.INSTRUMENTS)
    }
    names, limits = list(holdings), Limits()
    exposures = (generator(1, "benchmarks.risk").standard_normal(calls) * 10_000.0).tolist()
    intents = [_target(names[n % len(names)], exposure) for n, exposure in enumerate(exposures)]

    def call(number: int) -> object:
        return approve([intents[number]], holdings, EQUITY, limits, (), records.START)

    answers = [
        [one.position for one in approve([i], holdings, EQUITY, limits, (), 0)[0]] for i in intents
    ]
    note = same("answers", [hashlib.sha256(repr(answers).encode()).hexdigest()])
    on = f"{calls:,} intents, {len(holdings)} holdings"
    runs = [_each(calls, call) for _ in range(bench.runs)]
    yield from _percentiles("risk approval of one intent", on, runs, APPROVE_FLOOR, note)


def _checking(bench: Bench, calls: int) -> Iterator[Result]:
    groups = sorted({instrument.base for instrument in records.INSTRUMENTS})
    steps = generator(1, "benchmarks.breakers").standard_normal((calls, len(groups) + 1))
    walks = 100.0 * np.exp(np.cumsum(steps * 1e-5, axis=0))
    ticks = [dict(zip(groups, row, strict=False)) for row in walks.tolist()]
    equities = (walks[:, -1] * 1000).tolist()
    volatility = dict.fromkeys(groups, 0.4)
    breakers, gauges = Breakers(BREAKERS), Gauges(BREAKERS)
    measures: list[Reading] = []

    def read(number: int) -> None:
        ts = records.START + number * SECOND
        measured = gauges.read(ts, ticks[number], volatility, equities[number], 0.7, breakers)
        measures.append(measured)

    def check(number: int) -> object:
        return breakers.check(measures[number], records.START + number * SECOND)

    reads, checks = [], []
    for _ in range(bench.runs):
        measures.clear()
        gauges = Gauges(BREAKERS)
        reads.append(_each(calls, read))
        checks.append(_each(calls, check))
    on = f"{calls:,} boundaries, {len(list(measures[0]))} measures"
    note = same("measures", [_hash([[m.value for m in one] for one in measures])])
    yield from _percentiles("breakers' check", on, checks, CHECK_FLOOR, note)
    yield from _percentiles("gauges' reading for the breakers", on, reads, (), note)


def ledger(bench: Bench) -> Iterator[Result]:
    """Fills booked exactly, first in first out, for account and strategies."""
    count = 1000 if bench.quick else 100_000
    fills = [records.life(number)[-1] for number in range(1, count + 1)]

    def prepare() -> Ledger:
        books = Ledger()
        for record in records.opening():
            books.apply(record)
        return books

    def work(books: Ledger) -> Ledger:
        for one in fills:
            books.apply(one)
        return books

    def outcome(books: Ledger) -> str:
        books.conservation()
        return _hash(books.state())

    timed = repeat(bench.runs, prepare, work, outcome)
    yield Result(
        "ledger",
        "fills into the ledger",
        f"{count:,} fills, {len(records.INSTRUMENTS)} instruments, 2 strategies",
        "fills/s",
        timed.rates(count),
        timed.cpu_rate(count),
        note=f"{same('state', timed.outcomes)}, conserved",
    )


def _target(name: str, exposure: float) -> Target:
    ts = records.START
    return Target(
        strategy="trend", ts=ts, tape=0, expiry=ts + SECOND, instrument=name, exposure=exposure
    )


def _each(calls: int, call: Callable[[int], object]) -> list[int]:
    """Nanoseconds of each call, ascending; the timer's own 50 ns or so are in."""
    clock, spent = time.perf_counter_ns, []
    gc.collect()
    for number in range(calls):
        began = clock()
        call(number)
        spent.append(clock() - began)
    return sorted(spent)


def _percentiles(
    what: str, on: str, runs: Sequence[list[int]], floors: tuple[Floor, ...], note: str
) -> Iterator[Result]:
    for share in (0.5, 0.99):
        values = [percentile(spent, share) / 1000 for spent in runs]
        label = f"{what}, p{share * 100:.0f}"
        yield Result("risk", label, on, "µs", values, floors=floors, note=note)


def _hash(values: object) -> str:
    return hashlib.sha256(msgspec.msgpack.encode(values)).hexdigest()
