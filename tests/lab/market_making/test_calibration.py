import numpy as np
import pytest

from seawall.core.clock import SECOND
from seawall.core.errors import DataError
from seawall.core.randomness import generator
from seawall.lab.market_making.calibration import calibrate
from seawall.venues.simulated.exact import feed_of
from tests.venues.simulated.exact_markets import catalog, tape

LOOK = SECOND // 10
MID = 10_000


def market(seconds, k=0.2, rate=4.0, seed=0):
    """A still book, and orders that go further than delta from its mid `rate` e^(-k delta) a
    second and side; also a book that shows how far it can go."""
    draws = generator(seed, "calibration")
    told = [(SECOND, "bid", MID - 1, 5), (SECOND, "ask", MID + 1, 5)]
    for side, sign in (("bought", 1), ("sold", -1)):
        count = draws.poisson(rate * seconds)
        times = SECOND + 1 + (draws.random(count) * seconds * SECOND).astype(np.int64)
        for ts, distance in zip(times, draws.exponential(1 / k, count), strict=True):
            if distance >= 1:
                told.append((int(ts), side, MID + sign * int(distance), 3))
    return sorted(told, key=lambda row: row[0])


def test_a_market_made_by_the_formula_gives_its_numbers_back():
    feed = feed_of(tape(*market(3000)), catalog())
    fitted = calibrate(feed, feed.end, LOOK)
    assert fitted.market.k == pytest.approx(0.2, rel=0.05)
    assert fitted.market.rate == pytest.approx(4.0, rel=0.05)
    assert fitted.market.sigma == 0
    assert fitted.fit > 0.99
    assert fitted.trade_lots == 3
    expected = 4 * np.exp(-0.2 * fitted.distances)
    near = fitted.distances < 10
    np.testing.assert_allclose(fitted.intensity[near], expected[near], rtol=0.1)


def test_distances_are_taken_from_the_mid_of_the_look_before():
    """By hand: a mid that moves by 40 ticks before each look; buyers go 1, 2 or 3 ticks from it."""
    told, looks = [], 200
    for k in range(looks):
        mid, before = MID + 40 * (k % 2), MID + 40 * ((k - 1) % 2)
        ts = SECOND + k * LOOK
        told += [(ts, side, before + away, 0) for side, away in (("bid", -1), ("ask", 1)) if k]
        told += [(ts, "bid", mid - 1, 5), (ts, "ask", mid + 1, 5)]
        told.append((ts + LOOK // 2, "bought", mid + 1 + (k % 5 > 1) + (k % 5 > 3), 3))
    feed = feed_of(tape(*told), catalog())
    fitted = calibrate(feed, SECOND + looks * LOOK, LOOK)
    assert fitted.distances.tolist() == [1, 2, 3]
    # of 400 looks and sides 199 saw a trade after them within the tape, 2 or more in 119 of them
    hits = -np.expm1(-fitted.intensity * LOOK / SECOND) * 2 * (looks - 1)
    assert np.rint(hits).tolist() == [199, 119, 39]


def test_sigma_is_that_of_a_walk():
    draws = generator(0, "walk")
    told, mid = market(400), MID
    told = [row for row in told if row[1] in ("bought", "sold")]
    told += [(SECOND, "bid", mid - 1, 5), (SECOND, "ask", mid + 1, 5)]
    for k in range(400):
        move = 6 if draws.random() < 0.5 else -6
        ts = (k + 1) * SECOND + SECOND // 2
        told += [(ts, "bid", mid - 1, 0), (ts, "ask", mid + 1, 0)]
        mid += move
        told += [(ts, "bid", mid - 1, 5), (ts, "ask", mid + 1, 5)]
    told.sort(key=lambda row: row[0])
    feed = feed_of(tape(*told), catalog())
    assert calibrate(feed, feed.end, LOOK).market.sigma == pytest.approx(6, rel=0.01)


def test_nothing_after_the_moment_counts():
    told = market(300)
    until = 200 * SECOND
    before = [row for row in told if row[0] <= until]
    wild = [(ts, what, price + 500, 9 * lots) for ts, what, price, lots in told if ts > until]
    fits = [
        calibrate(feed_of(tape(*rows), catalog()), until, LOOK)
        for rows in (told, before, before + wild)
    ]
    for other in fits[1:]:
        assert other.market == fits[0].market
        assert other.intensity.tobytes() == fits[0].intensity.tobytes()
        assert other.trade_lots == fits[0].trade_lots


def test_too_little_is_said_so():
    feed = feed_of(tape(*market(1)), catalog())
    with pytest.raises(DataError, match="of the 3 distances that k and A need were reached"):
        calibrate(feed, feed.end, LOOK)
