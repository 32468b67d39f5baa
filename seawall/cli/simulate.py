"""`seawall simulate`: the whole node under injected faults, seed by seed."""

import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from seawall.cli import options
from seawall.cli.console import progress
from seawall.core.clock import SECOND
from seawall.core.errors import DataError, SettingError

if TYPE_CHECKING:
    from seawall.simulation.campaign import Totals
    from seawall.simulation.world import Outcome

EXAMPLES = """\b
Examples:
  seawall simulate --seeds 100
      a hundred seeds with all faults; which checks failed, if any
  seawall simulate --seeds 1000 --faults venue,kill --jobs 2
      groups (feed, clock, venue, store, process, operator) and kinds of faults
  seawall simulate --seed 123 --faults all --trace
      one seed again, call by call
  seawall simulate --seed 7 --kill-every 10
      no faults, but a kill -9 at every tenth call, each compared with a node
      that lived on: orders, fills, positions, cash, fees
  seawall simulate --seeds 20000 --from 1000000 --resume soak.json
      goes on where it was left, also after Ctrl-C

A seed that fails is shown with the command that replays it and with the few
of its faults that make it fail. Exit code 0: no check failed; 1: one did.
"""
SHRINK_MOST = 5  # failing seeds of which the faults are shrunk
SAVE_EVERY = 2.0  # seconds


