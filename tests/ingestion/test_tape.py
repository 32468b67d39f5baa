"""A tape gives back what was recorded, whatever kills the writer, and says what is wrong."""

import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core.errors import DataError, StoreError
from seawall.core.events import EVENT, EventFlag, EventKind, empty
from seawall.core.instruments import Catalog, Instrument, Kind, Source
from seawall.ingestion import tape as tape_module
from seawall.ingestion.tape import HEADER, TapeWriter, open_tape, write_blocks, write_tape

INSTRUMENT = Instrument(
    venue="v", symbol="BTCUSD", kind=Kind.SPOT, base="BTC", quote="USD", tick="0.01", lot="0.0001"
)
CATALOG = Catalog(
    instruments=(INSTRUMENT,), sources=(Source(name="v", venue="v"),), books=((0, 0),)
)


def made(count: int, start: int = 1000) -> np.ndarray:
    rows = empty(count)
    rows["recv_ts"] = start + np.arange(count)
    rows["exch_ts"] = rows["recv_ts"] - 7
    rows["sequence"] = np.arange(count)
    rows["price"] = np.arange(count) * 31 % 997 + 1
    rows["size"] = 5
    rows["kind"] = EventKind.TRADE
    rows["flags"] = EventFlag.BEGIN | EventFlag.END
    return rows


def files(folder: Path) -> list[str]:
    return sorted(p.name for p in folder.iterdir())


splits = st.lists(st.integers(1, 40), min_size=1, max_size=12)


@settings(max_examples=40, deadline=None)
@given(splits=splits, rotate=st.integers(1, 90), block=st.integers(1, 50), reopen=st.booleans())
def test_any_split_reads_back_the_same(
    tmp_path_factory: pytest.TempPathFactory,
    splits: list[int],
    rotate: int,
    block: int,
    reopen: bool,
) -> None:
    folder = tmp_path_factory.mktemp("tape") / "t"
    rows = made(sum(splits))
    writer, at = TapeWriter(folder, CATALOG, rotate_rows=rotate), 0
    for count in splits:
        writer.append(rows[at : at + count])
        at += count
        if reopen:
            writer.close()
            writer = TapeWriter(folder, CATALOG, rotate_rows=rotate)
            assert not writer.recovered
    assert writer.rows == len(rows)
    writer.close()
    tape = open_tape(folder)
    blocks = list(tape.blocks(block))
    assert tape.rows == len(rows)
    assert all(0 < len(b) <= block for b in blocks)
    assert np.array_equal(np.concatenate(blocks), rows)
    assert np.array_equal(tape.read(), rows)
    assert sum(name.endswith(".segment") for name in files(folder)) == 1


def test_cut_at_any_byte_leaves_whole_blocks(tmp_path: Path) -> None:
    sizes = [3, 1, 4, 2]
    rows = made(sum(sizes))
    ends, at = [], 0
    with TapeWriter(tmp_path / "t", CATALOG) as writer:
        segment = tmp_path / "t" / "000001.segment"
        for size in sizes:
            writer.append(rows[at : at + size])
            at += size
            ends.append((segment.stat().st_size, at))
    whole = segment.read_bytes()
    for cut in range(len(whole) + 1):
        segment.write_bytes(whole[:cut])
        kept = max((count for end, count in ends if end <= cut), default=0)
        tape = open_tape(tmp_path / "t")
        assert np.array_equal(tape.read(), rows[:kept])
        if cut % 7 == 0 or cut < HEADER.size + 20:  # opening for writing syncs: not at every byte
            with TapeWriter(tmp_path / "t", CATALOG) as writer:
                torn = cut not in (0, HEADER.size, *(end for end, _ in ends))
                assert bool(writer.recovered) is torn
                assert writer.rows == kept
                writer.append(made(1, start=5000))
            assert open_tape(tmp_path / "t").rows == kept + 1


