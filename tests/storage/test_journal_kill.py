"""What a killed writer has left: every row that was acknowledged, and whole snapshots."""

import os
import random
from pathlib import Path

from seawall.storage import Durability, JournalReader, recover
from tests.storage.journals import Tally, deposit, interpreter, opened

# One interpreter is started; it forks a writer for each path that it is told. A writer appends
# batches of 1 to 4 rows for ever and prints the last seq after each append has returned.
WRITERS = """
import os, sys
sys.path.insert(0, {folder!r})
from seawall.storage import Durability, Recorder, SqliteJournal
from journals import Tally, deposit

def write(path, durability):
    journal = SqliteJournal(path, Durability(durability))
    recorder = Recorder(journal, [Tally()], every=7)
    print(os.getpid(), flush=True)
    seq = 0
    while True:
        rows = range(seq + 1, seq + 2 + seq % 4)
        recorder.record(*(deposit(n) for n in rows))
        seq = rows[-1]
        os.write(1, b"%d\\n" % seq)

for line in sys.stdin:
    child = os.fork()
    if child == 0:
        write(*line.split())
    os.waitpid(child, 0)
    print("dead", flush=True)
"""


def test_every_row_that_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    chance = random.Random(20240808)
    with interpreter(WRITERS) as (told, says):
        for n in range(20):
            path = tmp_path / f"{n}.db"
            durability = list(Durability)[n % 2].value
            print(path, durability, file=told, flush=True)
            pid = int(says.readline())
            for _ in range(chance.randrange(40)):
                says.readline()
            os.kill(pid, 9)
            acknowledged = 0
            while (line := says.readline()) != "dead\n":
                acknowledged = int(line)
            check_survivor(path, acknowledged)


def check_survivor(path: Path, acknowledged: int) -> None:
    reader = JournalReader(path)  # reads what the dead one left without writing it
    assert reader.verify() >= acknowledged
    reader.close()
    journal, tally = opened(path), Tally()  # the dead one's lock is gone
    rows = journal.verify()
    assert rows >= acknowledged
    assert list(journal.read()) == [(n, deposit(n)) for n in range(1, rows + 1)]
    recovery = recover(journal, [tally])
    assert recovery.snapshot >= rows - 14
    assert tally.state() == [rows, rows * (rows + 1) // 2]
    journal.append([deposit(rows + 1)])
    assert journal.verify() == rows + 1
    journal.close()


# A writer that kills itself right before a statement of SQLite, the first, the second, ... of the
# call that takes a snapshot, and of the commits in it.
DYING = """
import os, signal, sys
sys.path.insert(0, {folder!r})
from seawall.storage import Durability, Recorder, SqliteJournal
from journals import Tally, deposit

def write(path, last):
    journal = SqliteJournal(path, Durability.PROCESS)
    recorder = Recorder(journal, [Tally()], every=10)
    recorder.record(*(deposit(n) for n in range(1, 15)))
    recorder.record(*(deposit(n) for n in range(15, 20)))
    seen = []

    def before(statement):
        seen.append(statement)
        if len(seen) == last:
            os.write(1, statement.split()[0].encode() + b"\\n")
            os.kill(os.getpid(), signal.SIGKILL)

    journal._connection.connection.set_trace_callback(before)
    recorder.record(deposit(20))
    os.write(1, b"alive\\n")
    os._exit(0)

for line in sys.stdin:
    path, last = line.split()
    child = os.fork()
    if child == 0:
        write(path, int(last))
    os.waitpid(child, 0)
    os.write(1, b"dead\\n")
"""


def test_death_at_any_step_of_a_snapshot_loses_nothing(tmp_path: Path) -> None:
    seen: list[str] = []
    with interpreter(DYING) as (told, says):
        while not seen or seen[-1] != "alive":
            path = tmp_path / f"{len(seen)}.db"
            print(path, len(seen) + 1, file=told, flush=True)
            seen.append(says.readline().strip())
            assert says.readline() == "dead\n"
            kept = seen.index("COMMIT") < len(seen) - 1 if "COMMIT" in seen else False
            journal, tally = opened(path), Tally()
            found = recover(journal, [tally])
            assert journal.verify() == journal.rows == (20 if kept else 19)
            assert found.snapshot == (20 if seen[-1] == "alive" else 14)
            assert tally.state() == [journal.rows, journal.rows * (journal.rows + 1) // 2]
            journal.close()
    assert seen[:-1].count("COMMIT") == 2
    assert {"BEGIN", "INSERT", "DELETE"} < set(seen)
