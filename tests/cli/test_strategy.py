"""A strategy of one's own, as a user goes about it: written, tested, looked at, run."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from seawall.core.clock import SECOND
from seawall.ingestion.simulated import SimulatedMarket
from seawall.ingestion.tape import write_tape
from tests.cli.processes import LIVELY, ROOT, Shell

START = 1_700_000_000


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tapes") / "simulated"
    market = SimulatedMarket(7, START * SECOND)
    write_tape(folder, market.catalog, market.record(240 * SECOND))
    return folder


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    (tmp_path / "seawall.toml").write_text(LIVELY)
    return Shell(tmp_path)


def one_of(tape: Path) -> str:
    """The first instrument of the tape."""
    from seawall.ingestion.tape import open_tape

    return open_tape(tape).catalog.instruments[0].name


@pytest.mark.parametrize("kind", [[], ["--compiled"]])
def test_a_new_strategy_runs_at_once(shell: Shell, tape: Path, kind: list[str]) -> None:
    made = shell("new", "strategy", "my_idea", *kind)
    assert (made.code, made.err) == (0, "")
    own = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_my_idea.py"]
    here = {**os.environ, "PYTHONPATH": str(ROOT)}
    tested = subprocess.run(
        own, cwd=shell.folder, env=here, capture_output=True, text=True, check=False
    )
    assert tested.returncode == 0, tested.stdout + tested.stderr
    options = ("--strategy", "my_idea.py", "--param", "lookback=5", "--param", "threshold=0")
    ran = shell("backtest", tape, *options, "--json")
    assert (ran.code, ran.err) == (0, "")
    assert ran.json["fills"] > 0
    name = one_of(tape)
    looked = shell("backtest", tape, *options, "--symbol", name, "--check-lookahead")
    assert looked.code == 0
    assert "does not look ahead" in looked.out
    again = shell("new", "strategy", "my_idea")
    assert again.code == 2
    assert "is there already" in again.err


def test_a_cheat_is_named_and_fails(shell: Shell, tape: Path) -> None:
    shell("new", "strategy", "cheat")
    file = shell.folder / "cheat.py"
    text = file.read_text()
    body = (
        '        return np.sign(np.append(rows["price"][1:], rows["price"][-1]) - rows["price"])\n'
    )
    at = text.index("        lookback = self._shape.lookback\n")
    file.write_text(text[:at] + body + "\n\nSTRATEGY = Kind(CheatShape, Cheat)\n")
    told = shell(
        "backtest", tape, "--strategy", "cheat.py", "--symbol", one_of(tape), "--check-lookahead"
    )
    assert told.code == 1
    assert "cheat LOOKS AHEAD" in told.out


def test_a_span_is_traded_and_what_comes_before_warms_up(shell: Shell, tape: Path) -> None:
    whole = shell("backtest", tape, "--json").json
    part = shell("backtest", tape, "--start", "2023-11-14T22:15:20", "--json").json
    assert (START + 120) * SECOND <= part["started"] < (START + 121) * SECOND
    assert 0 < part["orders"] < whole["orders"]
    first = shell("backtest", tape, "--end", "2023-11-14T22:15:20", "--json").json
    assert first["ended"] <= (START + 120) * SECOND
    assert 0 < first["orders"] < whole["orders"]
    none = shell("backtest", tape, "--start", "2024-01-01")
    assert none.code == 3
    assert "nothing of it lies between" in none.err
    turned = shell("backtest", tape, "--start", "2024-01-02", "--end", "2024-01-01")
    assert (turned.code, "is not after --start" in turned.err) == (2, True)


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["new", "strategy", "My Idea"], "small letters"),
        (["backtest", "TAPE", "--strategy", "nothing"], "no strategy is called"),
        (["backtest", "TAPE", "--strategy", "no.py"], "no such file"),
        (["backtest", "TAPE", "--strategy", "trend", "--param", "slope=1"], "no parameter 'slope'"),
        (["backtest", "TAPE", "--strategy", "trend", "--param", "fast"], "--param is 'fast'"),
        (["backtest", "TAPE", "--symbol", "XYZ"], "which the market does not list"),
    ],
)
def test_a_mistake_is_one_line(shell: Shell, tape: Path, arguments: list[str], says: str) -> None:
    told = shell(*[tape if one == "TAPE" else one for one in arguments])
    assert told.code == 2
    assert says in told.err
    assert len(told.err.strip().splitlines()) == 1
