"""No attack by one of five sources moves the model further than the certificate says."""

import math
from random import Random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core.consensus import LEVEL, WIDTH
from seawall.gating.certificate import Bound, Standing, standing
from seawall.gating.corridor import Bounded, corridor, extent
from seawall.gating.market import judge
from seawall.lab import twin
from seawall.market.agreement import agree_on

HOUR = 3600
FROM = 600  # the reference is made before the attack begins
MARKETS = {
    "iid": twin.MarketPanel(),
    "garch": twin.MarketPanel(tau=0.2, garch=(0.1, 0.88)),
    "tails": twin.MarketPanel(tau=0.2, tail=5.0, offsets=0.3, outage=0.001),
    "memory": twin.MarketPanel(tau=0.3, memory=0.8),
    "apart": twin.MarketPanel(tau=0.8),
}


@pytest.fixture(scope="module")
def clean():
    """Name → (honest panel, the run on it)."""
    panels = {name: twin.market(shape, HOUR, 5, 0) for name, shape in MARKETS.items()}
    return {name: (panel, twin.run(panel)) for name, panel in panels.items()}


def lie(panel, size, pattern, features):
    """The panel with source 0 lying from FROM on: offset by `size` spreads in a pattern."""
    told = panel.copy()
    scale = np.nanstd(panel[:, 0, :WIDTH], axis=0)
    time = np.arange(len(panel) - FROM)
    sign = {
        "constant": np.ones(len(time)),
        "flipping": np.where(time // 300 % 2 == 0, 1.0, -1.0),
        "growing": time / len(time),
        "rare": (time % 10 == 0).astype(float),
    }[pattern]
    for k in features:
        told[FROM:, 0, k] = panel[FROM:, 0, k] + size * scale[k] * sign
    told[FROM:, 0, LEVEL] = panel[FROM:, 0, LEVEL] + min(size * 1e-4, 0.5) * sign
    return told


@pytest.mark.parametrize("name", MARKETS)
@pytest.mark.parametrize("pattern", ["constant", "flipping", "growing", "rare"])
@pytest.mark.parametrize("size", [0.3, 3.0, 1e6])
def test_no_shift_exceeds_the_certificate(clean, name, pattern, size):
    panel, honest = clean[name]
    attacked = twin.run(lie(panel, size, pattern, range(WIDTH)))
    found = twin.excess(honest, attacked, FROM // twin.REVIEW)
    assert found.ratio <= 1.0 + 1e-9
    assert found.exposure_ratio <= 1.0 + 1e-9


@pytest.mark.parametrize("name", MARKETS)
def test_silence_does_not_exceed_it_either(clean, name):
    panel, honest = clean[name]
    told = panel.copy()
    told[FROM:, 0] = np.nan
    told[FROM + 900 : FROM + 1500, 0] = panel[FROM + 900 : FROM + 1500, 0]
    found = twin.excess(honest, twin.run(told), FROM // twin.REVIEW)
    assert found.ratio <= 1.0 + 1e-9
    assert found.exposure_ratio <= 1.0 + 1e-9


def test_sources_that_agree_to_a_tenth_give_a_tight_certificate(clean):
    _, honest = clean["iid"]
    assert honest.standing[-1] == Standing.CERTIFIED
    assert honest.bound[-1].max() <= 0.12


@pytest.mark.parametrize("name", ["iid", "garch", "tails"])
def test_where_sources_agree_to_a_fifth_little_of_the_exposure_is_the_attackers(clean, name):
    """Once a source is excluded its missing vote counts as well: the bound is wider then."""
    wanted, low, high = clean[name][1].exposure[2 * FROM :].T
    assert np.isfinite(wanted).all()
    assert np.maximum(high - wanted, wanted - low).max() <= 0.25


def test_a_naive_mean_is_moved_many_times_further(clean):
    panel, honest = clean["iid"]
    attacked = twin.run(lie(panel, 5.0, "constant", range(WIDTH)))
    found = twin.excess(honest, attacked, FROM // twin.REVIEW)
    naive = np.linalg.norm(np.subtract(attacked.group.figures.naive, honest.group.figures.naive))
    assert naive >= 5.0 * found.shift


def test_two_of_five_are_more_than_is_promised(clean):
    """With two hostile sources the bound may be broken: the test sees that it can see."""
    panel, honest = clean["apart"]
    told = panel.copy()
    others = np.sort(panel[FROM:, 2:, :WIDTH], axis=1)
    told[FROM:, 0, :WIDTH] = others[:, 2]
    told[FROM:, 1, :WIDTH] = others[:, 2]
    found = twin.excess(honest, twin.run(told), FROM // twin.REVIEW)
    assert found.axis > 0.1


@settings(max_examples=300, deadline=None)
@given(st.integers(3, 9), st.integers(0, 2), st.integers(0, 2), st.integers(0, 2**32))
def test_the_clean_median_lies_between_the_order_statistics(sources, hostile, dropped, seed):
    """Brute force: whatever the hostile say, and whoever was dropped, silent or not."""
    random = Random(seed)
    hostile, dropped = min(hostile, sources), min(dropped, sources)
    values = [random.gauss(0.0, 1.0) for _ in range(sources)]
    clean = np.array(values)
    order = list(range(sources))
    random.shuffle(order)
    liars, lost = order[:hostile], order[hostile : hostile + dropped]
    told = [
        random.choice([random.gauss(0.0, 5.0), 1e6, -1e6, values[i]]) if i in liars else values[i]
        for i in range(sources)
        if i not in lost and not (i in liars and random.random() < 0.3)
    ]
    scratch = np.array([*told, *([0.0] * (sources - len(told)))])
    middle, low, high = agree_on(scratch, len(told), dropped, hostile)
    if told:
        assert math.isfinite(middle)
    assert low <= np.median(clean) <= high


@pytest.mark.parametrize(
    ("sources", "excluded", "past", "worth"),
    [
        (5, 0, 0.1, Standing.CERTIFIED),
        (5, 1, 0.1, Standing.SOUND),
        (9, 1, 0.1, Standing.CERTIFIED),
        (4, 0, 0.1, Standing.NONE),
        (5, 2, 0.1, Standing.NONE),
        (5, 0, 1.5, Standing.VACUOUS),
        (5, 0, math.inf, Standing.VACUOUS),
    ],
)
def test_what_a_bound_is_worth(sources, excluded, past, worth):
    assert standing(sources, 1, excluded, past) is worth


def steps(random, count):
    """Locations of both runs, apart by at most the half-widths."""
    clean = random.normal(0.0, 0.3, (count, 2))
    half = random.uniform(0.0, 0.2, (count, 2))
    return clean, clean + half * random.uniform(-1.0, 1.0, (count, 2)), half


@pytest.mark.parametrize("seed", range(20))
def test_the_recursion_holds_whatever_each_run_learns(seed):
    """Gates that decide apart, in any pattern, and rollbacks of ours."""
    random = np.random.default_rng(seed)
    clean, ours, half = steps(random, 200)
    rate = 0.05
    mean, theirs = np.zeros(2), np.zeros(2)
    bound = Bound(np.zeros(2))
    for c, o, h in zip(clean, ours, half, strict=True):
        learned, clean_learns = random.random(2) < 0.6
        alike = learned == clean_learns
        bound.advance(rate, o, h, np.abs(o - mean), bool(learned), bool(alike))
        mean = (1 - rate) * mean + rate * o if learned else mean
        theirs = (1 - rate) * theirs + rate * c if clean_learns else theirs
        if random.random() < 0.02:
            bound.roll_back(mean - 0.5 * mean)
            mean = 0.5 * mean
        bound.hold(mean, np.full(2, np.inf))
        assert (np.abs(mean - theirs) <= bound.axes + 1e-12).all()


@settings(max_examples=200, deadline=None)
@given(st.integers(0, 10_000))
def test_figures_of_the_clean_run_lie_in_their_intervals(seed):
    """Any location and scatter within the bounds: D, the spectrum and KL stay in their ends."""
    random = np.random.default_rng(seed)
    width = 4
    active = np.array([True, True, False, True])
    base = random.normal(size=(width, 60))
    reference = np.cov(base)
    window = np.cov(base + 0.2 * random.normal(size=base.shape))
    for matrix in (reference, window):
        matrix[2] = matrix[:, 2] = 0.0
        matrix[2, 2] = 1.0
    reach, reach_r = random.uniform(0, 0.1, width), random.uniform(0, 0.05, width)
    bound, bound_r = (np.full((width, width), s) for s in random.uniform(0, 0.03, 2))
    ridge = random.uniform(0.0, 0.3, width)
    ours = Bounded(random.normal(0, 0.2, width), reach, window, bound)
    theirs = Bounded(random.normal(0, 0.2, width), reach_r, reference, bound_r)
    _, least, greatest = extent(ours, theirs, active, ridge)
    for _ in range(5):
        moved = symmetric(random, bound)
        moved_r = symmetric(random, bound_r)
        none, zeros = np.zeros((width, width)), np.zeros(width)
        point = extent(
            Bounded(ours.mean + reach * random.uniform(-1, 1, width), zeros, window + moved, none),
            Bounded(
                theirs.mean + reach_r * random.uniform(-1, 1, width),
                zeros,
                reference + moved_r,
                none,
            ),
            active,
            ridge,
        )[0].triple
        for low, value, high in zip(least, point, greatest, strict=True):
            assert low - 1e-9 <= value <= high + 1e-9


def symmetric(random, bound):
    moved = bound * random.uniform(-1, 1, bound.shape)
    return np.tril(moved) + np.tril(moved, -1).T


def test_a_gate_whose_answer_hangs_on_the_attacker_says_so():
    width = 2
    active, ridge = np.ones(width, bool), np.zeros(width)
    none = np.zeros((width, width))
    still = Bounded(np.zeros(width), np.zeros(width), np.eye(width), none)
    moved = Bounded(np.array([0.5, 0.0]), np.array([0.2, 0.2]), np.eye(width), none)
    near = judge(moved, still, (0.6, 1.0, 1.0), active, ridge)
    assert near.passes
    assert not near.alike
    far = judge(moved, still, (2.0, 1.0, 1.0), active, ridge)
    assert far.passes
    assert far.alike
    out = judge(moved, still, (0.1, 1.0, 1.0), active, ridge)
    assert not out.passes
    assert out.alike
    assert "location" in out.reason


def test_the_corridor_is_that_of_two_gaussians():
    """Against the closed form of SciPy's normal entropy by quadrature-free algebra."""
    random = np.random.default_rng(3)
    a, b = (np.cov(random.normal(size=(3, 50))) for _ in range(2))
    p, q = random.normal(size=3), random.normal(size=3)
    found = corridor(p, a, q, b, np.ones(3, bool))

    def shrunk(m):
        return 0.3 * np.diag(np.diag(m)) + 0.7 * m

    a, b = shrunk(a), shrunk(b)
    inverse = np.linalg.inv(b)
    away = p - q
    kl = 0.5 * (
        np.trace(inverse @ a)
        + away @ inverse @ away
        - 3
        + np.log(np.linalg.det(b) / np.linalg.det(a))
    )
    assert found.divergence == pytest.approx(kl)
    assert found.distance == pytest.approx(math.sqrt(away @ inverse @ away))
