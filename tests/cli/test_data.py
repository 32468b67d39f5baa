"""`seawall data`: one command makes a tape, one says what is on it; a mistake costs one line."""

from pathlib import Path

import msgspec
import polars as pl
import pytest

from seawall.cli import main
from seawall.ingestion.inspection import Inspection

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


@pytest.mark.parametrize("verb", [[], ["import"], ["inspect"]])
def test_help_has_examples(verb: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert seawall("data", *verb, "--help") == 0
    printed = capsys.readouterr().out
    assert ("seawall data " + verb[0] if verb else "import") in printed
