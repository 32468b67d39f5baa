"""The costs of a run's parents, from its journal and its tape."""

import math
from pathlib import Path

import pytest

from seawall.core.errors import DataError
from seawall.core.records import FillBooked, ParentBegan
from seawall.core.settings import Settings
from seawall.execution.tca import PARTS, totals
from seawall.ingestion.tape import write_tape
from seawall.node.tca import gather, told
from tests.node.short_runs import QUICK, node_on, records, tape
from tests.node.test_pacing import PACED


@pytest.mark.parametrize("settings", [QUICK, PACED], ids=["at once", "paced"])
def test_every_fill_is_in_a_parent_and_the_parts_are_the_shortfall(
    tmp_path: Path, settings: Settings
) -> None:
    catalog, rows = tape(90)
    node = node_on(catalog, rows, settings)
    node.run()
    node.recorder.journal.write(tmp_path / "run.journal")
    write_tape(tmp_path / "tape", catalog, rows)
    found = gather(tmp_path / "run.journal", tmp_path / "tape", settings)
    booked = sum(r.fill.size for r in records(node, FillBooked))
    assert sum(one.filled for one in found) == booked > 0
    paced = settings is PACED
    assert bool(records(node, ParentBegan)) == paced
    # what only reduces goes at once in both
    assert ("twap" in {one.algorithm for one in found}) == paced
    for one in found:
        assert math.isfinite(one.shortfall)
        assert one.shortfall == pytest.approx(sum(getattr(one, p) for p in PARTS), abs=1e-9)
        assert one.fees == pytest.approx(5.0 * one.filled / one.lots, rel=0.02)  # 500 ppm
        assert one.filled <= one.lots * 1.1 + 1
    (line, *_) = totals(found)
    assert line.parents >= 1
    assert line.unknown == 0


def test_the_cost_in_money_is_what_the_ledger_paid(tmp_path: Path) -> None:
    """Filled parents: shortfall x notional = cash paid against the decision's mid."""
    catalog, rows = tape(90)
    node = node_on(catalog, rows, QUICK)
    node.run()
    node.recorder.journal.write(tmp_path / "run.journal")
    write_tape(tmp_path / "tape", catalog, rows)
    found = gather(tmp_path / "run.journal", tmp_path / "tape", QUICK)
    _, parents = told(r for _, r in node.recorder.journal.read())
    for working in parents:
        one = next(a for a in found if a.name == working.name)
        if one.filled != one.lots:
            continue
        instrument = catalog.by_name[working.instrument]
        paid = sum(f.price * f.size for f in working.fills) * instrument.tick_float
        fees = sum(f.fee for f in working.fills) / 10**instrument.settle_decimals
        fees /= instrument.lot_float
        sign = working.side.sign
        cost = sign * (paid - one.arrival * one.lots) + fees
        assert one.shortfall / 1e4 * one.notional == pytest.approx(cost, rel=1e-9)


def test_another_tape_is_refused(tmp_path: Path) -> None:
    catalog, rows = tape(30)
    node = node_on(catalog, rows, QUICK)
    node.run()
    node.recorder.journal.write(tmp_path / "run.journal")
    other = type(catalog)(catalog.instruments[:1], catalog.sources, ((0, 0),))
    write_tape(tmp_path / "tape", other, rows[:0])
    with pytest.raises(DataError, match="another tape"):
        gather(tmp_path / "run.journal", tmp_path / "tape", QUICK)
