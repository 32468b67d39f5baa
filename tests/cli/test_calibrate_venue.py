"""`seawall calibrate venue`: a table, a file for backtests, and one line where it cannot."""

import json
from pathlib import Path

import pytest

from seawall.cli import main
from seawall.core.settings import load
from tests.lab.test_venue_fit import TRUE, lived


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str, str]:
    with pytest.raises(SystemExit) as left:
        main(["calibrate", "venue", *arguments])
    out, err = capsys.readouterr()
    return left.value.code, out, err


def test_the_terms_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = lived(tmp_path / "run", TRUE)
    code, out, _ = said(capsys, str(run), "--out", str(tmp_path / "terms.toml"))
    assert code == 0
    assert "maker 120 ppm, taker 450 ppm" in out
    assert "queue: probabilistic 3" in out
    assert load(tmp_path / "terms.toml", {}, {}).venue.taker_fee_ppm == 450
    code, out, _ = said(capsys, str(run), "--json")
    found = json.loads(out)
    assert found["fees"]["tiers"] == [{"volume": 0, "maker_fee_ppm": 120, "taker_fee_ppm": 450}]


def test_what_is_no_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = said(capsys, str(tmp_path))
    assert (code, err.count("\n")) == (5, 1)
    assert "journal.sqlite" in err
