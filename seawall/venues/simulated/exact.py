"""The exact venue for research: one recorded market, two clocks, a strategy compiled into the loop.

The venue of the whole node (`engine`) has one book on receive time and answers Python. This one
has the exchange's book on the exchange's clock and ours on our own, so that a quote is judged
where it arrives and not where it was decided; and it runs at tens of millions of rows a second.
"""

from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.errors import DataError, SettingError
from seawall.core.events import EventFlag, EventKind, Raw, Side
from seawall.core.instruments import PRODUCT_LIMIT, Catalog, Instrument, Kind
from seawall.core.money import PPM
from seawall.core.order_book import new_ladders
from seawall.core.randomness import generator
from seawall.venues.simulated import exact_kernels, exact_orders
from seawall.venues.simulated import exact_matching_kernels as matching
from seawall.venues.simulated import exact_state as layout
from seawall.venues.simulated import queue_kernels as queues
from seawall.venues.simulated.exact_state import Venue

RULES = {"shared": layout.SHARED, "partial": layout.PARTIAL, "whole": layout.WHOLE}
MODELS = {
    "risk-averse": queues.RISK_AVERSE,
    "probabilistic": queues.PROBABILISTIC,
    "order-by-order": queues.ORDER_BY_ORDER,
}
FAR = 4  # no order is priced further from the market than by this factor
_LEVELS = (layout.BID_LEVEL, layout.ASK_LEVEL, layout.BID_SET, layout.ASK_SET)
_TAKEN = (
    EventKind.DEPTH,
    EventKind.SNAPSHOT,
    EventKind.TRADE,
    EventKind.DOWN,
    EventKind.ADD,
    EventKind.MODIFY,
    EventKind.CANCEL,
    EventKind.EXECUTE,
)


class Feed(NamedTuple):
    """One recorded book and its trades, in the order of each clock.

    Attributes:
        instrument: what is traded.
        rows: (2, rows) of layout.ROW, in the order of the exchange's clock and of ours.
        prices: (levels,) ascending ticks; level L has the price at L - 1.
        touch: (rows, 2) best bid and ask levels of our book after each of our rows, 0 for none:
            no run changes it, so it is made once.
    """

    instrument: Instrument
    rows: NDArray[Any]
    prices: NDArray[np.int64]
    touch: NDArray[np.int32]

    @property
    def start(self) -> int:
        """The earlier of the first exchange and the first receive time, ns UTC."""
        return int(self.rows["ts"][:, 0].min())

    @property
    def end(self) -> int:
        """The later of the last ones."""
        return int(self.rows["ts"][:, -1].max())

    @property
    def order_by_order(self) -> bool:
        """Whether it tells each order, so that places in the queue are known."""
        what = self.rows[layout.EXCHANGE]["code"] & ((1 << layout.WHAT_BITS) - 1)
        return bool((what >= layout.LEFT_BID).any())