def simulate(
    seeds: Annotated[int, typer.Option(metavar="N", help="How many seeds.", min=1)] = 20,
    first: Annotated[
        int, typer.Option("--from", metavar="SEED", help="The first of them.", min=0)
    ] = 0,
    seed: Annotated[int | None, typer.Option(metavar="SEED", help="This one alone.", min=0)] = None,
    faults: Annotated[
        str, typer.Option(metavar="NAMES", help="all, none, or groups and kinds of faults.")
    ] = "all",
    only: Annotated[
        str, typer.Option(metavar="NAMES", help="Of one seed: these of its faults (kind.number).")
    ] = "",
    trace: Annotated[
        bool, typer.Option("--trace", help="Of one seed: print each call and each fault.")
    ] = False,
    kill_every: Annotated[
        int | None,
        typer.Option(
            metavar="K",
            help="Of one seed: without faults, kill it at every K-th call, each time anew.",
            min=1,
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(metavar="N", help="Processes.", min=1, max=256)] = 1,
    resume: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep the progress here, and go on from it.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Let the whole node live through seeds in which everything outside it fails."""
    from seawall.simulation.faults import kinds_of

    kinds_of(faults)
    if seed is None and (only or trace or kill_every):
        raise SettingError("--only, --trace and --kill-every are for one seed; name it with --seed")
    if seed is not None and kill_every is not None:
        _kill_every(seed, kill_every, json)
        return
    if seed is not None:
        _show(seed, faults, only, trace, json)
        return
    began = time.perf_counter()
    totals = _run(first, seeds, faults, jobs, resume)
    seconds = time.perf_counter() - began
    if json:
        import msgspec

        typer.echo(msgspec.json.encode({"from": first, "faults": faults, "result": totals}))
    else:
        for line in _lines(totals, faults, seconds):
            typer.echo(line)
    if totals.failed:
        raise typer.Exit(1)


def _run(first: int, seeds: int, faults: str, jobs: int, resume: Path | None) -> "Totals":
    """All seeds, from where an earlier run was left."""
    from seawall.simulation.campaign import Totals, outcomes

    totals = Totals() if resume is None else _resumed(resume, first, faults)
    left = range(first + totals.seeds, first + seeds)
    saved = time.monotonic()
    try:
        with progress("simulation", "seeds") as report:
            for found in outcomes(left, faults, jobs):
                totals.add(found)
                report(totals.seeds, seeds)
                if found.check:
                    typer.echo(_failed(found, faults), err=True)
                if resume is not None and time.monotonic() - saved > SAVE_EVERY:
                    _save(resume, first, faults, totals)
                    saved = time.monotonic()
    finally:
        if resume is not None:
            _save(resume, first, faults, totals)
    return totals


def _resumed(file: Path, first: int, faults: str) -> "Totals":
    import msgspec

    from seawall.simulation.campaign import Totals

    if not file.exists():
        return Totals()
    try:
        said = msgspec.json.decode(file.read_bytes())
        same = (said["from"], said["faults"]) == (first, faults)
        totals = msgspec.convert(said["result"], Totals)
    except (OSError, KeyError, TypeError, msgspec.MsgspecError) as error:
        raise DataError(f"{file}: it is no progress of a simulation ({error})") from None
    if not same:
        raise SettingError(
            f"{file}: it is of seeds from {said['from']} with faults {said['faults']}; name the "
            "same, or another file"
        )
    return totals


def _save(file: Path, first: int, faults: str, totals: "Totals") -> None:
    """Whole, or as it was before."""
    import msgspec

    draft = file.with_name(f".{file.name}.part")
    draft.write_bytes(msgspec.json.encode({"from": first, "faults": faults, "result": totals}))
    os.replace(draft, file)


def _failed(found: "Outcome", faults: str) -> str:
    from seawall.simulation.campaign import replay

    return f"seed {found.seed} failed, {found.check}: {found.text}\n  {replay(found.seed, faults)}"


def _lines(totals: "Totals", faults: str, seconds: float) -> Iterator[str]:
    """What a campaign came to, in words."""
    from seawall.simulation.campaign import faults_of, replay, shrunk_faults
    from seawall.simulation.faults import KINDS

    yield (
        f"{totals.seeds:,} seeds in {seconds:,.1f} s: {totals.lives:,} lives, "
        f"{totals.orders:,} orders, {totals.fills:,} fills, {totals.rows:,} rows of the journal, "
        f"{totals.steps:,} calls"
    )
    injected = [(name, totals.struck[name]) for name in KINDS if name in totals.struck]
    for name, count in injected:
        yield f"  {name:<16}{count:>9,}  {KINDS[name].about}"
    if not totals.failed:
        yield "no check has failed"
        return
    yield f"{len(totals.failed)} seeds failed: {', '.join(str(f.seed) for f in totals.failed)}"
    for found in totals.failed[:SHRINK_MOST]:
        few = shrunk_faults(found.seed, faults_of(found.seed, faults), found.check)
        yield f"seed {found.seed}, {found.check}: {found.text}"
        yield f"  {replay(found.seed, faults)}"
        yield f"  fails with {', '.join(fault.name for fault in few) or 'no fault at all'}"
        if few:
            yield f"  {replay(found.seed, faults, few)}"


def _kill_every(seed: int, every: int, json: bool) -> None:
    """One seed, split in two at every so many calls."""
    from seawall.simulation.kill_points import kill_points
    from seawall.simulation.scene import scene_of

    with progress("kill points", "s of tape") as report:
        found = kill_points(
            scene_of(seed),
            every,
            progress=lambda done, total: report(done // SECOND, total // SECOND),
        )
    if json:
        import msgspec

        typer.echo(msgspec.json.encode(found))
    else:
        typer.echo(
            f"seed {seed}: {found.steps:,} calls, {found.orders:,} orders, {found.fills:,} fills; "
            f"killed at {found.points:,} of them and compared"
        )
        for call, count in sorted(found.calls.items()):
            typer.echo(f"  {call:<24}{count:>7,}")
        for line in found.failed[:SHRINK_MOST]:
            typer.echo(line)
        whole = f"{len(found.failed):,} differ from the node that lived on"
        typer.echo(whole if found.failed else "none differs from the node that lived on")
    if found.failed:
        raise typer.Exit(1)


def _show(seed: int, faults: str, only: str, trace: bool, json: bool) -> None:
    """One seed."""
    from seawall.simulation.campaign import faults_of, lived

    chosen = faults_of(seed, faults, only)
    found = lived(seed, chosen, trace=typer.echo if trace else None)
    if json:
        import msgspec

        typer.echo(msgspec.json.encode(found))
    else:
        for line in _words(found, chosen):
            typer.echo(line)
    if found.check:
        raise typer.Exit(1)


def _words(found: "Outcome", faults: "Sequence[object]") -> Iterator[str]:
    yield (
        f"seed {found.seed}: {found.lives} lives, {found.orders} orders, {found.fills} fills, "
        f"{found.rows} rows of the journal, {found.steps} calls, {len(faults)} faults drawn"
    )
    if found.check:
        yield f"failed, {found.check}: {found.text}"
    else:
        yield f"no check has failed; journal {found.journal}"
