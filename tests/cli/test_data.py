"""`seawall data`: one command makes a tape, one says what is on it; a mistake costs one line."""

import itertools
from pathlib import Path

import msgspec
import polars as pl
import pytest

from seawall.cli import main
from seawall.ingestion.inspection import Inspection
from seawall.ingestion.tape import open_tape

TRADES = "time,px,qty\n1700000000,10.5,0.25\n1700000001,10.25,1\n"
MAPPED = ["--columns", "ts=time,price=px,size=qty", "--symbol", "BTCUSDT"]


def seawall(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(a) for a in arguments])
    return int(left.value.code or 0)


@pytest.fixture
def trades(tmp_path: Path) -> Path:
    path = tmp_path / "trades.csv"
    path.write_text(TRADES)
    return path


def test_import_and_inspect(
    tmp_path: Path, trades: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tape = tmp_path / "tape"
    assert seawall("data", "import", trades, "--to", tape, *MAPPED) == 0
    printed = capsys.readouterr()
    assert "BTCUSDT@recorded" in printed.out
    assert "2 rows in" in printed.out
    assert printed.err == ""
    assert seawall("data", "inspect", tape) == 0
    assert "2 rows (2 trade)" in capsys.readouterr().out
    assert seawall("data", "inspect", tape, "--json") == 0
    result = msgspec.json.decode(capsys.readouterr().out, type=Inspection)
    assert result.rows == 2


def test_orders_are_imported_inspected_and_made_levels_of(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "x_btcusd_orders.csv"
    path.write_text(
        "ts,order_id,action,side,price,qty\n"
        "1000,7,created,bid,100.5,2\n2000,8,created,ask,101,1.5\n3000,7,deleted,bid,100.5,2\n"
    )
    orders, levels = tmp_path / "orders", tmp_path / "levels"
    assert seawall("data", "import", path, "--to", orders) == 0
    assert seawall("data", "inspect", orders) == 0
    assert "2 add, 1 cancel" in capsys.readouterr().out
    assert seawall("data", "levels", orders, "--to", levels) == 0
    assert seawall("data", "inspect", levels) == 0
    assert "3 depth, 1 snapshot" in capsys.readouterr().out
    assert seawall("backtest", orders) != 0
    assert "seawall data levels" in capsys.readouterr().err
    assert seawall("data", "levels", levels, "--to", tmp_path / "again") == 0
    assert "no book of this tape" in capsys.readouterr().out


def test_bars_of_a_tape_as_a_table_and_as_a_tape(
    tmp_path: Path, trades: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tape = tmp_path / "tape"
    assert seawall("data", "import", trades, "--to", tape, *MAPPED) == 0
    told = ("data", "bars", tape, "--by", "trades", "--size", "2", "--to")
    table, bars = tmp_path / "bars.parquet", tmp_path / "bars"
    assert seawall(*told, table) == 0
    row = pl.read_parquet(table).row(0, named=True)
    assert (row["open"], row["close"], row["volume"], row["value"]) == (10.5, 10.25, 1.25, 12.875)
    assert seawall(*told, table) != 0  # it is there
    assert seawall(*told, bars) == 0
    assert (open_tape(bars).read()["recv_ts"] == row["ts"]).all()
    capsys.readouterr()
    assert (
        seawall("data", "bars", tape, "--by", "volume", "--size", "0.001", "--to", tape / "x") != 0
    )
    assert "--size" in capsys.readouterr().err


def test_json_of_an_import(
    tmp_path: Path, trades: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert seawall("data", "import", trades, "--to", tmp_path / "t", "--json", *MAPPED) == 0
    result = msgspec.json.decode(capsys.readouterr().out)
    assert result["rows"] == 2
    assert result["instruments"] == [
        {"name": "BTCUSDT@recorded", "tick": "0.01", "lot": "0.01", "rows": 2}
    ]


def test_the_layout_is_told_by_the_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bars = pl.DataFrame({"ts": [60, 120, 180], "volume": [1.0, 2.0, 0.0]}).with_columns(
        *(pl.lit(5.5).alias(name) for name in ("open", "high", "low", "close"))
    )
    folder = tmp_path / "bars"
    folder.mkdir()
    bars.write_csv(folder / "ETHUSDT.csv")
    options = ("--kind", "linear", "--venue", "x", "--to", tmp_path / "t")
    assert seawall("data", "import", folder, *options) == 0
    assert "ETHUSDT@x" in capsys.readouterr().out


def test_an_existing_tape_needs_force(
    tmp_path: Path, trades: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("data", "import", trades, "--to", tmp_path / "t", *MAPPED)
    assert seawall(*arguments) == 0
    capsys.readouterr()
    assert seawall(*arguments) == 5
    assert "holds a tape already" in capsys.readouterr().err
    assert seawall(*arguments, "--force") == 0


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["import", "{here}/none.csv", "--to", "{here}/t"], 3, "no such file"),
        (["import", "{trades}", "--to", "{here}/t"], 3, "no column 'price'; it has time, px, qty"),
        (["import", "{trades}", "--to", "{here}/t", "--columns", "x"], 2, "not FIELD=COLUMN"),
        (["import", "{trades}", "--to", "{here}/t", "--format", "bars"], 3, "no column 'open'"),
        (["import", "{trades}", "--to", "{here}/t", "--format", "binance"], 3, "no Binance set"),
        (["import", "{trades}", "--to", "{trades}/t", *MAPPED], 5, "cannot write"),
        (["import", "{trades}", "--to", "{here}/t", "--rows", "candles"], 2, "candles"),
        (["import", "{here}/empty", "--to", "{here}/t"], 3, "no table in this folder"),
        (["inspect", "{here}"], 3, "is not a tape"),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(
    tmp_path: Path,
    trades: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    (tmp_path / "empty").mkdir()
    filled = [a.format(here=tmp_path, trades=trades) for a in arguments]
    assert seawall("data", *filled) == code
    printed = capsys.readouterr()
    assert printed.err.startswith("seawall: ")
    assert printed.err.count("\n") == 1
    assert words in printed.err
    assert "Traceback" not in printed.err
    assert sorted(p.name for p in tmp_path.iterdir()) == ["empty", "trades.csv"]


@pytest.mark.parametrize("verb", [[], ["import"], ["inspect"], ["merge"], ["replicate"]])
def test_help_has_examples(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert seawall("data", *verb, "--help") == 0
    printed = capsys.readouterr().out
    assert ("seawall data " + verb[0] if verb else "import") in printed


# -- several sources on one tape -----------------------------------------------------------------


@pytest.fixture
def bars(tmp_path: Path) -> Path:
    """Half an hour of minute bars whose price wanders."""
    close = [100.0 + (7 * k % 11) / 4 + k / 8 for k in range(31)]
    path = tmp_path / "bars.csv"
    rows = [
        f"{1_700_000_040 + 60 * k},{a},{max(a, b)},{min(a, b)},{b},{k + 10}"
        for k, (a, b) in enumerate(itertools.pairwise(close))
    ]
    path.write_text("ts,open,high,low,close,volume\n" + "\n".join(rows) + "\n")
    return path


def test_two_venues_are_merged_onto_one_tape(
    tmp_path: Path, bars: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for venue in ("kraken", "okx"):
        more = ["--venue", venue, "--symbol", "BTCUSD"]
        assert seawall("data", "import", bars, "--to", tmp_path / venue, *more) == 0
    both = [tmp_path / "kraken", tmp_path / "okx", "--to", tmp_path / "both"]
    capsys.readouterr()
    assert seawall("data", "merge", *both, "--until", "2023-11-14T22:20", "--json") == 0
    result = msgspec.json.decode(capsys.readouterr().out)
    assert [(one["name"], one["rows"]) for one in result["instruments"]] == [
        ("BTCUSD@kraken", 20),
        ("BTCUSD@okx", 20),
    ]
    assert open_tape(tmp_path / "both").rows == 40
    again = [tmp_path / "okx", tmp_path / "okx", "--to", tmp_path / "x"]
    assert seawall("data", "merge", *again) != 0
    assert "BTCUSD@okx is also on" in capsys.readouterr().err
    assert not (tmp_path / "x").exists()


def test_a_tape_is_told_again_by_several_sources(
    tmp_path: Path, bars: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, many = tmp_path / "one", tmp_path / "many"
    assert seawall("data", "import", bars, "--to", one, "--symbol", "BTCUSD") == 0
    capsys.readouterr()
    assert seawall("data", "replicate", one, "--sources", 3, "--out", many, "--tau", 0.1) == 0
    printed = capsys.readouterr()
    assert "BTCUSD@recorded" in printed.out
    assert "360 rows of 3 sources" in printed.out
    assert printed.err == ""
    assert seawall("data", "inspect", many, "--json") == 0
    report = msgspec.json.decode(capsys.readouterr().out, type=Inspection)
    assert [source.name for source in report.sources] == ["r1", "r2", "r3"]
    assert sum(book.sequence_breaks + book.crossed for book in report.books) == 0
    more = ["--seed", 4, "--latency-ms", "2,20", "--thin", 0.1, "--force", "--json"]
    assert seawall("data", "replicate", one, "--out", many, *more) == 0
    result = msgspec.json.decode(capsys.readouterr().out)
    assert (result["rows"], result["shape"]["sources"], result["shape"]["tau"]) == (600, 5, 0.485)


@pytest.mark.parametrize(
    ("more", "line"),
    [
        (["--tau", "-1"], "--tau is -1; give a number from 0 to 100"),
        (["--latency-ms", "fast"], "--latency-ms 'fast' is not FIRST,LAST"),
        (["--instrument", "ETHUSD@x"], "unknown instrument 'ETHUSD@x'; the tape has BTCUSD@rec"),
        (["--sources", "0"], "--sources is 0"),
    ],
)
def test_a_replication_that_cannot_be_is_refused_in_one_line(
    tmp_path: Path, bars: Path, capsys: pytest.CaptureFixture[str], more: list[str], line: str
) -> None:
    one, many = tmp_path / "one", tmp_path / "many"
    assert seawall("data", "import", bars, "--to", one, "--symbol", "BTCUSD") == 0
    capsys.readouterr()
    assert seawall("data", "replicate", one, "--out", many, *more) != 0
    printed = capsys.readouterr()
    assert line in printed.err
    assert printed.err.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir() if "many" in path.name] == []


def test_prices_are_rounded_where_a_tick_is_given_and_only_of_bars(
    tmp_path: Path, bars: Path, trades: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    more = ["--symbol", "BTCUSD", "--tick", "0.5"]
    assert seawall("data", "import", bars, "--to", tmp_path / "t", *more) == 0
    assert "bars rounded to 0.5" in capsys.readouterr().out
    assert seawall("data", "import", trades, "--to", tmp_path / "u", *MAPPED, "--tick", "1") != 0
    assert "--tick is for bars" in capsys.readouterr().err
