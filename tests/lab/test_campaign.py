"""The campaign: each result once on disk, resumed to the same bytes, told on one page."""

import re
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from seawall.core.consensus import FEATURES, LEVEL, VOLUME, WIDTH
from seawall.core.errors import DataError, SettingError, StoreError
from seawall.lab import adaptive, campaign, panel_attacks, twin
from seawall.lab.campaign import RESULTS, Campaign, Job, Line
from seawall.lab.campaign_report import page
from seawall.lab.campaign_summary import summary_of

TINY = Campaign(
    rows=720,
    evaluations=3,
    restarts=2,
    kinds=("mean_shift", "silence"),
    shares=(0.3,),
    sizes=(3.0,),
)


def some_jobs() -> list[Job]:
    """Two clean markets, two attacks by one and by two, a restart, an ablation."""
    grid = campaign.grid_jobs(TINY)
    clean = [job for job in grid if not job.kind][:2]
    searches = campaign.search_jobs(TINY)
    agents = [job for job in searches if job.part == "ablation" and job.market == "agents"]
    return [*clean, *(job for job in grid if job.kind), searches[0], agents[0]]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("campaign")
    campaign.run(TINY, folder, some_jobs(), 1)
    return folder


def lines_of(folder: Path) -> list[Line]:
    return list(campaign.read(folder).values())


# --- what is to be done ---


def test_the_whole_grid_is_every_kind_share_and_size_by_one_and_by_two() -> None:
    whole = Campaign()
    cells = [job for job in campaign.grid_jobs(whole) if job.kind]
    assert len(cells) == len(panel_attacks.KINDS) * 2 * 9 * 4
    assert {job.share for job in cells} >= {0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 1.0}
    assert {job.size for job in cells} == {1.0, 3.0, 5.0, 10.0}
    keys = [job.key for job in campaign.grid_jobs(whole) + campaign.search_jobs(whole)]
    assert len(keys) == len(set(keys))


def test_the_search_shares_its_evaluations_among_restarts_markets_and_goals() -> None:
    whole = Campaign(evaluations=1000, restarts=51)
    jobs = [job for job in campaign.search_jobs(whole) if job.part == "search"]
    assert len(jobs) == 51
    assert sum(job.evaluations for job in jobs) == 1000
    assert {job.market for job in jobs} == set(campaign.MARKETS)
    assert {job.kind for job in jobs} == set(adaptive.GOALS)


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"sources": 4}, "--sources"),
        ({"rows": 100}, "--rows"),
        ({"evaluations": 0}, "--evaluations"),
        ({"evaluations": 5, "restarts": 6}, "--restarts"),
    ],
)
def test_settings_out_of_range_are_refused_by_name(settings: dict[str, int], word: str) -> None:
    with pytest.raises(SettingError, match=word):
        Campaign(**settings).check()


# --- on disk ---


def test_each_job_is_one_line(done: Path) -> None:
    lines = (done / RESULTS).read_bytes().splitlines()
    assert len(lines) == len(some_jobs())
    assert {line.job.key for line in lines_of(done)} == {job.key for job in some_jobs()}
    assert {line.campaign for line in lines_of(done)} == {TINY.name}


def test_an_interrupted_campaign_goes_on_to_the_same_bytes(done: Path, tmp_path: Path) -> None:
    whole = (done / RESULTS).read_bytes()
    kept = whole.splitlines(keepends=True)
    torn = b"".join(kept[:-2]) + kept[-2][:40]  # died in the middle of a line
    (tmp_path / RESULTS).write_bytes(torn)
    told: list[tuple[int, int]] = []
    said: list[str] = []
    campaign.run(TINY, tmp_path, some_jobs(), 1, lambda *at: told.append(at), said.append)
    assert (tmp_path / RESULTS).read_bytes() == whole
    count = len(some_jobs())
    assert told == [(count - 2, count), (count - 1, count), (count, count)]
    assert [f"line {count - 1}" in words for words in said] == [True]


