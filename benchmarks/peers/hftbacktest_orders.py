"""The exact venue against hftbacktest on a book order by order, and models of levels against it.

    python -m benchmarks.peers.hftbacktest_orders [--write]

Both get what the order book has made of the recorded Bitstamp rows: orders join once what they
take has been told, and executions name the order that was met.
"""

import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks import data
from benchmarks.peers.environments import Half, environment
from benchmarks.peers.hftbacktest_compare import (
    BASE_LATENCY,
    BUYS,
    EVENT,
    HALF,
    LATENCIES,
    PEER,
    SELLS,
    STRATEGIES,
    VERSION,
    Key,
    Run,
    keys,
    one_of_ours,
    run_of,
)
from seawall.core import order_book_kernels as kernels
from seawall.core.instruments import Instrument
from seawall.core.order_book import new_order_book
from seawall.ingestion.orders import changes_of, read_orders
from seawall.venues.simulated.exact import Feed, feed_of

TABLE = Path(__file__).with_name("hftbacktest_orders.md")
NAME = "bitstamp_btcusd_20150501"
FILES = [data.RECORDED / "l3_tick" / f"{NAME}_{what}.parquet" for what in ("orders", "trades")]
ADD, CANCEL, MODIFY, FILL = 10, 11, 12, 13
LOTS, MOST = 10_000_000, 1_000_000_000  # 0.1 and 10 BTC
TRUTH = "order-by-order"
MODELS = ("risk-averse", "1", "2", "3")
ORDER_EVENT = np.dtype([*EVENT.descr, ("order_id", "<u8")])


def events_of(rows: NDArray[np.void], instrument: Instrument) -> NDArray[np.void]:
    """Orders as hftbacktest wants them: what was executed is told first, then what is left."""
    changes = changes_of(new_order_book(), rows)
    what = changes["what"]
    taken = np.flatnonzero(what == kernels.TAKEN)
    told = np.flatnonzero(what <= kernels.TAKEN)
    left = changes["after"][told]
    kinds = np.where(what[told] == kernels.JOINED, ADD, np.where(left > 0, MODIFY, CANCEL))
    of = np.concatenate([taken, told])
    events = np.zeros(len(of), ORDER_EVENT)
    events["ev"] = np.concatenate([np.full(len(taken), FILL), kinds])
    change = changes[of]
    events["ev"] |= np.where(change["side"] == 0, BUYS, SELLS).astype(np.uint64)
    events["exch_ts"] = events["local_ts"] = rows["recv_ts"][change["row"]]
    events["px"] = change["price"] * instrument.tick_float
    executed = np.arange(len(of)) < len(taken)
    lots = np.where(executed, change["before"] - change["after"], change["after"])
    events["qty"] = lots * float(instrument.lot)
    events["order_id"] = change["number"] + 1
    order = np.argsort(np.concatenate([2 * taken, 2 * told + 1]), kind="stable")
    return events[order]


def ours(feed: Feed, one: Run, queue: str, rule: str) -> NDArray[np.void]:
    """Our fills of a run by another queue model or rule."""
    return one_of_ours(feed, {**one, "queue": queue}, rule).fills


def lines(folder: Path) -> Iterator[str]:
    """The two tables as Markdown, a row for each run."""
    read = read_orders(FILES)
    instrument = read.catalog.instruments[0]
    feed = feed_of(read.rows, read.catalog, base_latency_ns=BASE_LATENCY)
    events = folder / "events.npy"
    np.save(events, events_of(read.rows, instrument))
    runs = [
        {**run_of(strategy, entry, response, TRUTH, depth, 0), "size": LOTS, "most": MOST}
        for strategy in STRATEGIES
        for entry, response in LATENCIES
        for depth in ("roi", "hash")
    ]
    tape = {
        "name": NAME,
        "events": str(events),
        "tick": instrument.tick_float,
        "lot": float(instrument.lot),
        "roi": [150.0, 400.0],
    }
    job = {
        "tapes": [tape],
        "out": str(folder),
        "base_latency": BASE_LATENCY,
        "most_fills": 1 << 17,
        "core": 0,
        "runs": runs,
    }
    path = folder / "job.json"
    path.write_text(json.dumps(job))
    half = Half([environment(PEER), HALF], path)
    yield from (
        "| strategy | entry / response ms | depth | theirs | ours | only theirs | only ours |",
        "|---|---|---|---|---|---|---|",
    )
    apart: list[str] = []
    for one in runs:
        half.turn()
        fills = keys(np.load(folder / f"{NAME}-{one['name']}.npy"))
        mine = keys(ours(feed, one, TRUTH, "whole"))
        theirs_only, ours_only = fills - mine, mine - fills
        latency = f"{one['entry'] / 1e6:g} / {one['response'] / 1e6:g}"
        yield (
            f"| {one['strategy']} | {latency} | {one['depth']} | {fills.total()} | {mine.total()} "
            f"| {theirs_only.total()} | {ours_only.total()} |"
        )
        apart += _named(f"{one['strategy']}, {latency} ms, {one['depth']}", theirs_only, ours_only)
    yield from ("", *(apart or ["No fill without a counterpart."]), "")
    yield from _models(feed, [one for one in runs if one["depth"] == "roi"])


def _named(run: str, theirs: Counter[Key], mine: Counter[Key]) -> list[str]:
    return [
        f"- {run}: only {whose}: {ts} ns, {'sell' if side else 'buy'} at {price} ticks"
        for whose, which in (("theirs", theirs), ("ours", mine))
        for ts, side, price in sorted(which.elements())
    ]


def _models(feed: Feed, runs: Sequence[Run]) -> Iterator[str]:
    """How far models of levels are from the truth, over all runs."""
    yield from (
        "| queue | rule | fills | of the truth's | lots | of the truth's | the same fills "
        "| only the model's | only the truth's |",
        "|---|---|---|---|---|---|---|---|---|",
    )
    for rule in ("whole", "shared"):
        truth = [ours(feed, one, TRUTH, rule) for one in runs]
        count, lots = sum(map(len, truth)), sum(int(t["lots"].sum()) for t in truth)
        yield f"| {TRUTH} | {rule} | {count} | | {lots / 1e8:.2f} BTC | | | | |"
        for model in MODELS:
            told = [ours(feed, one, model, rule) for one in runs]
            own, own_lots = sum(map(len, told)), sum(int(t["lots"].sum()) for t in told)
            same = sum((keys(a) & keys(b)).total() for a, b in zip(told, truth, strict=True))
            name = model if model == "risk-averse" else f"probabilistic, power {model}"
            yield (
                f"| {name} | {rule} | {own} | {100 * own / count:.1f} % | {own_lots / 1e8:.2f} BTC "
                f"| {100 * own_lots / lots:.1f} % | {same} | {own - same} | {count - same} |"
            )


def main() -> int:
    """Compare, and print or write the tables."""
    if not all(path.exists() for path in FILES):
        print(f"no recorded orders below {data.RECORDED}; set RECORDED_DATA", file=sys.stderr)
        return 1
    head = (
        f"# Order by order: the exact venue, hftbacktest {VERSION} and models of levels",
        "",
        "Made by `python -m benchmarks.peers.hftbacktest_orders --write`. Bitstamp BTC/USD, 1 May "
        "2015, four hours, orders of 0.1 BTC, a look every 100 ms. A fill is the same when "
        "exchange time, side and price are.",
        "",
    )
    with tempfile.TemporaryDirectory() as folder:
        text = "\n".join([*head, *lines(Path(folder))]) + "\n"
    if "--write" in sys.argv[1:]:
        TABLE.write_text(text, encoding="utf-8")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
