"""Rows under faults of feeds and clocks are still rows of a tape."""

import numpy as np
import pytest

from seawall.core.clock import SECOND
from seawall.core.events import EventFlag
from seawall.simulation.disturbing import disturbed, of_clocks
from seawall.simulation.faults import KINDS, Fault
from seawall.simulation.markets import market_of
from seawall.simulation.scene import scene_of

CATALOG, ROWS = market_of(scene_of(0))


def fault(kind: str, span: float = 1.0) -> Fault:
    return Fault(
        kind=kind, number=0, at=10 * SECOND, span=int(span * SECOND), strength=0.9, choice=0.1
    )


@pytest.mark.parametrize("kind", [k.name for k in KINDS.values() if k.group == "feed"])
def test_messages_stay_whole_and_time_goes_on(kind: str) -> None:
    rows, struck = disturbed(ROWS, CATALOG, [fault(kind)], 1)
    assert struck[kind] == 1
    assert len(rows) != len(ROWS) or (rows != ROWS).any()
    assert (np.diff(rows["recv_ts"]) >= 0).all()
    begins = rows["flags"] & EventFlag.BEGIN != 0
    ends = rows["flags"] & EventFlag.END != 0
    assert begins[0]
    assert ends[-1]
    assert (begins[1:] == ends[:-1]).all()
    for part in ("source", "instrument"):
        inside = ~begins[1:]
        assert (rows[part][1:][inside] == rows[part][:-1][inside]).all()


def test_what_is_not_hit_stays() -> None:
    rows, _ = disturbed(ROWS, CATALOG, [fault("gap")], 1)
    gone = ~np.isin(ROWS["exch_ts"], rows["exch_ts"])
    assert gone.any()
    assert set(ROWS["source"][gone].tolist()) == {0}


@pytest.mark.parametrize("kind", ["clock_forward", "clock_back"])
def test_our_clock_never_goes_back(kind: str) -> None:
    rows, struck = of_clocks(ROWS, [fault(kind, 3.0)])
    assert struck[kind] == 1
    assert (np.diff(rows["recv_ts"]) >= 0).all()
    assert (rows["recv_ts"] != ROWS["recv_ts"]).any()
    assert rows["recv_ts"][-1] == ROWS["recv_ts"][-1]
