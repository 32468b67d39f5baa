"""Golden sets: made of a recorded tape, and found again when a run starts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from seawall.core.consensus import LEVEL
from seawall.core.errors import DataError
from seawall.core.events import Raw
from seawall.core.instruments import Catalog
from seawall.core.settings import Settings
from seawall.gating import golden
from seawall.gating import reference as references
from seawall.gating.golden import GoldenSet
from seawall.gating.reference import LEAST_ROWS, MOST_ROWS, Reference
from seawall.ingestion.tape import Tape
from seawall.market import Consensus
from seawall.node.naive import Watching
from seawall.node.perception import PerceptionShape
from seawall.storage.secrets import FileSecrets, ensure_signing_key

KEYS = "keys"  # the folder of secrets in the data folder
FILE = "reference.golden"
FEWEST = 3  # sources that can be compared
MISSING = 0.2  # share of the rows that may have fewer


def golden_path(settings: Settings, feed: str) -> Path | None:
    """Where the golden set of a feed is; None where there is none."""
    if settings.gating.reference:
        return Path(settings.gating.reference).expanduser()
    usual = settings.data_dir / feed / FILE
    return usual if feed and usual.is_file() else None


def trusted_of(
    settings: Settings, catalog: Catalog, shape: PerceptionShape, feed: str
) -> dict[str, Reference]:
    """Group → golden reference, for a run on this catalog; empty where no golden set is given.

    Raises:
        DataError: the golden set is altered, foreign or for another market.
        StoreError, SettingError: the key that signed it cannot be read.
    """
    path = golden_path(settings, feed)
    if path is None:
        return {}
    key = ensure_signing_key(FileSecrets(settings.data_dir / KEYS)).verifying
    found = golden.load(path, key)
    market = shape.market.fitted(catalog)
    rule = shape.gating.group.rule
    names = sorted({i.consensus_group for i in catalog.instruments})
    sources = Consensus(catalog, names, market.cadence_ns, rule.faulty).sources
    groups = dict(zip(names, sources, strict=True))
    return golden.fitting(found, groups, market.cadence_ns, rule, str(path))


def calibrated(
    settings: Settings,
    shape: PerceptionShape,
    tape: Tape,
    span: tuple[int, int],
    wanted: list[str],
    block: int,
    report: Callable[[int, int], None],
) -> tuple[GoldenSet, dict[str, str]]:
    """A golden set of a tape, and group → why it has none.

    Args:
        shape: of a run's perception.
        span: ns UTC, [from, until); what comes before is perceived and not counted.
        wanted: names of groups; empty: all that can be.

    Raises:
        DataError: no group of the tape can be calibrated, or one that was asked for is not there.
    """
    group = msgspec.structs.replace(shape.gating.group, window=MOST_ROWS)
    gating = msgspec.structs.replace(shape.gating, group=group, window_s=0.0)
    shape = msgspec.structs.replace(shape, gating=gating)
    catalog = tape.catalog
    perception = Watching(catalog, shape, catalog.numeraire(settings.numeraire))
    _perceive(perception, tape, span, block, report)
    groups = {one.name: at for at, one in enumerate(perception.gating.groups)}
    unknown = [name for name in wanted if name not in groups]
    if unknown:
        raise DataError(
            f"the tape has no group {unknown[0]}; it has {', '.join(groups)} (see --group)"
        )
    fitted: list[Reference] = []
    lacking: dict[str, str] = {}
    for name in wanted or list(groups):
        reference, why = _fitted(perception, groups[name], settings.seed)
        if reference is None:
            lacking[name] = why
        else:
            fitted.append(reference)
    if not fitted or (wanted and lacking):
        name, why = next(iter(lacking.items()))
        raise DataError(f"no golden set of {name}: {why}")
    return GoldenSet(
        references=tuple(fitted),
        cadence_ns=perception.cadence_ns,
        made=int(perception.gating.window.ts.max()),
    ), lacking


def _perceive(
    perception: Watching,
    tape: Tape,
    span: tuple[int, int],
    block: int,
    report: Callable[[int, int], None],
) -> None:
    """The tape up to the end of the span; the windows hold the rows of the span alone."""
    begun = False
    window = perception.gating.window
    for rows in tape.blocks(block):
        times = rows["recv_ts"]
        first, last = (int(np.searchsorted(times, edge)) for edge in span)
        for part in (rows[: min(first, last)], rows[first:last]):
            if len(part) and int(part["recv_ts"][0]) >= span[0] and not begun:
                begun = True
                window.seen[:] = 0
            for _ in perception.observe(Raw(part)):
                pass
        report(perception.rows, tape.rows)
        if last < len(rows):
            break
    for _ in perception.flush():
        pass
    if not begun:
        window.seen[:] = 0


def _fitted(perception: Watching, at: int, seed: int) -> tuple[Reference | None, str]:
    """The reference of one group's window, or why there is none."""
    gating = perception.gating
    group, window = gating.groups[at], gating.window
    seen, length = int(window.seen[at]), window.ts.shape[1]
    order = np.arange(max(0, seen - length), seen) % length
    slots = len(group.sources)
    if slots < FEWEST:
        return None, f"it has {slots} source(s), and {FEWEST} are needed to be compared"
    panel: np.ndarray[Any, Any] = np.ascontiguousarray(window.panel[at][order][:, :slots])
    factor = window.factor[at][order]
    known = factor[:, 0] > 0.0  # before, nothing is known of the volatility
    panel, factor = panel[known], factor[known]
    if len(panel) < LEAST_ROWS:
        return None, f"{len(panel):,} rows, and {LEAST_ROWS} are needed; give a longer tape"
    live = np.isfinite(panel[:, :, LEVEL]).sum(axis=1)
    short = float((live < FEWEST).mean())
    if short > MISSING:
        return None, f"{short:.0%} of its rows have fewer than {FEWEST} sources"
    rule = group.shape.rule
    return references.fit(group.name, group.sources, panel, factor, rule, False, seed), ""
