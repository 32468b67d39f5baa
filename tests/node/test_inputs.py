"""The files that a run read are known by their content: what has changed is named in one line."""

import hashlib
import shutil
from functools import cache
from pathlib import Path

import msgspec
import pytest

from seawall.cli.new import strategy
from seawall.cli.parity import real_lines
from seawall.core.errors import SettingError
from seawall.core.events import Raw
from seawall.core.instruments import Catalog
from seawall.core.records import RunStarted
from seawall.core.settings import DecisionSettings, Settings, VenueSettings
from seawall.node.inputs import changed_inputs, files_of, inputs_of, recorded_inputs, settings_in
from seawall.node.parity import Recorded, verify
from seawall.storage.journal import JournalReader
from tests.node.recorded_runs import PAPER, record
from tests.node.short_runs import EAGER, tape


def quiet(done: int, total: int) -> None:
    """No progress."""


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


@cache
def rows() -> tuple[Catalog, Raw]:
    return tape(50)


def started(folder: Path) -> RunStarted:
    reader = JournalReader(folder / "journal.sqlite")
    try:
        first = next(record for _, record in reader.read())
    finally:
        reader.close()
    assert isinstance(first, RunStarted)
    return first


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run that a strategy's own file decided, with funding rates from a table."""
    folder = tmp_path_factory.mktemp("inputs")
    strategy("mine", False, folder)
    catalog, all_rows = rows()
    named = catalog.instruments[0].name
    rates = f"ts,symbol,funding_rate\n{int(all_rows['recv_ts'][-1]) - 10**9},{named},0.0001\n"
    (folder / "rates.csv").write_text(rates)
    decision = EAGER.model_copy(
        update={"strategy": str(folder / "mine.py"), "parameters": ("lookback=5", "threshold=0")}
    )
    venue = VenueSettings(funding=str(folder / "rates.csv"))
    chosen = PAPER.model_copy(update={"decision": decision, "venue": venue})
    cuts = list(range(1000, len(all_rows), 1000))
    record(folder / "simulated", catalog, all_rows, cuts, end=len(cuts) - 1, settings=chosen)
    return folder


def test_the_journal_knows_what_the_files_said(kept: Path) -> None:
    noted = started(kept / "simulated")
    file, table = kept / "mine.py", kept / "rates.csv"
    assert recorded_inputs(noted) == {
        f"strategy {file}": digest(file),
        f"funding rates {table}": digest(table),
    }
    assert noted.settings == hashlib.sha256(noted.values.encode()).hexdigest()
    assert settings_in(noted, kept).decision.strategy == str(file), "settings are read as ever"
    found = verify(Recorded(kept / "simulated", trusting=True), quiet)
    assert found.identical
    assert found.changed == ()


def test_a_changed_strategy_is_named(kept: Path) -> None:
    file = kept / "mine.py"
    before = file.read_text()
    then = digest(file)
    try:
        file.write_text(before.replace("1.0", "-1.0"))
        found = verify(Recorded(kept / "simulated", trusting=True), quiet)
        line = (
            f"strategy {file}: changed since the run, SHA-256 {then[:12]} then and "
            f"{digest(file)[:12]} now"
        )
        assert found.changed == (line,)
        assert not found.identical
        lines = list(real_lines(found))
        assert lines[:2] == [f"not identical: {kept / 'simulated'}", f"  {line}"]
        difference = found.lives[0].difference
        assert difference is not None
        assert difference.row > 1, "it shows where the decisions part, not the hash itself"
        file.write_text(before + "# a remark\n")
        found = verify(Recorded(kept / "simulated", trusting=True), quiet)
        assert found.identical, "what changes no decision changes no journal"
        assert len(found.changed) == 1
    finally:
        file.write_text(before)


def test_changed_and_missing_funding_rates_are_named(kept: Path, tmp_path: Path) -> None:
    noted = started(kept / "simulated")
    table = tmp_path / "rates.csv"
    venue = VenueSettings(funding=str(table))
    mine = Settings(venue=venue)
    shutil.copy(kept / "rates.csv", table)
    values = Settings(venue=venue).canonical(inputs_of(mine))
    noted = msgspec.structs.replace(noted, values=values)
    assert changed_inputs(noted, mine, "") == []
    table.write_text(table.read_text().replace("0.0001", "0.0002"))
    (line,) = changed_inputs(noted, mine, "")
    assert line.startswith(f"funding rates {table}: changed since the run")
    table.unlink()
    (line,) = changed_inputs(noted, mine, "")
    assert line.endswith("there is no such file any more")
    with pytest.raises(SettingError, match="no such file"):
        inputs_of(mine)


def test_a_golden_set_counts_by_its_content_wherever_it_lies(tmp_path: Path) -> None:
    folder = tmp_path / "simulated"
    folder.mkdir()
    usual = folder / "reference.golden"
    settings = Settings(data_dir=tmp_path)
    assert inputs_of(settings, "simulated") == {}
    without = settings.fingerprint(inputs_of(settings, "simulated"))
    assert without == settings.fingerprint()
    usual.write_bytes(b"one")
    noted = inputs_of(settings, "simulated")
    assert noted == {"golden set": digest(usual)}
    assert settings.fingerprint(noted) != without
    elsewhere = tmp_path / "other.golden"
    elsewhere.write_bytes(b"one")
    gating = settings.gating.model_copy(update={"reference": str(elsewhere)})
    assert inputs_of(settings.model_copy(update={"gating": gating})) == noted
    run = RunStarted(
        ts=0,
        run="a",
        mode="paper",
        seed=0,
        settings="",
        numeraire="USDT",
        instruments=(),
        values=settings.canonical(),
    )
    (line,) = changed_inputs(run, settings, "simulated")
    assert line == f"golden set: {usual} is there now; the run had none, or did not note it"


def test_each_of_several_strategies_is_noted(tmp_path: Path) -> None:
    for name in ("one", "two"):
        strategy(name, False, tmp_path)
    decision = DecisionSettings(
        strategies=(f"{tmp_path / 'one.py'} share=0.5", "rules", f"{tmp_path / 'two.py'}")
    )
    found = files_of(Settings(decision=decision))
    assert list(found.values()) == [tmp_path / "one.py", tmp_path / "two.py"]
