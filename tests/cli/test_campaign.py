"""`seawall attack campaign`, as a user types it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

TINY = ("--rows", "720", "--evaluations", "2", "--restarts", "2", "--workers", "1")


def seawall(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """`seawall attack campaign` with these words, in a folder."""
    command = [sys.executable, "-m", "seawall", "attack", "campaign", *words]
    return subprocess.run(
        command, check=False, cwd=folder, capture_output=True, text=True, timeout=600
    )


@pytest.mark.slow
def test_a_campaign_says_what_it_found_and_goes_on_where_it_stopped(tmp_path: Path) -> None:
    first = seawall(tmp_path, "--out", "one", "--adaptive-only", *TINY)
    assert first.returncode == 0, first.stderr
    assert "nothing beats a certificate" in first.stdout
    assert "without consensus" in first.stdout
    assert "campaign: 14 of 14 jobs" in first.stderr
    told = (tmp_path / "one" / "report.html").read_text()
    assert "Each defence carries weight" in told
    results = tmp_path / "one" / "results.jsonl"
    whole = results.read_bytes()
    results.write_bytes(b"".join(whole.splitlines(keepends=True)[:-1]))
    again = seawall(tmp_path, "--out", "one", "--adaptive-only", "--resume", "--json", *TINY)
    assert again.returncode == 0, again.stderr
    assert results.read_bytes() == whole
    found = json.loads(again.stdout)
    assert found["evaluations"] == 2
    assert len(found["ablations"]) == 6
    assert found["beaten"] == []


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--adaptive-only", "--grid-only"), "exclude each other"),
        (("--workers", "0"), "--workers"),
        (("--sources", "4"), "--sources"),
        (("--rows", "10"), "--rows"),
        (("--tape", "nowhere", "--sources", "6"), "nowhere"),
    ],
)
def test_a_mistake_is_one_line(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    done = seawall(tmp_path, *words)
    assert done.returncode in (2, 3)
    assert says in done.stderr
    assert done.stderr.count("\n") == 1


def test_a_folder_with_a_campaign_is_not_gone_on_with_unasked(tmp_path: Path) -> None:
    (tmp_path / "campaign").mkdir()
    (tmp_path / "campaign" / "results.jsonl").write_text("")
    done = seawall(tmp_path)
    assert done.returncode == 2
    assert "--resume" in done.stderr
