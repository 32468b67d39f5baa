"""A golden set from a tape to the model that a run measures itself against."""

from pathlib import Path

import pytest

from seawall.core.clock import SECOND
from seawall.core.errors import DataError
from seawall.core.settings import AdmissionSettings, FeedSettings, GatingSettings, Settings
from seawall.gating import golden
from seawall.ingestion.tape import Tape, open_tape, write_tape
from seawall.node.assembly import perception_of, shape_of
from seawall.node.calibration import KEYS, calibrated
from seawall.storage.secrets import FileSecrets, ensure_signing_key
from tests.node.short_runs import START, tape

EVER = (-(1 << 62), 1 << 62)


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Tape:
    catalog, rows = tape(700)
    folder = tmp_path_factory.mktemp("golden") / "tape"
    write_tape(folder, catalog, rows)
    return open_tape(folder)


def made(
    recorded: Tape, span: tuple[int, int] = EVER, wanted: tuple[str, ...] = (), block: int = 4096
) -> golden.GoldenSet:
    given, shape = Settings(), shape_of(Settings())
    return calibrated(given, shape, recorded, span, list(wanted), block, lambda *_: None)[0]


def test_a_tape_becomes_a_reference_of_all_its_rows(recorded: Tape) -> None:
    (reference,) = made(recorded).references
    assert (reference.group, reference.provisional) == ("BTC", False)
    assert reference.sources == tuple(f"sim-{letter}" for letter in "abcde")
    assert 680 <= reference.rows <= 700
    assert reference.active.sum() >= 4


def test_the_blocks_that_it_is_read_in_do_not_matter(recorded: Tape) -> None:
    assert made(recorded, block=999).references[0].name == made(recorded).references[0].name


def test_a_span_leaves_out_what_was_not_vouched_for(recorded: Tape) -> None:
    span = (START + 100 * SECOND, START + 650 * SECOND)
    (reference,) = made(recorded, span).references
    assert 545 <= reference.rows <= 551
    assert made(recorded, span, block=777).references[0].name == reference.name
    assert made(recorded, span).made <= span[1]


def test_what_cannot_be_calibrated_is_said(recorded: Tape, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="the tape has no group DOGE; it has BTC"):
        made(recorded, wanted=("DOGE",))
    for span in ((START, START + 200 * SECOND), (START + 10_000 * SECOND, EVER[1])):
        with pytest.raises(DataError, match=r"no golden set of BTC: .* rows, and 480 are needed"):
            made(recorded, span)


def run_settings(folder: Path, **given: str) -> Settings:
    return Settings(data_dir=folder, gating=GatingSettings(**given))


def test_a_run_finds_its_golden_set_and_measures_itself_by_it(
    recorded: Tape, tmp_path: Path
) -> None:
    settings = run_settings(tmp_path)
    catalog = recorded.catalog
    assert perception_of(settings, catalog, "live").gating.groups[0].reference is None
    key = ensure_signing_key(FileSecrets(tmp_path / KEYS))
    golden.save(tmp_path / "live" / "reference.golden", made(recorded), key)
    (group,) = perception_of(settings, catalog, "live").gating.groups
    assert group.reference is not None
    assert not group.reference.provisional
    assert perception_of(settings, catalog, "simulated").gating.groups[0].reference is None
    named = run_settings(tmp_path, reference=str(tmp_path / "live" / "reference.golden"))
    assert perception_of(named, catalog).gating.groups[0].reference is not None


def test_a_golden_set_that_is_not_ours_stops_the_run(recorded: Tape, tmp_path: Path) -> None:
    file = tmp_path / "set.golden"
    golden.save(file, made(recorded), ensure_signing_key(FileSecrets(tmp_path / "elsewhere")))
    settings = run_settings(tmp_path, reference=str(file))
    with pytest.raises(DataError, match="was signed with another key"):
        perception_of(settings, recorded.catalog)
    with pytest.raises(DataError, match="cannot read the golden set"):
        perception_of(run_settings(tmp_path, reference="nowhere"), recorded.catalog)
    golden.save(file, made(recorded), ensure_signing_key(FileSecrets(tmp_path / KEYS)))
    quick = Settings(
        data_dir=tmp_path,
        feed=FeedSettings(cadence_ms=100),
        admission=AdmissionSettings(),
        gating=GatingSettings(reference=str(file)),
    )
    with pytest.raises(DataError, match="calibrate with the same cadence"):
        perception_of(quick, recorded.catalog)
