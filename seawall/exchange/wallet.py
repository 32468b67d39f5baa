"""One account's half of the exchange: its engine, and its orders as the protocol knows them.

The engine's log is the only truth. What is held here is a fold over it, the same at a start as
while it runs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from seawall.core.clock import MILLISECOND
from seawall.core.errors import OrderRefusedError, StoreError
from seawall.core.events import Raw, empty
from seawall.core.instruments import Catalog, Instrument
from seawall.core.orders import Fill, Funding, Order, OrderReport, OrderState, Report
from seawall.exchange import refusals
from seawall.exchange.listing import MOST_ORDERS, MOST_STOPS, Listing, Market
from seawall.exchange.orders import Execution, Record, Wish, venue_order, wish_of
from seawall.venues.simulated import funds
from seawall.venues.simulated.accounts import Position
from seawall.venues.simulated.engine import Engine
from seawall.venues.simulated.log import Log, Opened, Reported, Requested
from seawall.venues.simulated.shape import VenueShape

_FOREVER = (1 << 63) - 1
REPLACED = "replaced by"
_FINDS_NOTHING = ("the book is empty", "the book shows", "it would trade")
NOTHING = Raw(empty(0))


@dataclass(frozen=True, slots=True)
class Event:
    """Something that a user stream tells.

    Attributes:
        what: NEW, TRADE, CANCELED, REJECTED, EXPIRED, AMENDMENT, TRIGGERED, FUNDING, LIQUIDATION.
        record: of the order, as it stood then. execution: of a fill.
    """

    what: str
    ms: int
    record: Record | None = None
    status: str = ""
    filled: int = 0
    value: int = 0
    execution: Execution | None = None
    funding: Funding | None = None


class Wallet:
    """What one account has and does in one market.

    Args:
        log: the engine's, made if it is not there.
        strict: client ids are never used twice; False: not among open orders, as at Binance.

    Raises:
        StoreError: the log is unusable or does not fit the catalog.
    """

    def __init__(
        self,
        market: Market,
        catalog: Catalog,
        listed: list[Listing],
        shape: VenueShape,
        log: Path,
        strict: bool = False,
    ) -> None:
        self.market = market
        self.listed = {each.symbol: each for each in listed}
        self._of_name = {each.instrument.name: each for each in listed}
        self.records: dict[int, Record] = {}
        self.executions: list[Execution] = []
        self.fundings: list[Funding] = []
        self.updated = 0  # ms UTC of the last change of a balance
        self._strict = strict
        self._clients: dict[tuple[str, str], int] = {}  # (symbol, client id) → the latest order
        self._held: dict[str, Position] = {}  # for the realised profit of each fill
        self._numbers = 0
        self._after = 0
        self.events: list[Event] = []
        self.open: dict[int, Record] = {}
        self._log = Log(log)
        try:
            self._read()
            self.events.clear()
            self.engine = Engine(catalog, shape, self._log)
        except BaseException:
            self._log.close()
            raise
        for record in self.open.values():
            working = self.engine.matching.live.get(record.order.client_id)
            if working is not None and working.triggered and not record.triggered:
                record.triggered = record.updated

    def close(self) -> None:
        """Let go of the log."""
        self._log.close()

    # --- the fold ---

    def _read(self) -> None:
        known: dict[str, Instrument] = {}
        for entry in self._log.entries():
            if isinstance(entry, Opened):
                known = {each.name: each for each in entry.instruments}
            elif isinstance(entry, Requested) and entry.order is not None:
                name = entry.order.instrument
                listing = self._of_name.get(name)
                if listing is None or listing.instrument != known[name]:
                    raise StoreError(
                        f"{self._log.path}: there are orders in {name}, which this market data "
                        "lacks or has with other increments; use the same tape, or another --folder"
                    )
                self._register(entry.order, entry.ts)
            elif isinstance(entry, Reported):
                self._apply(entry.report)

    def _register(self, order: Order, ts: int) -> Record:
        """A request was accepted: for a new order, or for another attempt at an old one."""
        wish = wish_of(order)
        listing = self._of_name[order.instrument]
        record = self.records.get(wish.number)
        if record is not None:
            record.wanted = order
            return record
        ms = ts // MILLISECOND
        record = Record(listing, wish, order, placed=ms, updated=ms)
        self.records[wish.number] = record
        self.open[wish.number] = record
        self._clients[listing.symbol, wish.client] = wish.number
        self._numbers = max(self._numbers, wish.number)
        return record

    def _apply(self, report: Report) -> None:
        """One report of the engine."""
        self._after = report.sequence
        ms = report.ts // MILLISECOND
        if isinstance(report, Funding):
            self.fundings.append(report)
            self.updated = ms
            self.events.append(Event("FUNDING", ms, funding=report))
            return
        if isinstance(report, Fill):
            self._fill(report, ms)
            return
        record = self.records[int(report.client_id.partition(".")[0])]
        if report.client_id != record.order.client_id:
            self._amend(record, report, ms)
            return
        if report.state is OrderState.CANCELED and report.reason.startswith(REPLACED):
            return  # what becomes of it the next report says
        if report.state in (OrderState.PARTIALLY_FILLED, OrderState.FILLED):
            return  # its fill has said so
        self._stand(record, report.state, report.reason, ms)

    def _stand(self, record: Record, state: OrderState, reason: str, ms: int) -> None:
        """The venue's word on an order: it is open now, or has ended."""
        if state is OrderState.REJECTED and reason.startswith(_FINDS_NOTHING):
            state = OrderState.EXPIRED  # a market order that found nothing: the protocol takes it
        record.state, record.updated, record.reason = state, ms, reason
        if state.final:
            self.open.pop(record.number, None)
        if state is OrderState.REJECTED:
            self._forget(record)
        else:
            self._tell(record.status.removesuffix("_IN_MATCH"), record, ms)

    def _amend(self, record: Record, report: OrderReport, ms: int) -> None:
        """What became of another attempt at an order."""
        wanted, record.wanted = record.wanted, None
        if wanted is None or wanted.client_id != report.client_id:
            return
        if report.state is OrderState.NEW:
            record.order, record.wish, record.updated = wanted, wish_of(wanted), ms
            self._tell("AMENDMENT", record, ms)
        elif not report.reason.endswith("no longer open"):
            record.refused = report.reason
            self._stand(record, OrderState.CANCELED, "cancelled", ms)

    def _fill(self, fill: Fill, ms: int) -> None:
        instrument = self._of_name[fill.instrument].instrument
        value = instrument.value(fill.price, fill.size)
        realised = 0
        if self.market is Market.USDM:
            position = self._held.setdefault(fill.instrument, Position())
            realised = position.trade(False, fill.side, fill.size, value)
        self.updated = ms
        number = 0 if fill.liquidation else int(fill.client_id.partition(".")[0])
        execution = Execution(fill, number, realised)
        self.executions.append(execution)
        if fill.liquidation:
            self.events.append(Event("LIQUIDATION", ms, execution=execution))
            return
        record = self.records[number]
        record.fills.append(execution)
        record.filled += fill.size
        record.value += value
        record.updated = ms
        if record.order.type.waits and not record.triggered:
            record.triggered = ms
        done = record.left <= 0
        record.state = OrderState.FILLED if done else OrderState.PARTIALLY_FILLED
        if done:
            self.open.pop(number, None)
        self._tell("TRADE", record, ms, execution)

    def _tell(self, what: str, record: Record, ms: int, execution: Execution | None = None) -> None:
        self.events.append(
            Event(what, ms, record, record.status, record.filled, record.value, execution)
        )

    # --- time ---

    def observe(self, rows: Raw, until: int) -> None:
        """Rows of the tape have come; the time is now `until`."""
        self.engine.observe(rows, until)
        self._collect()

    def begin(self, books: Raw, now: int) -> None:
        """Open with whole books, since rows may have been missed."""
        self.updated = self.updated or now // MILLISECOND
        self.engine.void()
        self.observe(books, now)

    def take_events(self) -> list[Event]:
        """What has happened since this was asked last."""
        events, self.events = self.events, []
        return events

    def _collect(self) -> None:
        for report in self.engine.reports(self._after, _FOREVER):
            self._apply(report)
        for record in self.open.values():
            if record.waits:
                working = self.engine.matching.live.get(record.order.client_id)
                if working is not None and working.triggered:
                    record.triggered = record.updated = self.engine.now // MILLISECOND
                    self._tell("TRIGGERED", record, record.triggered)

    # --- orders ---

    def next_number(self) -> int:
        """The id of the next order."""
        return self._numbers + 1

    def find(self, symbol: str, number: int | None, client: str | None) -> Record | None:
        """An order by its id, or the latest one with a client's id."""
        if number is None and client:
            number = self._clients.get((symbol, client))
        record = self.records.get(number or 0)
        return record if record is not None and record.listing.symbol == symbol else None

    def check_client(self, symbol: str, client: str) -> None:
        """Refusal where a client id is taken: by an open order, or ever where that is the rule."""
        number = self._clients.get((symbol, client))
        if number is not None and (self._strict or number in self.open):
            raise refusals.duplicate_client_id(self.market is Market.USDM)

    def place(self, wish: Wish, listing: Listing, now: int, until: int = 0) -> Record:
        """A new order, which reaches the book at once.

        Raises:
            Refusal: it is not taken. StoreError: the log cannot be written.
        """
        order = venue_order(wish, listing, wish.lots, until)
        self._accept(lambda: self.engine.place(order, now))
        record = self._register(order, now)
        self._settle()
        if record.state is OrderState.REJECTED:
            raise refusals.of_reason(record.reason, listing.futures)
        return record

    def cancel(self, record: Record, now: int, matched: bool = False) -> None:
        """Cancel an open order at once; `matched` says that it met one of the same account."""
        name, client_id = record.listing.instrument.name, record.order.client_id
        self._accept(lambda: self.engine.cancel(name, client_id, now))
        record.matched = matched
        self._settle()

    def amend(self, record: Record, wish: Wish, now: int) -> None:
        """Put another price or size in place of an open order's; it keeps its id.

        Raises:
            Refusal: the new order is not taken; the old one is cancelled then.
        """
        lots = wish.lots - record.filled
        if lots <= 0:
            self.cancel(record, now)
            return
        order = venue_order(wish, record.listing, lots)
        old = record.order.client_id
        self._accept(lambda: self.engine.replace(old, order, now))
        self._register(order, now)
        self._settle()
        if record.refused:
            raise refusals.of_reason(record.refused, record.listing.futures)

    def _accept(self, request: Callable[[], None]) -> None:
        try:
            request()
        except OrderRefusedError as error:
            raise refusals.RefusalError(-2010, str(error).partition(": ")[2]) from None

    def _settle(self) -> None:
        """Let what was asked reach the book."""
        self.engine.observe(NOTHING, self.engine.last_arrival + 1)
        self._collect()

    def _forget(self, record: Record) -> None:
        """An order that was rejected never was."""
        del self.records[record.number]
        key = record.listing.symbol, record.wish.client
        if self._clients.get(key) == record.number:
            del self._clients[key]

    def open_of(self, symbol: str | None) -> list[Record]:
        """Open orders, the oldest first."""
        found = self.open.values()
        return [each for each in found if symbol is None or each.listing.symbol == symbol]

    def check_room(self, symbol: str, waits: bool) -> None:
        """Refusal where an account has too many open orders."""
        open_ones = self.open_of(symbol)
        if waits and sum(each.waits for each in open_ones) >= MOST_STOPS:
            if self.market is Market.USDM:
                raise refusals.RefusalError(-4045, "Reach max stop order limit.")
            raise refusals.filtered("MAX_NUM_ALGO_ORDERS")
        if len(open_ones) >= MOST_ORDERS:
            if self.market is Market.USDM:
                raise refusals.RefusalError(-2025, "Reach max open order limit.")
            raise refusals.filtered("MAX_NUM_ORDERS")

    # --- what it has ---

    def locked(self, asset: str) -> int:
        """What open spot orders may need of an asset, waiting ones among them."""
        total = 0
        maker = self.engine.shape.maker_fee_ppm
        for record in self.open.values():
            instrument, wish = record.listing.instrument, record.wish
            if wish.side == "SELL" and instrument.base == asset:
                total += record.left * instrument.base_unit
            elif wish.side == "BUY" and instrument.settle_asset == asset:
                price = wish.ticks or wish.stop
                total += funds.purchase(instrument, price, record.left, maker)
        return total

    def balance(self, asset: str) -> int:
        """Smallest units of an asset."""
        return self.engine.accounts.balances.get(asset, 0)

    def listing_of(self, instrument: str) -> Listing:
        """The symbol of an instrument's name."""
        return self._of_name[instrument]

    def position(self, listing: Listing) -> Position:
        """Of a contract."""
        return self.engine.accounts.positions.get(listing.instrument.name) or Position()