def test_a_finished_campaign_does_nothing_more(done: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(campaign, "work", lambda *_: pytest.fail("did it again"))
    before = (done / RESULTS).read_bytes()
    found = campaign.run(TINY, done, some_jobs(), 1)
    assert len(found) == len(some_jobs())
    assert (done / RESULTS).read_bytes() == before


def test_an_interrupt_leaves_what_is_finished(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    results: list[Any] = [{"ratio": 0.1}, {"ratio": 0.2}]

    def work(*_: object) -> dict[str, Any]:
        if not results:
            raise KeyboardInterrupt
        return results.pop()

    monkeypatch.setattr(campaign, "work", work)
    with pytest.raises(KeyboardInterrupt):
        campaign.run(TINY, tmp_path, some_jobs(), 1)
    assert len(lines_of(tmp_path)) == 2


@pytest.mark.slow
def test_two_processes_find_the_same_bytes(done: Path, tmp_path: Path) -> None:
    campaign.run(TINY, tmp_path, some_jobs(), 2)
    assert (tmp_path / RESULTS).read_bytes() == (done / RESULTS).read_bytes()


def test_other_settings_do_not_mix_with_what_is_there(done: Path) -> None:
    other = msgspec.structs.replace(TINY, seed=1)
    with pytest.raises(DataError, match="other settings"):
        campaign.run(other, done, some_jobs(), 1)


def test_a_folder_that_is_not_there_is_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot write"):
        campaign.run(TINY, tmp_path / "missing", some_jobs()[:1], 1)


def test_a_recorded_panel_must_be_the_one_of_the_settings(tmp_path: Path) -> None:
    panel = twin.market(twin.MarketPanel(), 720, 5, 3)
    campaign.save_panel(tmp_path, "recorded", panel)
    asked = msgspec.structs.replace(TINY, panels={"recorded": campaign.digest_of(panel)})
    assert np.array_equal(campaign.panel_of(asked, tmp_path, "recorded"), panel)
    campaign.save_panel(tmp_path, "recorded", panel + 1.0)
    with pytest.raises(DataError, match="has changed"):
        campaign.panel_of(asked, tmp_path, "recorded")
    campaign.panel_path(tmp_path, "recorded").write_bytes(b"nothing")
    with pytest.raises(DataError, match="cannot be read"):
        campaign.panel_of(asked, tmp_path, "recorded")


# --- what was found ---


def test_a_clean_market_has_no_shift_and_rejects_nobody(done: Path) -> None:
    for line in lines_of(done):
        if line.job.part == "grid" and not line.job.kind:
            assert line.result["shift"] == line.result["naive"] == 0.0
            assert line.result["false_rejects"] == 0
            assert line.result["honest_scores"][0] > 0


def test_an_attack_moves_the_plain_mean_more_than_the_model(done: Path) -> None:
    attacked = [line for line in lines_of(done) if line.job.kind == "mean_shift"]
    assert len(attacked) == 2
    for line in attacked:
        assert line.result["naive"] > 2.0 * line.result["shift"] > 0.0
        judged, *reached = line.result["hostile_scores"]
        assert judged >= reached[0] >= reached[-1]


def test_nothing_here_beats_its_certificate(done: Path) -> None:
    assert campaign.beaten(lines_of(done)) == []


def test_what_beats_a_certificate_is_told_unless_too_many_are_hostile() -> None:
    bad = {"ratio": 1.5, "exposure_ratio": None, "knobs": [0.5]}
    lines = [
        Line(campaign="x", job=job, result=bad)
        for job in (
            Job(part="search", market="iid", kind="mean"),
            Job(part="grid", market="iid", kind="mean_shift", hostile=2),
            Job(part="ablation", market="rate", kind="mean"),
        )
    ]
    (found,) = campaign.beaten(lines)
    assert found.key.startswith("search/iid/mean")
    assert found.knobs == (0.5,)
    outside = {"ratio": 0.5, "exposure_ratio": 0.5, "outside": 0.01}
    job = Job(part="search", market="iid", kind="exposure")
    assert campaign.beaten([Line(campaign="x", job=job, result=outside)])


def test_the_page_needs_nothing_else_and_shows_it_all(done: Path) -> None:
    lines = lines_of(done)
    told = page(TINY, lines, summary_of(TINY, lines))
    assert "Nothing beats its certificate" in told
    assert not re.search(r"(src|href)=|https?://|@import|url\(", told)
    for words in ("mean shift", "silence", "agents", "Receiver operating", "the bound", TINY.name):
        assert words in told
    assert told.count("<svg") == told.count("</svg>") > 4
    assert told == page(TINY, lines, summary_of(TINY, lines))


def test_the_page_says_so_where_a_certificate_is_beaten(done: Path) -> None:
    lines = lines_of(done)
    at = next(at for at, line in enumerate(lines) if line.job.part == "search")
    worse = {**lines[at].result, "ratio": 1.25, "worst": 1.25}
    lines[at] = msgspec.structs.replace(lines[at], result=worse)
    told = page(TINY, lines, summary_of(TINY, lines))
    assert "1 attack beats the certificate" in told
    assert lines[at].job.key in told


def test_a_page_of_nothing_is_a_page(tmp_path: Path) -> None:
    assert "Attack campaign" in page(TINY, [], summary_of(TINY, []))


# --- attacks on a panel ---

PANEL = twin.market(twin.MarketPanel(), 900, 5, 0)
SCALE = adaptive.spread(PANEL)


@pytest.mark.parametrize("kind", list(panel_attacks.KINDS))
def test_an_attack_touches_its_share_of_its_own_frames(kind: str) -> None:
    told = panel_attacks.attacked(PANEL, SCALE, kind, 2, 0.3, 3.0, 600)
    differs = ~((told == PANEL) | (np.isnan(told) & np.isnan(PANEL)))
    assert not differs[:600].any()
    assert not differs[:, 2:].any()
    assert 0.1 < differs[600:, :2].any(axis=2).mean() <= 0.5
    again = panel_attacks.attacked(PANEL, SCALE, kind, 2, 0.3, 3.0, 600)
    assert np.array_equal(told, again, equal_nan=True)
    bounded = told[:, :, panel_attacks.BOUNDED]
    assert (np.abs(bounded[np.isfinite(bounded)]) <= 1.0).all()
    none = panel_attacks.attacked(PANEL, SCALE, kind, 2, 0.0, 3.0, 600)
    assert np.array_equal(none, PANEL, equal_nan=True)


def everywhere(kind: str, size: float, hostile: int = 1) -> np.ndarray:
    return panel_attacks.attacked(PANEL, SCALE, kind, hostile, 1.0, size, 600)


def test_attacks_do_what_they_are_called() -> None:
    micro, flow = FEATURES.index("micro"), FEATURES.index("flow")
    deep = FEATURES.index("imbalance_5")
    own = PANEL[600:, 0]
    shift = everywhere("mean_shift", 3.0)[600:, 0] - own
    assert shift[:, micro] == pytest.approx(3.0 * SCALE[micro])
    assert shift[:, LEVEL] == pytest.approx(3.0 * SCALE[LEVEL])
    drift = everywhere("slow_drift", 3.0)[600:, 0] - own
    assert drift[-1, micro] == pytest.approx(6.0 * SCALE[micro])
    assert (np.diff(drift[:, micro]) > 0.0).all()
    together = everywhere("colluding_sources", 3.0, 2)[600:]
    assert np.array_equal(together[:, 0, : WIDTH + 1], together[:, 1, : WIDTH + 1])
    washed = everywhere("wash_trading", 3.0)[600:, 0]
    assert washed[:, VOLUME] == pytest.approx(4.0 * own[:, VOLUME])
    assert (np.abs(washed[:, flow]) < np.abs(own[:, flow])).all()
    turned = everywhere("label_flipping", 1.0)[600:, 0]
    assert turned[:, flow] == pytest.approx(-own[:, flow])
    late = everywhere("time_skew", 3.0)[600:, 0]
    assert np.array_equal(late[3:], own[:-3])
    layered = everywhere("layering", 3.0)[600:, 0] != own
    assert set(np.flatnonzero(layered.any(axis=0))) == {deep}
    assert np.isnan(everywhere("silence", 1.0)[600:, 0]).all()