def test_kill_9_loses_nothing_that_was_appended(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys; from pathlib import Path; sys.path[:0] = sys.argv[2:]\n"
        "import importlib.util as u\n"
        "spec = u.spec_from_file_location('story', sys.argv[1]); m = u.module_from_spec(spec)\n"
        "spec.loader.exec_module(m)\n"
        "w = m.TapeWriter(Path(sys.argv[3]), m.CATALOG, rotate_rows=25)\n"
        "for i in range(9): w.append(m.made(10, start=1000 + 10 * i))\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    folder = tmp_path / "t"
    root = str(Path(__file__).parents[2])
    done = subprocess.run([sys.executable, "-c", script, __file__, root, str(folder)], check=False)
    assert done.returncode == -signal.SIGKILL
    assert np.array_equal(open_tape(folder).read()["recv_ts"], made(90)["recv_ts"])
    with TapeWriter(folder, CATALOG, rotate_rows=25) as writer:  # the lock died with its owner
        assert writer.rows == 90


@pytest.mark.parametrize("step", ["replace", "unlink", "after"])
def test_crash_during_rotation_loses_and_doubles_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    folder, copy = tmp_path / "t", tmp_path / "crashed"
    rows = made(30)

    class Crash(BaseException):
        pass

    def crash(*_: object, **__: object) -> None:
        shutil.copytree(folder, copy)
        raise Crash

    writer = TapeWriter(folder, CATALOG, rotate_rows=20)
    writer.append(rows[:20])
    if step == "after":
        monkeypatch.setattr(writer, "_open_segment", crash)
    else:
        monkeypatch.setattr(Path, step, crash)
    with pytest.raises(Crash):
        writer.append(rows[20:])
    monkeypatch.undo()
    assert np.array_equal(open_tape(copy).read(), rows[:20])
    with TapeWriter(copy, CATALOG, rotate_rows=20) as again:
        assert again.rows == 20
        again.append(rows[20:])
    assert np.array_equal(open_tape(copy).read(), rows)
    assert files(copy) == ["000001.parquet", "000002.segment", "catalog.json"]


def test_receive_time_is_made_monotone_and_flagged(tmp_path: Path) -> None:
    rows = made(6)
    rows["recv_ts"] = [10, 30, 20, 30, 25, 40]
    with TapeWriter(tmp_path / "t", CATALOG) as writer:
        first = writer.append(rows)
        second = writer.append(made(2, start=35))
    assert first["recv_ts"].tolist() == [10, 30, 30, 30, 30, 40]
    late = (first["flags"] & EventFlag.RECORDED_LATE) != 0
    assert late.tolist() == [False, False, True, False, True, False]
    assert second["recv_ts"].tolist() == [40, 40]
    assert rows["recv_ts"][2] == 20, "the caller's rows are left alone"
    assert np.array_equal(open_tape(tmp_path / "t").read(), np.concatenate([first, second]))


def test_receive_time_stays_monotone_over_rotation_and_reopening(tmp_path: Path) -> None:
    with TapeWriter(tmp_path / "t", CATALOG, rotate_rows=3) as writer:
        writer.append(made(3, start=900))
        writer.append(made(1, start=100))
    (tmp_path / "t" / "000002.segment").unlink()
    with TapeWriter(tmp_path / "t", CATALOG) as writer:
        assert writer.append(made(1, start=100))["recv_ts"].tolist() == [902]


def test_damage_in_the_middle_names_file_and_block(tmp_path: Path) -> None:
    with TapeWriter(tmp_path / "t", CATALOG) as writer:
        for i in range(3):
            writer.append(made(4, start=1000 * (i + 1)))
    segment = tmp_path / "t" / "000001.segment"
    content = bytearray(segment.read_bytes())
    content[HEADER.size + 4 * EVENT.itemsize + 60] ^= 1
    segment.write_bytes(content)
    with pytest.raises(DataError, match=r"000001\.segment: block 2 .*restore") as caught:
        open_tape(tmp_path / "t")
    assert "\n" not in str(caught.value)
    with pytest.raises(DataError, match="block 2"):
        TapeWriter(tmp_path / "t", CATALOG)


def test_zeros_after_a_loss_of_power_are_a_torn_tail(tmp_path: Path) -> None:
    with TapeWriter(tmp_path / "t", CATALOG) as writer:
        writer.append(made(4))
    segment = tmp_path / "t" / "000001.segment"
    segment.write_bytes(segment.read_bytes() + bytes(500))
    tape = open_tape(tmp_path / "t")
    assert (tape.rows, tape.torn) == (4, 500)


def test_a_truncated_closed_segment_is_refused(tmp_path: Path) -> None:
    write_tape(tmp_path / "t", CATALOG, made(1000))
    segment = tmp_path / "t" / "000001.parquet"
    segment.write_bytes(segment.read_bytes()[:-200])
    with pytest.raises(DataError, match=r"000001\.parquet: cannot be read .*restore"):
        open_tape(tmp_path / "t").read()


def test_a_missing_segment_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tape_module, "ROTATE_ROWS", 100)
    write_tape(tmp_path / "t", CATALOG, made(250))
    assert open_tape(tmp_path / "t").rows == 250
    (tmp_path / "t" / "000002.parquet").unlink()
    with pytest.raises(DataError, match="segment 000002 is missing"):
        open_tape(tmp_path / "t")


@pytest.mark.parametrize(("field", "value"), [("instrument", 1), ("source", 3), ("kind", 77)])
def test_rows_outside_the_catalog_are_refused(tmp_path: Path, field: str, value: int) -> None:
    rows = made(5)
    rows[field][3] = value
    with pytest.raises(DataError, match=f"row 4 has {field} {value}"):
        write_tape(tmp_path / "t", CATALOG, rows)
    assert files(tmp_path) == []
    with (
        TapeWriter(tmp_path / "w", CATALOG) as writer,
        pytest.raises(DataError, match=f"row 4 has {field} {value}"),
    ):
        writer.append(rows)


