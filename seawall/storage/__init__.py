"""The journal on disk and in memory, its snapshots, and how state is rebuilt from both."""

from seawall.storage.journal import (
    Durability,
    JournalReader,
    MemoryJournal,
    SnapshotJournal,
    SqliteJournal,
)
from seawall.storage.recorder import Recorder, Recovery, recover

__all__ = [
    "Durability",
    "JournalReader",
    "MemoryJournal",
    "Recorder",
    "Recovery",
    "SnapshotJournal",
    "SqliteJournal",
    "recover",
]
