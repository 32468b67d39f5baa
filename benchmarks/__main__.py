"""`python -m benchmarks`: measure everything, or one group, and write RESULTS.md."""

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
    node,
    perception,
    report,
    research,
    risk,
    robust,
    signatures,
    start,
    tape,
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
    "risk": risk.risk,
    "ledger": risk.ledger,
    "growth": growth.growth,
    "exchange": exchange.exchange,
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
    "hftbacktest",
    "nautilus",
    "jesse",
    "vectorbt",
}  # not part of --quick: nothing makes them quick


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 0 when all was measured, whatever the floors say."""
    given = _parser().parse_args(arguments)
    names = given.only or [name for name in GROUPS if not (given.quick and name in SLOW)]
    try:
        with tempfile.TemporaryDirectory(prefix="seawall-bench-") as scratch:
            facts = report.surroundings(Path(scratch))
            bench = Bench(given.runs, Path(scratch), given.tape, given.quick)
            results = [one for name in names for one in _measured(name, bench)]
    except SeawallError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    if given.no_write or given.only or given.quick:
        return 0
    report.TARGET.write_text(report.markdown(results, report.command(), facts), encoding="utf-8")
    print(f"written to {report.TARGET.name}")
    return 0


def _measured(name: str, bench: Bench) -> Iterator[Result]:
    print(f"[{name}]", flush=True)
    for result in GROUPS[name](bench):
        print(report.line(result), flush=True)
        yield result


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument(
        "--tape", type=Path, metavar="FOLDER", help="measure on this tape, not the recorded night"
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=GROUPS,
        metavar="NAME",
        help=f"just this group, again for more; nothing is written ({', '.join(GROUPS)})",
    )
    parser.add_argument("--runs", type=_positive, default=5, metavar="N", help="of each (5)")
    parser.add_argument("--no-write", action="store_true", help="leave RESULTS.md as it is")
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