def test_another_catalog_is_refused(tmp_path: Path) -> None:
    TapeWriter(tmp_path / "t", CATALOG).close()
    other = msgspec.structs.replace(
        CATALOG, instruments=(msgspec.structs.replace(INSTRUMENT, tick="0.1"),)
    )
    with pytest.raises(DataError, match="another catalog"):
        TapeWriter(tmp_path / "t", other)


def test_two_writers_are_one_too_many(tmp_path: Path) -> None:
    with (
        TapeWriter(tmp_path / "t", CATALOG),
        pytest.raises(StoreError, match="another process is writing"),
    ):
        TapeWriter(tmp_path / "t", CATALOG)


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    with pytest.raises(StoreError, match=r"holds letter\.txt and is no tape"):
        TapeWriter(tmp_path, CATALOG)
    with pytest.raises(StoreError, match="exists and is no tape"):
        write_tape(tmp_path, CATALOG, made(1), force=True)
    assert files(tmp_path) == ["letter.txt"]


def test_an_unwritable_place_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for attempt in (
        lambda: TapeWriter(tmp_path / "file" / "t", CATALOG),
        lambda: write_tape(tmp_path / "file" / "t", CATALOG, made(1)),
    ):
        with pytest.raises(StoreError, match=r"cannot write .*choose a folder") as caught:
            attempt()
        assert "\n" not in str(caught.value)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_one_clear_line(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match="permission denied; give it write permission"):
        write_tape(tmp_path / "t", CATALOG, made(1))
    tmp_path.chmod(0o700)


@pytest.fixture
def full_disk() -> object:
    """From here on no file can grow beyond 2000 bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    old = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    def fill() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, before[1]))

    yield fill
    resource.setrlimit(resource.RLIMIT_FSIZE, before)
    signal.signal(signal.SIGXFSZ, old)


def test_no_space_while_recording_keeps_whole_blocks(tmp_path: Path, full_disk: object) -> None:
    writer = TapeWriter(tmp_path / "t", CATALOG)
    writer.append(made(10))
    full_disk()
    with pytest.raises(StoreError, match=r"cannot write .*000001\.segment.*free some space"):
        writer.append(made(100, start=5000))
    writer.append(made(2, start=5000))
    writer.close()
    tape = open_tape(tmp_path / "t")
    assert (tape.rows, tape.torn) == (12, 0)


def test_no_space_while_importing_leaves_nothing(tmp_path: Path, full_disk: object) -> None:
    write_tape(tmp_path / "t", CATALOG, made(5))
    full_disk()
    noise = made(5000)
    noise["price"] = np.random.default_rng(1).integers(1, 1 << 50, len(noise))
    for target in ("t", "new"):
        with pytest.raises(StoreError, match="free some space"):
            write_tape(tmp_path / target, CATALOG, noise, force=True)
    assert files(tmp_path) == ["t"]
    assert open_tape(tmp_path / "t").rows == 5


def test_an_existing_tape_is_replaced_only_by_force(tmp_path: Path) -> None:
    write_tape(tmp_path / "t", CATALOG, made(5))
    with pytest.raises(StoreError, match=r"holds a tape already.*--force"):
        write_tape(tmp_path / "t", CATALOG, made(9))
    assert open_tape(tmp_path / "t").rows == 5
    write_tape(tmp_path / "t", CATALOG, made(9), force=True)
    assert open_tape(tmp_path / "t").rows == 9
    assert files(tmp_path) == ["t"]


def test_a_tape_written_in_blocks_is_the_one_written_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("seawall.ingestion.tape.ROTATE_ROWS", 40)
    rows = made(130)
    write_tape(tmp_path / "whole", CATALOG, rows)
    for cuts in ([1], [40, 80], [39, 41, 41, 120], []):
        folder = tmp_path / "-".join(map(str, cuts))
        assert write_blocks(folder / "t", CATALOG, np.split(rows, cuts)) == 130
        assert files(folder / "t") == files(tmp_path / "whole")
        assert open_tape(folder / "t").read().tobytes() == rows.tobytes()


def test_blocks_out_of_order_are_refused_and_leave_nothing(tmp_path: Path) -> None:
    blocks = [made(10, start=500), made(10, start=0)]
    with pytest.raises(DataError, match="receive time goes back between blocks"):
        write_blocks(tmp_path / "t", CATALOG, blocks)
    assert files(tmp_path) == []


def test_no_such_tape(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is not a tape .*seawall data import"):
        open_tape(tmp_path / "nowhere")
