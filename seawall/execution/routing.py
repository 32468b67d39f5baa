"""Smart routing: which venues take how much of an order, by the price with everything in it.

A pure function of what the venues show. All of one asset, in common ticks and lots; exact: no other
division of the lots costs less by the same prices (held against brute force in the tests).
"""

import math
from collections.abc import Sequence
from itertools import combinations
from typing import NamedTuple

import msgspec

from seawall.core.errors import SettingError
from seawall.core.events import Side

MOST_VENUES = 12  # every choice of venues is looked at: 2 ** 12 of them


class Quote(msgspec.Struct, frozen=True, kw_only=True):
    """What a venue offers.

    Attributes:
        levels: (price, lots) of the side that would be taken from, best first.
        fee_ppm: taker's, millionths of the value.
        delay: seconds until an order arrives there.
        reliability: in (0, 1]: share of orders that it answers as it should.
        smallest: lots of its smallest order.
    """

    venue: str
    levels: tuple[tuple[float, int], ...]
    fee_ppm: int = 0
    delay: float = 0.0
    reliability: float = 1.0
    smallest: int = 1


class Route(NamedTuple):
    """A child for each venue, and what all of them cost.

    Attributes:
        lots: venue → lots, > 0, no less than its smallest order.
        cost: of all of them: paid with everything in it when buying, the negative when selling.
        left: lots that no venue has.
    """

    lots: dict[str, int]
    cost: float
    left: int


class _Offer(NamedTuple):
    """Levels of one venue at their all-in prices, as costs: what a buyer pays, a seller forgoes."""

    venue: str
    smallest: int
    levels: tuple[tuple[float, int], ...]

    @property
    def shown(self) -> int:
        return sum(lots for _, lots in self.levels)


def all_in(quote: Quote, side: Side, price: float, volatility: float, failure_ppm: int) -> float:
    """A level's price with fee, latency and unreliability in it, per lot.

    An order that is under way for d seconds meets a price that has moved by volatility x sqrt(d) on
    the average of the bad half; one that fails must be sent again, at a loss of `failure_ppm`.

    Args:
        volatility: relative, per square root of a second.
    """
    burden = quote.fee_ppm / 1e6
    burden += volatility * math.sqrt(quote.delay / math.tau)
    burden += (1.0 - quote.reliability) * failure_ppm / 1e6
    return price * (1.0 + side.sign * burden)


def route(
    quotes: Sequence[Quote],
    side: Side,
    lots: int,
    *,
    volatility: float = 0.0,
    failure_ppm: int = 1_000,
    limit: float | None = None,
) -> Route:
    """Divide lots over venues so that as many as possible are had, at the least cost of all.

    Args:
        volatility: of the price, relative, per square root of a second.
        failure_ppm: what an order that fails costs, millionths of the value.
        limit: no level beyond this all-in price is taken.

    Raises:
        SettingError: a quote that makes no sense, or more than 12 venues.
    """
    if len(quotes) > MOST_VENUES or lots <= 0:
        raise SettingError(
            f"routing: {len(quotes)} venues and {lots} lots; give 1 to {MOST_VENUES} venues and "
            "lots above 0"
        )
    offers = [_offer(q, side, volatility, failure_ppm, limit) for q in quotes]
    usable = [o for o in offers if o.shown >= o.smallest and o.smallest <= lots]
    # the unconstrained division first: where it breaks no smallest order it is the best there is
    best = _divided(usable, lots, floors=False)
    if all(best.lots.get(o.venue, o.smallest) >= o.smallest for o in usable):
        return best
    found: Route | None = None
    for count in range(1, len(usable) + 1):
        for chosen in combinations(usable, count):
            if sum(o.smallest for o in chosen) > lots:
                continue
            one = _divided(chosen, lots, floors=True)
            if found is None or (one.left, one.cost) < (found.left, found.cost):
                found = one
    return found or Route({}, 0.0, lots)


def _offer(
    quote: Quote, side: Side, volatility: float, failure_ppm: int, limit: float | None
) -> _Offer:
    known = 0.0 < quote.reliability <= 1.0 and quote.delay >= 0.0 and quote.smallest >= 1
    if not known or any(price <= 0 or size < 0 for price, size in quote.levels):
        raise SettingError(f"routing: the quote of {quote.venue} makes no sense; leave it out")
    levels = []
    for price, size in quote.levels:
        whole = all_in(quote, side, price, volatility, failure_ppm)
        if limit is None or side.sign * (whole - limit) <= 0:
            levels.append((side.sign * whole, size))
    return _Offer(quote.venue, quote.smallest, tuple(sorted(levels)))


def _divided(offers: Sequence[_Offer], lots: int, floors: bool) -> Route:
    """Greedy by price, which is exact where costs rise level by level; with `floors` each venue is
    first given its smallest order."""
    given = {offer.venue: offer.smallest if floors else 0 for offer in offers}
    left = lots - sum(given.values())
    cost = sum(_cost(offer, given[offer.venue]) for offer in offers)
    rest = []
    for offer in offers:
        skip = given[offer.venue]
        for price, size in offer.levels:
            used = min(skip, size)
            skip -= used
            rest.append((price, offer.venue, size - used))
    for price, venue, size in sorted(rest):
        took = min(size, left)
        given[venue] += took
        cost += price * took
        left -= took
        if not left:
            break
    return Route({venue: size for venue, size in given.items() if size}, cost, left)


def _cost(offer: _Offer, lots: int) -> float:
    cost = 0.0
    for price, size in offer.levels:
        took = min(size, lots)
        cost += price * took
        lots -= took
    return cost
