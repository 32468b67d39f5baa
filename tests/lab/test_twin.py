"""The core on a panel: the same bits however it is run, and a comparison that can fail."""

import copy

import numpy as np
import pytest

from seawall.core.consensus import LEVEL, PANEL_WIDTH, WIDTH
from seawall.lab import twin
from seawall.lab.twin import MarketPanel, Run, Twin

ROWS = 900
CALM = twin.market(MarketPanel(), ROWS, 5, 0)
FIRST = 10  # reviews, in which the reference is made


def shifted(panel: np.ndarray, by: float, first: int = 600) -> np.ndarray:
    """The first source's features off by a constant, from a frame on."""
    told = panel.copy()
    told[first:, 0, :WIDTH] += by
    return told


@pytest.fixture(scope="module")
def clean() -> Run:
    return twin.run(CALM)


def same(one: Run, other: Run) -> bool:
    names = ("ts", "mean", "bound", "naive", "exposure", "scores", "votes")
    return all(
        np.array_equal(getattr(one, n), getattr(other, n), equal_nan=True) for n in names
    ) and (one.standing, one.decision, one.accused) == (
        other.standing,
        other.decision,
        other.accused,
    )


def test_a_run_says_something_for_each_review_and_each_frame(clean: Run) -> None:
    reviews = ROWS // twin.REVIEW
    assert clean.mean.shape == clean.bound.shape == clean.naive.shape == (reviews, WIDTH)
    assert clean.scores.shape == clean.votes.shape == (reviews, 5)
    assert clean.exposure.shape == (ROWS, 3)
    assert clean.standing[-1] == "certified"
    assert not any(clean.accused)
    assert np.isnan(clean.scores[0]).all()
    assert (clean.scores[-1] < 1.0).all()


def test_twice_the_same_panel_is_twice_the_same_run(clean: Run) -> None:
    assert same(clean, twin.run(CALM))


def test_going_on_from_a_copy_is_the_same_as_from_the_start(clean: Run) -> None:
    run, copies = twin.saved(CALM, 600, 720)
    assert same(run, clean)
    assert sorted(copies) == [600, 660, 720]
    for kept in copies.values():
        assert same(twin.resume(copy.deepcopy(kept), CALM), clean)
    attacked = shifted(CALM, 0.05, 700)
    assert same(twin.resume(copy.deepcopy(copies[660]), attacked), twin.run(attacked))


def test_a_copy_goes_its_own_way() -> None:
    one = Twin(5)
    one.observe(CALM[:60])
    other = copy.deepcopy(one)
    other.observe(CALM[60:120])
    assert (one.frames, other.frames) == (60, 120)
    assert len(one.result().ts) == 1


def test_a_run_does_not_exceed_itself(clean: Run) -> None:
    found = twin.excess(clean, clean, FIRST)
    assert found.shift == found.ratio == found.exposure == found.exposure_ratio == found.naive == 0
    assert 0.0 < found.certificate < 1.0


def test_what_lies_past_its_bound_is_counted_so(clean: Run) -> None:
    bound = clean.bound.copy()
    for part in (0.5, 2.0):
        moved = clean._replace(mean=clean.mean + part * bound)
        assert twin.excess(clean, moved, FIRST).ratio == pytest.approx(part, rel=1e-6)
    one = clean.mean.copy()
    one[-1, 3] += 3.0 * bound[-1, 3]
    found = twin.excess(clean, clean._replace(mean=one), FIRST)
    assert found.axis_ratio == found.ratio == pytest.approx(3.0, rel=1e-6)
    assert found.axis == pytest.approx(3.0 * bound[-1, 3])


def test_exposure_is_held_to_its_bound_and_to_its_interval(clean: Run) -> None:
    exposure = clean.exposure.copy()
    exposure[:, 1] = exposure[:, 0] - 0.1
    exposure[:, 2] = exposure[:, 0] + 0.4
    attacked = clean._replace(exposure=exposure)
    for by, ratio, outside in ((0.2, 0.5, 0.0), (-0.2, 0.5, 0.1), (0.6, 1.5, 0.2)):
        theirs = clean.exposure.copy()
        theirs[:, 0] += by
        found = twin.excess(clean._replace(exposure=theirs), attacked, FIRST)
        assert found.exposure_ratio == pytest.approx(ratio, rel=1e-6)
        assert found.exposure == pytest.approx(abs(by))
        assert found.exposure_bound == pytest.approx(0.4)
        assert found.outside == pytest.approx(outside)


def test_reviews_without_a_certificate_do_not_count(clean: Run) -> None:
    moved = clean._replace(mean=clean.mean + 1.0, standing=["none"] * len(clean.standing))
    assert twin.excess(clean, moved).ratio == 0.0


def test_the_naive_mean_is_moved_by_what_the_model_withstands(clean: Run) -> None:
    found = twin.excess(clean, twin.run(shifted(CALM, 1e3)), FIRST)
    assert found.naive > 100.0
    assert found.ratio < 1.0
    assert found.shift < 0.3


@pytest.mark.parametrize(
    "shape",
    [
        MarketPanel(),
        MarketPanel(tau=0.2, garch=(0.1, 0.88)),
        MarketPanel(tail=5.0, offsets=0.3, outage=0.01),
        MarketPanel(tau=0.3, memory=0.8),
    ],
    ids=["iid", "garch", "outages", "memory"],
)
def test_markets_are_what_they_are_called(shape: MarketPanel) -> None:
    panel = twin.market(shape, 4000, 5, 1)
    assert panel.shape == (4000, 5, PANEL_WIDTH)
    assert np.array_equal(panel, twin.market(shape, 4000, 5, 1), equal_nan=True)
    assert not np.array_equal(panel, twin.market(shape, 4000, 5, 2), equal_nan=True)
    assert np.isnan(panel).any() == (shape.outage > 0.0)
    features = np.arctanh(panel[:, :, 3:7])
    common = np.nanmedian(features, axis=1, keepdims=True)
    residual = float(np.nanstd(features - common - np.nanmean(features - common, axis=0)))
    assert 0.5 * shape.tau < 2.0 * residual < 1.2 * shape.tau
    middle = common[:, 0, 0] - common[:, 0, 0].mean()
    memory = float((middle[1:] * middle[:-1]).mean() / middle.var())
    assert memory == pytest.approx(shape.memory, abs=0.12)
    squares = np.diff(np.nanmedian(panel[:, :, LEVEL], axis=1)) ** 2
    clustered = float(np.corrcoef(squares[1:], squares[:-1])[0, 1])
    assert (clustered > 0.1) == (shape.garch != (0.0, 0.0) or shape.memory > 0.0)
