"""`seawall attack`: the commands of the manual work as they stand; a mistake costs one line."""

from pathlib import Path

import msgspec
import pytest

from seawall.cli import attack as verbs
from seawall.cli import main
from seawall.core.clock import SECOND
from seawall.ingestion.simulated import SimulatedMarket
from seawall.ingestion.tape import open_tape, write_tape
from seawall.lab import impact
from seawall.lab.impact import Impact
from tests.tapes import COMPILED, START

SPAN = 40  # seconds of a tape
SHORT = ("--start", "10s", "--duration", "20s")


def seawall(*arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(a) for a in arguments])
    return int(left.value.code or 0)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No settings file of somebody else's, and wide tables."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "120")


@pytest.fixture(scope="module")
def tape(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tapes") / "simulated"
    market = SimulatedMarket(7, START)
    write_tape(folder, market.catalog, market.record(SPAN * SECOND))
    return folder


# --- attacked tapes ---


def test_an_attacked_tape_can_be_inspected(
    tmp_path: Path, tape: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "washed"
    more = ["--type", "wash_trading", "--intensity", "0.5", "--sources", "sim-b", "--start", "5s"]
    assert seawall("attack", "simulate", tape, *more, "--out", out) == 0
    printed = capsys.readouterr()
    assert "wash_trading by sim-b: 50% of the traded volume is washed" in printed.out
    assert printed.err == ""
    honest, told = open_tape(tape).read(), open_tape(out).read()
    assert len(told) > len(honest)
    theirs = honest[honest["source"] != 1]
    assert told[told["source"] != 1].tobytes() == theirs.tobytes()
    assert seawall("data", "inspect", out) == 0
    assert seawall("attack", "simulate", tape, *more, "--out", out) == 5
    assert "holds a tape already" in capsys.readouterr().err
    assert seawall("attack", "simulate", tape, *more, "--out", out, "--force", "--json") == 0
    result = msgspec.json.decode(capsys.readouterr().out)
    assert result["rows"] == len(told)


def test_a_simulated_market_under_attack_can_be_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "silent"
    assert seawall("attack", "simulate", "--type", "silence", *SHORT, "--out", out) == 0
    assert "silence by sim-e" in capsys.readouterr().out
    assert [source.name for source in open_tape(out).catalog.sources][-1] == "sim-e"


# --- the commands of the manual ---


@pytest.mark.parametrize(
    "words",
    [
        ["wash_trading", "--intensity", "0.05", "--duration", "1m"],
        ["data_poisoning", "--samples", "1000", "--offset", "2.0", "--duration", "1m"],
    ],
    ids=lambda w: str(w[0]),
)
@pytest.mark.skipif(not COMPILED, reason="eleven minutes of a market take compiled code")
def test_the_manuals_commands_measure_a_simulated_market(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert seawall("attack", "simulate", "--type", *words) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    for line in ("shift of the mean, most (sigma)", "flipped decisions", "S0 < 5 %", "ours < 1 %"):
        assert line in printed.out
    assert "within every certificate" in printed.out


def test_the_impact_on_a_tape_as_json(tape: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = ["--type", "random", *SHORT, "--seed", "3", "--json"]
    assert seawall("attack", "measure-impact", tape, *more) == 0
    values = msgspec.json.decode(capsys.readouterr().out)
    assert values.pop("seconds") > 0
    found = msgspec.convert(values, Impact)
    assert found.attack.startswith("random by sim-e")
    assert found.trading is not None
    assert [group.group for group in found.groups] == ["BTC", "ETH"]
    assert seawall("attack", "measure-impact", tape, *more, "--no-trading") == 0
    values = msgspec.json.decode(capsys.readouterr().out)
    assert values["trading"] is None
    assert values["groups"] == msgspec.to_builtins(list(found.groups))


def test_a_violated_certificate_is_said_and_fails_the_check(
    tape: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(impact, "SLACK", -1e9)  # every clean value now lies outside
    more = ["--type", "random", *SHORT, "--no-trading"]
    assert seawall("attack", "measure-impact", tape, *more) == 1
    assert "CERTIFICATE VIOLATED" in capsys.readouterr().out


# --- mistakes ---


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["simulate"], 2, "which attack? give --type NAME"),
        (["simulate", "--type", "wash"], 2, "there is no attack 'wash'"),
        (["simulate", "--type", "silence", "--set", "x"], 2, "--set 'x' is not KEY=VALUE"),
        (["simulate", "--type", "silence", "--offset", "2"], 2, "no parameter 'offset'; it knows"),
        (["simulate", "--type", "silence", "--duration", "soon"], 2, "--duration: 'soon' is no"),
        (["simulate", "--type", "silence", "--start", "soon"], 2, "--start: 'soon' is no length"),
        (["measure-impact", "{here}/none", "--type", "silence"], 3, "there is no such tape"),
        (["measure-impact", "{tape}", "--type", "silence"], 2, "after the market's end"),
        (
            ["measure-impact", "{tape}", "--type", "silence", "--sources", "nobody"],
            2,
            "there is no source 'nobody'; choose from sim-a",
        ),
        (["simulate", "{tape}", "--type", "silence", "--out", "{tape}"], 5, "holds a tape already"),
    ],
)
def test_a_mistake_is_one_line(
    tmp_path: Path,
    tape: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    code: int,
    words: str,
) -> None:
    filled = [a.format(here=tmp_path, tape=tape) for a in arguments]
    assert seawall("attack", *filled) == code
    printed = capsys.readouterr()
    assert printed.err.startswith("seawall: ")
    assert printed.err.count("\n") == 1
    assert words in printed.err
    assert printed.out == ""


@pytest.mark.parametrize("verb", ["simulate", "measure-impact"])
def test_help_has_examples_and_names_every_type(
    verb: str, capsys: pytest.CaptureFixture[str]
) -> None:
    from seawall.lab.attacks import ATTACKS

    assert seawall("attack", verb, "--help") == 0
    assert f"seawall attack {verb} --type" in capsys.readouterr().out
    missing = [name for name in ATTACKS if name not in verbs.SIMULATE_EXAMPLES]
    assert missing == []
