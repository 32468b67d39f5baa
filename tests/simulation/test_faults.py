"""What is drawn for a seed, and how it is named."""

import pytest

from seawall.core.clock import SECOND
from seawall.core.errors import SettingError
from seawall.simulation.campaign import faults_of
from seawall.simulation.faults import KINDS, drawn, kinds_of, only
from seawall.simulation.scene import ACTIVE, CALM
from seawall.simulation.shrinking import shrunk


def test_the_same_seed_draws_the_same() -> None:
    assert faults_of(7) == faults_of(7)
    assert faults_of(7) != faults_of(8)


def test_a_kind_left_out_changes_no_other() -> None:
    for seed in range(30):
        whole = faults_of(seed)
        part = faults_of(seed, "venue,kill")
        kinds = set(kinds_of("venue,kill"))
        assert part == [fault for fault in whole if fault.kind in kinds]


def test_every_kind_is_drawn_and_lies_within_its_time() -> None:
    seen = set()
    for seed in range(40):
        for fault in drawn(seed, tuple(KINDS), CALM, ACTIVE):
            seen.add(fault.kind)
            assert CALM <= fault.at <= fault.at + fault.span <= ACTIVE
            assert fault.span <= KINDS[fault.kind].longest * SECOND
    assert seen == set(KINDS)


def test_names() -> None:
    assert kinds_of("all") == tuple(KINDS)
    assert kinds_of("none") == ()
    assert kinds_of("kill, gap") == ("gap", "kill")
    with pytest.raises(SettingError, match="no fault 'gaps'; known are all, none"):
        kinds_of("gaps")
    faults = faults_of(1)
    assert only(faults, faults[3].name) == [faults[3]]
    with pytest.raises(SettingError, match=r"no fault 'kill\.99'"):
        only(faults, "kill.99")


def test_shrinking_leaves_what_is_needed() -> None:
    faults = faults_of(1)
    assert len(faults) > 6
    needed = {faults[1], faults[-2]}
    found = shrunk(faults, lambda some: needed <= set(some))
    assert set(found) == needed
    assert shrunk(faults, lambda some: True) == []
