"""What cannot be used: one line that says what, where and what to do; nothing half-written."""

import os
import resource
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from seawall.core.clock import SECOND
from seawall.core.events import Raw
from seawall.ingestion.simulated import SimulatedMarket
from seawall.ingestion.tape import TapeWriter, open_tape, write_tape
from tests.cli.processes import Shell, assert_one_line

START = 1_700_000_000 * SECOND
BARS = pl.DataFrame(
    {
        "ts": [1_700_000_000 + 60 * i for i in range(50)],
        "open": [100.0 + i for i in range(50)],
        "high": [101.0 + i for i in range(50)],
        "low": [99.0 + i for i in range(50)],
        "close": [100.5 + i for i in range(50)],
        "volume": [10.0] * 50,
    }
)
ONE = ("--symbol", "BTCUSDT")
SIMULATED = ("run", "--feed", "simulated", "--no-dashboard", "--data-dir", "data")


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


@pytest.fixture(scope="module")
def market() -> tuple[SimulatedMarket, Raw]:
    """Half a minute of the simulated market."""
    simulated = SimulatedMarket(7, START)
    return simulated, simulated.record(30 * SECOND)


def with_row(column: str, row: int, value: Any) -> pl.DataFrame:
    values = BARS[column].to_list()
    values[row] = value
    return BARS.with_columns(pl.Series(column, values))


