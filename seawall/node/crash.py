"""How soon the node's own flash_crash breaker opens in a crash, on the path that it trades on."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from seawall.core.clock import SECOND, TapeClock
from seawall.core.events import Raw
from seawall.core.records import BreakerChanged
from seawall.core.settings import Settings
from seawall.lab.execution.crash import PER_SECOND, STEP, Floats, Scene
from seawall.lab.execution.crash_tape import FRAGMENT, START, catalog, crossing, tape_of
from seawall.node import assembly
from seawall.risk.breakers import State

WINDOW = 60 * PER_SECOND  # steps that the breaker looks back on


class Detection(NamedTuple):
    """One scene.

    Attributes:
        crossed: seconds from the start of the scene until the book's mid had moved by more than
            the threshold within a minute; NaN where it never did.
        delay: seconds of event time from then until the breaker opened; NaN where it did not.
    """

    scene: str
    kind: str
    crossed: float
    delay: float


def detect(
    settings: Settings,
    scenes: Sequence[Scene],
    report: Callable[[int, int], None] = lambda done, total: None,
) -> list[Detection]:
    """Show scenes to a node each and note when flash_crash opened.

    Each scene is shown after a calm minute, so that the node has seen a market when it begins. One
    that never crosses has no delay, unless the breaker opened all the same: then it is negative
    infinity, a false alarm.
    """
    found = []
    for k, scene in enumerate(scenes):
        shown = _after_calm(scene)
        step = crossing(shown.mid, settings.risk.flash_crash_threshold, WINDOW)
        opened = _opened(settings, tape_of(shown))
        delay = float("nan")
        if opened is not None:
            crossed_at = START + step * STEP + FRAGMENT
            delay = (opened - crossed_at) / SECOND if step >= 0 else float("-inf")
        crossed = (step - WINDOW) / PER_SECOND if step >= 0 else float("nan")
        found.append(Detection(scene.name, scene.kind, crossed, delay))
        report(k + 1, len(scenes))
    return found


def _after_calm(scene: Scene) -> Scene:
    """The scene with a minute before it in which nothing happens."""

    def held(values: Floats) -> Floats:
        return np.concatenate([np.repeat(values[:1], WINDOW, axis=0), values])

    if len(scene.offset) == 1:
        return scene._replace(mid=held(scene.mid))
    return scene._replace(mid=held(scene.mid), offset=held(scene.offset), size=held(scene.size))


def _opened(settings: Settings, rows: Raw) -> int | None:
    """Ns UTC at which the breaker opened in a run over these rows, as the journal has it."""
    from seawall.ingestion.replay import ReplayFeed
    from seawall.storage.journal import MemoryJournal

    listed = catalog()
    journal = MemoryJournal()
    feed = ReplayFeed(listed, iter([rows]), TapeClock(), None)
    node = assembly.build(
        settings,
        listed,
        feed,
        journal,
        assembly.Silent(),
        assembly.run_id(settings.fingerprint(), listed),
        strict=True,
        eager=False,
    )
    node.run()
    for _, record in journal.read():
        if (
            isinstance(record, BreakerChanged)
            and record.name == "flash_crash"
            and record.state == State.OPEN
        ):
            return record.ts
    return None
