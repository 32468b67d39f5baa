"""`python -m benchmarks`: measure everything, or some groups, and write them into RESULTS.md."""

import argparse
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from benchmarks import (
    estimation,
    exchange,
    features,
    growth,
    journal,
    kept,
    live,
    node,
    perception,
    report,
    research,
    restart,
    risk,
    robust,
    signatures,
    start,
    tape,
    wire,
)
from benchmarks.measure import Bench, Result
from benchmarks.peers import candles_compare, hftbacktest_compare, nautilus_compare
from seawall.core.errors import SeawallError

GROUPS: dict[str, Callable[[Bench], Iterator[Result]]] = {
    "import": tape.importing,
    "tape": tape.reading,
    "simulated": tape.simulated,
    "signatures": signatures.signatures,
    "perception": perception.perception,
    "features": features.features,
    "estimation": estimation.estimation,
    "robust": robust.robust,
    "node": node.node,
    "bars": node.bars,
    "candles": node.candles,
    "heavy": node.heavy,
    "journal": journal.journal,
    "recovery": journal.recovery,
    "restart": restart.restart,
    "risk": risk.risk,
    "ledger": risk.ledger,
    "growth": growth.growth,
    "exchange": exchange.exchange,
    "wire": wire.wire,
    "live": live.live,
    "tiers": research.tiers,
    "search": research.searching,
    "hftbacktest": hftbacktest_compare.hftbacktest,
    "nautilus": nautilus_compare.nautilus,
    "jesse": candles_compare.jesse,
    "vectorbt": candles_compare.vectorbt,
    "start": start.start,
    "kernels": start.kernels,
}
SLOW = {
    "kernels",
    "live",
    "hftbacktest",
    "nautilus",
    "jesse",
    "vectorbt",
}  # not part of --quick: nothing makes them quick


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 when all was measured, whatever the floors say."""
    given = _parser().parse_args(arguments)
    names = given.only or [name for name in GROUPS if not (given.quick and name in SLOW)]
    writes = not (given.no_write or given.quick or given.tape)
    try:
        with tempfile.TemporaryDirectory(prefix="seawall-bench-") as scratch:
            facts = report.surroundings(Path(scratch))
            bench = Bench(given.runs, Path(scratch), given.tape, given.quick)
            for name in names:
                results = list(_measured(name, bench))
                if writes:
                    measured = kept.Measured(facts=facts, results=results)
                    whole = kept.keep(kept.TARGET, name, measured, list(GROUPS))
                    kept.replaced(report.TARGET, report.markdown(whole).encode())
                    print(f"written to {report.TARGET.name}", flush=True)
    except SeawallError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    return 0


def _measured(name: str, bench: Bench) -> Iterator[Result]:
    print(f"[{name}]", flush=True)
    for result in GROUPS[name](bench):
        print(report.line(result), flush=True)
        yield result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--tape",
        type=Path,
        metavar="FOLDER",
        help="measure on this tape, not the recorded night; writes nothing",
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=GROUPS,
        metavar="NAME",
        help=f"just this group, again for more; the others stay as they are ({', '.join(GROUPS)})",
    )
    parser.add_argument("--runs", type=_positive, default=5, metavar="N", help="of each (5)")
    parser.add_argument("--no-write", action="store_true", help="leave the results as they are")
    parser.add_argument(
        "--quick",
        action="store_true",
        help="little work, simulated markets, no compiling: to see that it runs; writes nothing",
    )
    return parser


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("give at least 1 run")
    return number


if __name__ == "__main__":
    sys.exit(main())