class ExactShape(msgspec.Struct, frozen=True, kw_only=True):
    """What kind of exchange it is.

    Attributes:
        maker_fee_ppm, taker_fee_ppm: millionths of a trade's value; below 0 is a rebate.
        rule: ``shared``: no lot is given twice, fills are partial, our orders never meet one
            another. ``partial``: every order sees all of each trade and level, fills are partial.
            ``whole``: the same with whole fills, as hftbacktest without partial fills has it.
        queue: ``risk-averse``, ``probabilistic`` or, on feeds that tell each order,
            ``order-by-order``. queue_power: of the second, 1 to 64.
        most_fills: of one run.
        mark_every_ns: cadence of the equity curve.
    """

    maker_fee_ppm: int = 200
    taker_fee_ppm: int = 500
    rule: str = "shared"
    queue: str = "risk-averse"
    queue_power: int = 3
    most_fills: int = 1 << 20
    mark_every_ns: int = 1_000_000_000

    def check(self) -> "ExactShape":
        """Self; SettingError names the first value that is out of its range."""
        for name, low, high in (
            ("maker_fee_ppm", -PPM, PPM),
            ("taker_fee_ppm", -PPM, PPM),
            ("queue_power", 1, 64),
            ("most_fills", 1, 1 << 28),
            ("mark_every_ns", 1, 1 << 62),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise SettingError(f"exact venue: {name} is {value}; allowed is {low} to {high}")
        for name, known in (("rule", RULES), ("queue", MODELS)):
            value = getattr(self, name)
            if value not in known:
                raise SettingError(
                    f"exact venue: {name} is {value!r}; allowed is {', '.join(known)}"
                )
        return self


class Latency(NamedTuple):
    """How long requests and responses are on their way.

    Attributes:
        entry, response: (draws,) ns; the n-th request and the n-th order take the n-th, and so on
            from the start again.
        entry_of_feed, response_of_feed: ppm of what the tape's rows take at that time, on top.
    """

    entry: NDArray[np.int64]
    response: NDArray[np.int64]
    entry_of_feed: int = 0
    response_of_feed: int = 0

    def check(self) -> "Latency":
        """Self; SettingError where something would arrive before it was sent."""
        least = min(int(self.entry.min()), int(self.response.min()))
        share = min(self.entry_of_feed, self.response_of_feed)
        if least < 0 or share < 0:
            raise SettingError("exact venue: a latency is below 0; give 0 or more")
        if max(self.entry_of_feed, self.response_of_feed) > 1000 * PPM:
            raise SettingError("exact venue: more than 1000 times the feed's latency; give less")
        return self


def constant(entry_ns: int, response_ns: int) -> Latency:
    """The same for all."""
    return Latency(np.array([entry_ns]), np.array([response_ns]))


def drawn(entry_ns: int, response_ns: int, sigma: float, seed: int = 0) -> Latency:
    """Log-normal with these medians; `sigma` is the standard deviation of the logarithm.

    One draw for each request and one for all responses of an order. Neither way is reordered.
    """
    ways = []
    for way, median in (("entry", entry_ns), ("response", response_ns)):
        draws = generator(seed, f"exact.{way}").standard_normal(layout.DRAWS)
        ways.append(np.rint(median * np.exp(sigma * draws)).astype(np.int64))
    return Latency(*ways)


def sampled(entry: float = 1.0, response: float = 1.0) -> Latency:
    """As long as the tape's own rows are under way at that time, times a factor.

    A request takes `entry` times what the last row took that had reached us when it was sent; a
    response `response` times what the last row takes that had left the exchange by then.
    """
    nothing = np.zeros(1, np.int64)
    return Latency(nothing, nothing, round(entry * PPM), round(response * PPM))


def feed_of(
    rows: Raw | NDArray[Any], catalog: Catalog, name: str = "", base_latency_ns: int | None = None
) -> Feed:
    """Depth and trades of one instrument, made ready for any number of runs.

    Of a book order by order the levels are those that follow from the orders, the trades those
    that executed them; where rows carry no exchange time its clock is taken to be ours.

    Args:
        rows: a tape, in its order. catalog: of the tape.
        name: of the instrument, needed where there are several; its primary book is taken.
        base_latency_ns: our clock is shifted by one constant so that the fastest row took this
            long; None leaves the clocks as they are.

    Raises:
        DataError: no such instrument, no depth rows, or rows received before they were sent.
    """
    instrument, wanted = _chosen(rows, catalog, name)
    by_order = bool((wanted["kind"] >= EventKind.ADD).any())
    joined = np.zeros(0, np.int64)
    if by_order:
        codes, wanted, joined = exact_orders.told(wanted)
    else:
        codes = _codes(wanted)
    exchange_ts = wanted["exch_ts"]
    if by_order and exchange_ts.min() <= 0:
        exchange_ts = wanted["recv_ts"]
    exchange_ts = np.where(codes == layout.VOID, np.maximum.accumulate(exchange_ts), exchange_ts)
    latency = wanted["recv_ts"] - exchange_ts
    if base_latency_ns is not None:
        latency += base_latency_ns - latency.min()
    elif latency.min() < 0:
        raise DataError(
            f"{instrument.name}: the fastest row came {-int(latency.min())} ns before it was sent, "
            "so the clocks differ; give a base latency to set our clock by"
        )
    if not by_order:
        codes, wanted, exchange_ts, latency = _completed(codes, wanted, exchange_ts, latency)
    named = np.isin(codes, _LEVELS)
    prices, rank = np.unique(wanted["price"][named], return_inverse=True)
    made = np.zeros((2, len(wanted)), layout.ROW)
    ours = made[layout.OURS]
    ours["price"], ours["size"], ours["code"] = wanted["price"], wanted["size"], codes
    ours["code"][named] += (rank + 1).astype(np.int32) << layout.WHAT_BITS
    ours["lag"] = np.minimum(latency // 1000, np.iinfo(np.int32).max)
    order = np.argsort(exchange_ts, kind="stable")
    if by_order:
        exact_orders.number(ours["code"], joined, order)
    made[layout.EXCHANGE] = ours[order]
    made[layout.EXCHANGE]["ts"] = exchange_ts[order]
    if by_order:
        exact_orders.hear_as_trades(ours["code"])
    ours["ts"] = exchange_ts + latency
    ladders = new_ladders(1)
    return Feed(instrument, made, prices, exact_kernels.touches(ladders[0], ours))


def _chosen(rows: NDArray[Any], catalog: Catalog, name: str) -> tuple[Instrument, NDArray[Any]]:
    """The instrument, and those rows of its primary book that say something here."""
    if not name and len(catalog.primary) == 1:
        name = next(iter(catalog.primary))
    if name not in catalog.primary:
        raise DataError(
            f"the tape has no book of {name or 'one instrument alone'}; name one of "
            f"{', '.join(catalog.primary)}"
        )
    index, source = catalog.books[catalog.primary[name]]
    kept = (rows["source"] == source) & np.isin(rows["kind"], _TAKEN)
    kept &= (rows["instrument"] == index) | (rows["kind"] == EventKind.DOWN)
    level = rows["kind"] == EventKind.DEPTH
    kept &= ~level | ((rows["side"] <= Side.SELL) & (rows["price"] > 0) & (rows["size"] >= 0))
    wanted = rows[kept]
    if not np.isin(wanted["kind"], (EventKind.DEPTH, EventKind.ADD)).any():
        raise DataError(
            f"{name}: the tape has no depth rows of it; the exact venue needs a book of levels, "
            "run it with `seawall backtest` instead"
        )
    return catalog.instruments[index], wanted


def _codes(rows: NDArray[Any]) -> NDArray[np.int32]:
    """What each row says, as layout has it."""
    starts = np.flatnonzero(rows["flags"] & EventFlag.BEGIN)
    message = np.maximum(np.searchsorted(starts, np.arange(len(rows)), side="right") - 1, 0)
    within = (rows["kind"][starts] == EventKind.SNAPSHOT)[message] if len(starts) else False
    kind, side = rows["kind"], rows["side"].astype(np.int32)
    codes = np.where(within, layout.BID_SET, layout.BID_LEVEL) + side
    codes[kind == EventKind.TRADE] = layout.BOUGHT + side[kind == EventKind.TRADE]
    codes[kind == EventKind.SNAPSHOT] = layout.CLEAR
    codes[kind == EventKind.DOWN] = layout.VOID
    return codes.astype(np.int32)


def _completed(
    codes: NDArray[np.int32], rows: NDArray[Any], *along: NDArray[np.int64]
) -> tuple[NDArray[Any], ...]:
    """All of them with a COMPLETE behind the last row of each snapshot."""
    within = np.isin(codes, (layout.CLEAR, layout.BID_SET, layout.ASK_SET))
    last = np.flatnonzero(within & ((rows["flags"] & EventFlag.END) > 0))
    longer = np.insert(codes, last + 1, np.int32(layout.COMPLETE))
    return longer, *(np.insert(one, last + 1, one[last]) for one in (rows, *along))


def venue_of(feed: Feed, shape: ExactShape, latency: Latency) -> Venue:
    """A fresh venue at the start of a feed; each run needs its own.

    Raises:
        SettingError: a value of the shape is out of its range, or its queue needs another feed.
    """
    shape.check()
    latency.check()
    if shape.queue == "order-by-order" and not feed.order_by_order:
        raise SettingError(
            f"exact venue: {feed.instrument.name} is a book of levels, in which nobody knows his "
            "place; use the queue risk-averse or probabilistic"
        )
    unit = feed.instrument.cash_unit
    inverse = feed.instrument.kind is Kind.INVERSE
    furthest = FAR * int(feed.prices[-1])
    desks = np.zeros(1, layout.DESK)
    desk = desks[0]
    desk["rule"] = RULES[shape.rule]
    desk["maker_ppm"], desk["taker_ppm"] = shape.maker_fee_ppm, shape.taker_fee_ppm
    desk["inverse"] = inverse
    desk["unit"], desk["unit_parts"] = unit.numerator, unit.denominator
    desk["most_lots"] = PRODUCT_LIMIT // (unit.numerator * (2 if inverse else furthest))
    desk["most_price"] = furthest
    desk["model"]["kind"], desk["model"]["power"] = MODELS[shape.queue], shape.queue_power
    for way in ("entry", "response"):
        desk[way][:] = np.resize(getattr(latency, way), layout.DRAWS)
        desk[f"{way}_of_feed"] = getattr(latency, f"{way}_of_feed")
    desk["now"] = desk["next_mark"] = feed.start
    desk["mark_every"] = shape.mark_every_ns
    desk["free"], desk["free_ring"] = layout.SLOTS, np.arange(layout.SLOTS)
    matching.open_desk(desk)
    return Venue(
        desk=desk,
        rows=feed.rows,
        prices=feed.prices,
        touch=feed.touch,
        fills=np.zeros(shape.most_fills, layout.EXECUTION),
        marks=np.zeros((feed.end - feed.start) // shape.mark_every_ns + 2, layout.MARK),
    )