def truncated(path: Path) -> None:
    BARS.write_parquet(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def parquet(frame: pl.DataFrame) -> Callable[[Path], None]:
    return frame.write_parquet


def csv(frame: pl.DataFrame) -> Callable[[Path], None]:
    return frame.write_csv


SYMBOLS = BARS.with_columns(pl.lit("BTCUSDT").alias("symbol"))
TRADES = pl.DataFrame(
    {"ts": [1_700_000_000, 1_700_000_001], "price": [10.5, 10.25], "size": [1, 1]}
)
SNAPSHOT = "binance_spot_btcusdt_20240808_depth_snapshot.parquet"

TABLES: dict[str, tuple[str, Callable[[Path], None], tuple[str, ...], tuple[str, ...]]] = {
    # file, how it is made, further arguments, words of the message
    "truncated": ("b.parquet", truncated, ONE, ("b.parquet", "truncated", "download it again")),
    "truncated book": (SNAPSHOT, truncated, (), (SNAPSHOT, "truncated", "download it again")),
    "empty": ("b.csv", lambda path: path.touch(), ONE, ("b.csv", "empty", "again")),
    "no table": ("b.csv", lambda p: p.write_bytes(b"\x00\xff\x9f\n"), ONE, ("b.csv",)),
    "missing column": (
        "b.parquet",
        parquet(BARS.rename({"close": "last"}).rename({"volume": "amount"})),
        (*ONE, "--format", "bars"),
        ("b.parquet", "no column 'close'", "it has ts, open, high, low, last", "--columns"),
    ),
    "wrong column": (
        "b.parquet",
        parquet(BARS),
        (*ONE, "--columns", "close=adjusted"),
        ("b.parquet", "no column 'adjusted'", "--columns"),
    ),
    "text for prices": (
        "b.parquet",
        parquet(BARS.with_columns(pl.lit(["x"]).alias("close"))),
        ONE,
        ("b.parquet", "column 'close'", "not numbers"),
    ),
    "NaN price": (
        "b.parquet",
        parquet(with_row("close", 17, float("nan"))),
        ONE,
        ("b.parquet", "column 'close', row 18 is nan", "correct the file"),
    ),
    "no price": (
        "b.parquet",
        parquet(with_row("open", 3, None)),
        ONE,
        ("b.parquet", "column 'open', row 4 is None", "correct the file"),
    ),
    "infinite price": (
        "b.csv",
        csv(with_row("high", 0, float("inf"))),
        ONE,
        ("b.csv", "column 'high', row 1 is", "correct the file"),
    ),
    "negative price": (
        "b.csv",
        csv(with_row("low", 9, -99.0)),
        ONE,
        ("b.csv", "column 'low', row 10 is '-99.0'", "more than 0"),
    ),
    "negative price of a trade": (
        "t.parquet",
        parquet(TRADES.with_columns(pl.Series("price", [10.5, -1.0]))),
        ONE,
        ("t.parquet", "column 'price', row 2 is -1.0", "more than 0"),
    ),
    "unsorted bars": (
        "b.parquet",
        parquet(with_row("ts", 20, 1_700_000_000)),
        ONE,
        ("b.parquet", "row 21", "earlier", "sort the table by time"),
    ),
    "unsorted trades": (
        "t.csv",
        csv(TRADES.reverse()),
        ONE,
        ("t.csv", "row 2", "earlier", "sort the table by time"),
    ),
    "unknown symbol": (
        "b.parquet",
        parquet(SYMBOLS),
        ("--symbol", "DOGEUSDT"),
        ("b.parquet", "unknown symbol 'DOGEUSDT'", "it has BTCUSDT"),
    ),
    "untellable symbol": (
        "stuff.parquet",
        parquet(BARS),
        (),
        ("unknown symbol 'STUFF'", "--symbol"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLES)
def test_a_table_that_cannot_be_used(shell: Shell, case: str) -> None:
    name, make, arguments, words = TABLES[case]
    make(shell.folder / name)
    before = shell.files()
    ended = shell("data", "import", name, "--to", "tape/new", *arguments)
    assert_one_line(ended, 3, *words)
    assert ended.out == ""
    assert shell.files() == before


def test_a_bad_table_does_not_touch_the_tape_that_it_was_to_replace(shell: Shell) -> None:
    BARS.write_parquet(shell.folder / "b.parquet")
    assert shell("data", "import", "b.parquet", "--to", "t", *ONE).code == 0
    with_row("close", 17, -1.0).write_parquet(shell.folder / "b.parquet")
    before = shell.files()
    assert_one_line(shell("data", "import", "b.parquet", "--to", "t", *ONE, "--force"), 3, "row 18")
    assert_one_line(shell("data", "import", "b.parquet", "--to", "t", *ONE), 5, "--force")
    assert shell.files() == before


# -- tapes --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("verb", "what"),
    [
        ("backtest {}", "nothing"),
        ("data inspect {}", "a folder of other things"),
        ("backtest {}", "a file"),
        ("run --no-dashboard --tape {}", "nothing"),
        ("run --no-dashboard --tape {}", "a folder of other things"),
    ],
)
def test_no_tape(shell: Shell, verb: str, what: str) -> None:
    place = shell.folder / "here"
    if what == "a file":
        place.write_text("no tape")
    elif what == "a folder of other things":
        place.mkdir()
        (place / "notes.txt").write_text("no tape")
    before = shell.files()
    ended = shell(*verb.format("here").split())
    assert_one_line(ended, 3, "here", "tape", "`seawall data import")
    assert shell.files() == before


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 0x10
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("verb", "at"),
    [
        ("data inspect tape", 0.25),
        ("backtest tape --journal j", 0.5),
        ("run --no-dashboard --tape tape", 0.75),
    ],
)
def test_a_flipped_bit_in_a_closed_segment(
    shell: Shell, market: tuple[SimulatedMarket, Raw], verb: str, at: float
) -> None:
    write_tape(shell.folder / "tape", market[0].catalog, market[1])
    segment = shell.folder / "tape" / "000001.parquet"
    flip(segment, int(segment.stat().st_size * at))
    before = shell.files()
    assert_one_line(shell(*verb.split()), 3, "000001.parquet", "damaged", "backup")
    assert shell.files() == before


def test_a_flipped_bit_in_an_open_segment(
    shell: Shell, market: tuple[SimulatedMarket, Raw]
) -> None:
    simulated, rows = market
    with TapeWriter(shell.folder / "tape", simulated.catalog) as tape:
        for part in np.array_split(rows, 5):
            tape.append(part)
    segment = shell.folder / "tape" / "000001.segment"
    flip(segment, segment.stat().st_size // 2)
    before = shell.files()
    for verb in ("run --no-dashboard --tape tape", "data inspect tape"):
        words = ("000001.segment: block 3", "is damaged", "restore", "truncate --size")
        assert_one_line(shell(*verb.split()), 3, *words)
    assert shell.files() == before


def test_the_advice_for_a_damaged_segment_helps(
    shell: Shell, market: tuple[SimulatedMarket, Raw]
) -> None:
    """What the message says in backticks keeps everything in front of the damage."""
    simulated, rows = market
    with TapeWriter(shell.folder / "tape", simulated.catalog) as tape:
        for part in np.array_split(rows, 5):
            tape.append(part)
    segment = shell.folder / "tape" / "000001.segment"
    flip(segment, segment.stat().st_size // 2)
    advice = shell("data", "inspect", "tape").err.split("`")[1]
    subprocess.run([*advice.split(), segment], check=True)
    assert shell("data", "inspect", "tape").code == 0
    assert open_tape(shell.folder / "tape").rows == sum(map(len, np.array_split(rows, 5)[:2]))


def test_a_tape_without_the_numeraire(shell: Shell, market: tuple[SimulatedMarket, Raw]) -> None:
    write_tape(shell.folder / "tape", market[0].catalog, market[1])
    ended = shell("backtest", "tape", "--numeraire", "DOGE", "--journal", "j")
    assert_one_line(ended, 3, "DOGE", "USD")
    assert not (shell.folder / "j").exists()


# -- settings -----------------------------------------------------------------------------------

SETTINGS: dict[str, tuple[str, dict[str, str], str, str]] = {
    # seawall.toml, environment, arguments, the whole message
    "no TOML": ("seed = [", {}, "", "seawall.toml: is not valid TOML: "),
    "file, value": (
        "[risk]\nmax_leverage = 7",
        {},
        "",
        "seawall.toml: risk.max_leverage is 7, allowed is 0.1 to 2.0",
    ),
    "file, name": (
        "[risk]\nmax_leverege = 1",
        {},
        "",
        "seawall.toml: risk.max_leverege is no setting; did you mean risk.max_leverage?",
    ),
    "environment, value": (
        "",
        {"MAX_LEVERAGE": "a lot"},
        "",
        "environment MAX_LEVERAGE is 'a lot', allowed is 0.1 to 2.0",
    ),
    "environment, name": (
        "",
        {"SEAWALL_SEEDS": "1"},
        "",
        "environment SEAWALL_SEEDS is no setting; did you mean SEAWALL_SEED?",
    ),
    "flag": ("", {}, "--seed -1", "--seed is '-1', allowed is a whole number from 0 to "),
    "flags that do not go together": (
        "",
        {},
        "--feed simulated --tape t",
        "--tape is for --feed replay, not for --feed simulated: leave one out",
    ),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_a_bad_setting(shell: Shell, case: str) -> None:
    text, environment, arguments, message = SETTINGS[case]
    (shell.folder / "seawall.toml").write_text(text)
    before = shell.files()
    said = assert_one_line(shell("run", *arguments.split(), **environment), 2)
    assert said.startswith(f"seawall: {message}")
    assert shell.files() == before


# -- places -------------------------------------------------------------------------------------


def test_a_port_in_use(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = shell("run", "--feed", "simulated", "--port", port)
    assert_one_line(ended, 6, f"127.0.0.1:{port}", "--port")
    assert shell.files() == {}


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        ("data import b.parquet --symbol BTCUSDT --to {}", "file/t"),
        ("data import b.parquet --symbol BTCUSDT --to {}", "/proc/seawall/t"),
        ("run --feed simulated --no-dashboard --data-dir {}", "file/t"),
        ("run --feed simulated --no-dashboard --data-dir {}", "/proc/seawall/t"),
        ("backtest tape --journal {}", "file/journal"),
        ("backtest tape --journal {}", "/proc/seawall/journal"),
    ],
)
def test_a_folder_that_cannot_be_written(
    shell: Shell, market: tuple[SimulatedMarket, Raw], arguments: str, place: str
) -> None:
    BARS.write_parquet(shell.folder / "b.parquet")
    (shell.folder / "file").write_text("in the way")
    write_tape(shell.folder / "tape", market[0].catalog, market[1])
    before = shell.files()
    ended = shell(*arguments.format(place).split())
    said = assert_one_line(ended, 5, place, "folder")
    assert "choose" in said or "check the folder" in said
    assert shell.files() == before


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_the_right_to_write(shell: Shell) -> None:
    closed = shell.folder / "closed"
    closed.mkdir(mode=0o555)
    arguments = ("run", "--feed", "simulated", "--no-dashboard", "--data-dir", "closed/data")
    assert_one_line(shell(*arguments), 5, "closed/data", "choose")
    assert list(closed.iterdir()) == []


def test_a_journal_that_exists_is_told_before_the_run(
    shell: Shell, market: tuple[SimulatedMarket, Raw]
) -> None:
    write_tape(shell.folder / "tape", market[0].catalog, market[1])
    flip(shell.folder / "tape" / "000001.parquet", 5_000)  # whoever reads it would stumble
    (shell.folder / "j").write_text("an older journal")
    before = shell.files()
    assert_one_line(shell("backtest", "tape", "--journal", "j"), 5, "journal j", "exists already")
    assert shell.files() == before


def test_a_second_node_on_the_same_folder(shell: Shell) -> None:
    with shell.start(*SIMULATED) as first:
        first.said("simulated market")
        first.until(lambda: list(shell.folder.glob("data/simulated/tape-*/*.segment")), "a tape")
        ended = shell(*SIMULATED)
        assert_one_line(ended, 5, "data", "is writing it", "stop that one")
        assert first.process.poll() is None


# -- no space -----------------------------------------------------------------------------------


def at_most(size: int) -> Callable[[], None]:
    """No file of the process may grow beyond `size` bytes: what a full disk is like."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def test_no_space_for_an_import(shell: Shell) -> None:
    count = 60_000
    steps = np.arange(count)
    frame = pl.DataFrame(
        {"ts": 1_700_000_000 + steps, "price": 100 + steps % 977, "size": 1 + steps % 613}
    )
    frame.write_parquet(shell.folder / "t.parquet")
    before = shell.files()
    arguments = ("data", "import", "t.parquet", "--to", "tape", *ONE)
    ended = shell(*arguments, before=at_most(20_000))
    assert_one_line(ended, 5, "tape", "free some space")
    assert shell.files() == before
    assert shell(*arguments).code == 0
    tape = shell.files()
    ended = shell(*arguments, "--force", before=at_most(20_000))
    assert_one_line(ended, 5, "tape", "free some space")
    assert shell.files() == tape  # the old one stays


def test_no_space_for_the_journal_of_a_backtest(
    shell: Shell, market: tuple[SimulatedMarket, Raw]
) -> None:
    write_tape(shell.folder / "tape", market[0].catalog, market[1])
    before = shell.files()
    ended = shell("backtest", "tape", "--journal", "j", before=at_most(4_000))
    assert_one_line(ended, 5, "journal j", "space")
    assert shell.files() == before


@pytest.mark.parametrize(
    ("size", "what"),
    [(10_000, "journal.sqlite"), (8_000_000, "000001.segment")],
    ids=["journal", "tape"],
)
def test_no_space_for_a_node(shell: Shell, size: int, what: str) -> None:
    ended = shell(*SIMULATED, before=at_most(size))
    assert_one_line(ended, 5, what, "space")
    for tape in (shell.folder / "data" / "simulated").glob("tape-*"):
        opened = open_tape(tape)
        assert opened.torn == 0  # whole blocks alone
        assert opened.rows > 0
    resumed = shell(*SIMULATED, "--duration", "1", "--json")
    assert resumed.code == 0
    assert resumed.json["journal_rows"] > 0


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of its own, of half a megabyte."""
    place = tmp_path / "disk"
    place.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if os.geteuid() or not (mount and umount):
        pytest.skip("only root can mount a small disk")
    options = ["-t", "tmpfs", "-o", "size=512k", "tmpfs", place]
    if subprocess.run([mount, *options], check=False, capture_output=True).returncode:
        pytest.skip("no disk can be mounted here")
    try:
        yield place
    finally:
        subprocess.run([umount, place], check=True)


def test_a_full_disk(shell: Shell, small_disk: Path) -> None:
    """The real thing: an import, a node that starts, a node whose disk fills up while it runs."""
    frame = pl.DataFrame({"ts": 1_700_000_000 + np.arange(200_000)})
    frame = frame.with_columns(price=100 + pl.col("ts") % 9_973, size=1 + pl.col("ts") % 6_131)
    frame.write_parquet(shell.folder / "t.parquet")
    ended = shell("data", "import", "t.parquet", "--to", small_disk / "t", *ONE)
    assert_one_line(ended, 5, f"{small_disk}/t", "no space", "free some space")
    assert list(small_disk.iterdir()) == []

    run = ("run", "--feed", "simulated", "--no-dashboard", "--data-dir", small_disk / "data")
    assert_one_line(shell(*run), 5, "000001.segment", "no space", "free some space")
    left = list((small_disk / "data").rglob("*"))
    assert not [path for path in left if path.suffix in (".tmp", ".part")]

    shutil.rmtree(small_disk / "data")
    free = os.statvfs(small_disk)
    (small_disk / "stuff").write_bytes(b"x" * (free.f_bavail * free.f_bsize - 8_192))
    assert_one_line(shell(*run), 5, "journal.sqlite", "space")


# -- the network --------------------------------------------------------------------------------


def test_live_without_a_network(shell: Shell) -> None:
    ended = shell("run", "--feed", "live", "--no-dashboard", "--data-dir", "data")
    words = ("no exchange answered", "binance", "kraken", "coinbase", "--feed simulated")
    assert_one_line(ended, 4, *words)
    busy = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    assert ended.seconds < 20 * busy
    assert shell.hosts_asked  # it has tried, and the test has held it back
    assert shell.files() == {}
