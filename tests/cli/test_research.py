"""`seawall search` and `seawall walk-forward` in processes of their own."""

import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from seawall.core.clock import HOUR
from seawall.core.instruments import Catalog, Instrument, Kind, Source
from seawall.core.randomness import generator
from seawall.ingestion.tape import write_tape
from tests.cli.processes import ROOT, Shell, until
from tests.tapes import bar

BARS = 1_200
CROSS = ("--strategy", "moving_average_cross", "--param", "slow=50:200", "--cap", "1")


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    perpetual = Instrument(
        venue="v",
        symbol="BTCUSD",
        kind=Kind.LINEAR,
        base="BTC",
        quote="USD",
        tick="0.1",
        lot="0.001",
    )
    source = Source(name="v", venue="v", bar_span=HOUR)
    steps = generator(6, "tests.cli.research").standard_normal(BARS) * 0.006
    close = np.rint(300_000 * np.exp(np.cumsum(steps))).astype(int).tolist()
    start = 1_700_000_000 // 3600 * HOUR
    rows = [
        bar(start + (k + 1) * HOUR, HOUR, (price, price + 300, price - 300, price), 5_000_000)
        for k, price in enumerate(close)
    ]
    folder = tmp_path_factory.mktemp("tapes") / "bars"
    write_tape(folder, Catalog((perpetual,), (source,), ((0, 0),)).check(), np.concatenate(rows))
    return folder


def test_a_search_is_told_and_kept(tmp_path: Path, tape: Path) -> None:
    shell = Shell(tmp_path)
    asked = ("search", tape, *CROSS, "--sampler", "random", "--sets", "40", "--workers", "1")
    first = shell(*asked)
    assert (first.code, first.err) == (0, "")
    assert "40 of 40 sets" in first.out
    for word in ("deflated Sharpe", "overfitting", "buy and hold", "95 % by bootstrap"):
        assert word.split()[0] in first.out
    again = shell(*asked, "--json")
    assert again.json["done"] == 40
    assert again.json["top"][0]["value"] == max(one["value"] for one in again.json["top"])
    assert again.json["best"]["trials"] <= 40
    assert Path(tmp_path / again.json["study"]).exists()


def test_walking_forward_is_told(tmp_path: Path, tape: Path) -> None:
    shell = Shell(tmp_path)
    asked = ("walk-forward", tape, *CROSS, "--sets", "20", "--folds", "4")
    shown = shell(*asked)
    assert (shown.code, shown.err) == (0, "")
    assert "deflated Sharpe" in shown.out
    told = shell(*asked, "--json").json
    assert len(told["folds"]) == 4
    assert told["performance"]["rows"] == BARS - told["first"]
    assert told["dsr"] <= told["psr"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("search", "nowhere", "--strategy", "trend"), "there is no such tape"),
        (("search", "TAPE", "--strategy", "luck"), "no strategy is called 'luck'"),
        (("search", "TAPE", *CROSS, "--sampler", "magic"), "no sampler is called"),
        (("search", "TAPE", *CROSS, "--param", "fast"), "give NAME=RANGE"),
        (("search", "TAPE", *CROSS, "--objective", "fame"), "no objective is called"),
        (("search", "TAPE", *CROSS, "--ray", "here"), "pip install 'seawall[ray]'"),
        (("walk-forward", "TAPE", *CROSS, "--folds", "400"), "too few"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path, tape: Path, arguments: tuple[str, ...], words: str
) -> None:
    given = [tape if one == "TAPE" else one for one in arguments]
    shown = Shell(tmp_path)(*given)
    assert shown.code != 0
    assert words in shown.err
    assert shown.err.count("\n") == 1


@pytest.mark.slow
def test_interrupted_it_keeps_what_is_finished_and_goes_on(tmp_path: Path, tape: Path) -> None:
    study = tmp_path / "a.study"
    command = [sys.executable, "-m", "seawall", "search", tape, *CROSS, "--study", study]
    command += ["--sampler", "random", "--sets", "100000", "--workers", "2", "--json"]
    running = subprocess.Popen(
        command, cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, text=True
    )
    until(lambda: study.exists() and study.read_bytes().count(b"\n") > 9, "ten sets", 120.0)
    running.send_signal(signal.SIGINT)
    out, _ = running.communicate(timeout=60)
    assert running.returncode == 130
    done = study.read_text().count('"parameters"')
    assert '"interrupted":true' in out
    shell = Shell(tmp_path)
    asked = ("--sampler", "random", "--sets", str(done + 20), "--study", study, "--json")
    more = shell("search", tape, *CROSS, *asked)
    assert more.code == 0
    assert more.json["done"] == done + 20
