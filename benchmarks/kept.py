"""What was measured last, group by group, and where and when: `results.json`.

The page is made of this alone, so a single group can be measured again in a quiet hour.
"""

import os
from collections.abc import Sequence
from pathlib import Path

import msgspec

from benchmarks.measure import Result
from seawall.core.errors import DataError

TARGET = Path(__file__).with_name("results.json")


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One group's last measurement. facts: where and when, in words, by name."""

    facts: dict[str, str]
    results: list[Result]


def load(path: Path) -> dict[str, Measured]:
    """Group → its last measurement; none where there is no file. DataError: it is no such file."""
    if not path.exists():
        return {}
    try:
        return msgspec.json.decode(path.read_bytes(), type=dict[str, Measured])
    except msgspec.DecodeError as error:
        raise DataError(f"{path.name}: {error}; take it back from the history") from error


def keep(path: Path, name: str, measured: Measured, known: Sequence[str]) -> dict[str, Measured]:
    """Put one group in the place of its older measurement.

    Args:
        known: all groups there are, in their order; others are dropped.

    Returns:
        What is kept now.
    """
    found = load(path) | {name: measured}
    kept = {group: found[group] for group in known if group in found}
    text = msgspec.json.format(msgspec.json.encode(kept), indent=1)
    replaced(path, text + b"\n")
    return kept


def replaced(path: Path, text: bytes) -> None:
    """Write a file whole, or leave it as it is."""
    draft = path.with_name(f".{path.name}.part")
    draft.write_bytes(text)
    os.replace(draft, path)
