"""Garbage is looked for after the way from rows to orders, not on it."""

import gc

import pytest

from seawall.core.collecting import collected_later


def test_nothing_is_collected_within_and_what_was_due_is_after() -> None:
    looked: list[int] = []

    def note(phase: str, info: dict[str, int]) -> None:
        looked.append(info["generation"])

    made = []
    gc.collect()
    gc.callbacks.append(note)
    try:
        with collected_later():
            made += [[] for _ in range(10 * gc.get_threshold()[0])]
            assert not looked
        made.append([])
        assert looked
    finally:
        gc.callbacks.remove(note)


def test_who_had_switched_it_off_finds_it_so_and_a_failure_switches_it_on_again() -> None:
    gc.disable()
    try:
        with collected_later():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
    with pytest.raises(ValueError, match="here"), collected_later():
        raise ValueError("here")
    assert gc.isenabled()
