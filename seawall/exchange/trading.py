"""What spot and USD-M have in common when an account trades: ids, self-trades, lists."""

from collections.abc import Iterable, Sequence

from seawall.core.ladder import ASK, BID
from seawall.exchange import refusals
from seawall.exchange.calls import Call
from seawall.exchange.exchange import Exchange
from seawall.exchange.listing import Listing
from seawall.exchange.market import Book
from seawall.exchange.orders import Execution, Record, Wish
from seawall.exchange.wallet import Wallet

MODES = ("EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "NONE")


def client_id_of(call: Call, name: str) -> str:
    """The client's id, or one that is made for it; it must not be taken."""
    listing = call.listing()
    given = call.client_id(name)
    if given is None:
        given = f"seawall-{call.wallet.next_number()}"
    call.wallet.check_client(listing.symbol, given)
    return given


def reference(book: Book, side: str) -> int:
    """Ticks that a market order would begin at; 0 where that side is empty."""
    bid, _, ask, _ = book.top()
    return ask if side == "BUY" else bid


def lots_for(book: Book, side: str, quote: int) -> int:
    """Lots that an amount of the quote asset (smallest units) buys, or that are sold for it."""
    instrument = book.listing.instrument
    lots = 0
    for price, shown in book.side(ASK if side == "BUY" else BID).items():
        each = instrument.value(price, 1)
        taken = min(shown, quote // each)
        lots += taken
        quote -= taken * each
        if taken < shown:
            break
    return lots


def place(exchange: Exchange, call: Call, wish: Wish, listing: Listing) -> Record:
    """Place an order, after what its self-trade prevention does to those in its way.

    Raises:
        Refusal: the venue does not take it.
    """
    wallet = call.wallet
    try:
        if wish.prevention in ("EXPIRE_MAKER", "EXPIRE_BOTH"):
            for record in _in_the_way(call.public.books[listing.symbol], wallet, wish):
                wallet.cancel(record, exchange.clock.now(), matched=True)
                if wish.prevention == "EXPIRE_BOTH":
                    raise refusals.rejected("Order would match an order of the same account.")
        return wallet.place(wish, listing, exchange.clock.now(), call.until)
    finally:
        exchange.tell(call.market)


def _in_the_way(book: Book, wallet: Wallet, wish: Wish) -> list[Record]:
    """Own orders on the other side that an order would reach, the nearest first."""
    buys = wish.side == "BUY"
    own = [
        record
        for record in wallet.open_of(book.listing.symbol)
        if not record.waits and record.wish.side != wish.side and record.order.price
    ]
    own.sort(key=lambda record: (record.order.price or 0) * (1 if buys else -1))
    if not own or wish.stop:
        return []
    levels = book.side(ASK if buys else BID)
    found: list[Record] = []
    for record in own:
        price = record.order.price or 0
        beyond = price > wish.ticks if buys else price < wish.ticks
        better = sum(
            lots for at, lots in levels.items() if (at < price if buys else at > price)
        ) - sum(each.left for each in found if each.order.price != price)
        if (wish.ticks and beyond) or better >= wish.lots:
            break
        found.append(record)
    return found


def cancel(exchange: Exchange, call: Call, records: Iterable[Record]) -> None:
    """Cancel open orders."""
    try:
        for record in list(records):
            call.wallet.cancel(record, exchange.clock.now())
    finally:
        exchange.tell(call.market)


def open_order(call: Call, number: str = "orderId", client: str = "origClientOrderId") -> Record:
    """The open order that is to be cancelled or changed. Refusal: there is none."""
    try:
        record = call.order(number, client)
    except refusals.RefusalError as refusal:
        if refusal.code == -2013:
            raise refusals.unknown_order() from None
        raise
    if not record.open:
        raise refusals.unknown_order()
    return record


def orders_asked(call: Call, records: Iterable[Record], number: str = "orderId") -> list[Record]:
    """`allOrders`: from an id on, or between two times; the newest ones without either."""
    first = call.integer(number)
    begin, end = call.integer("startTime"), call.integer("endTime")
    if begin is not None and end is not None and end < begin:
        raise refusals.RefusalError(-1023, "Start time is greater than end time.")
    found = [
        record
        for record in records
        if (first is None or record.number >= first)
        and (begin is None or record.placed >= begin)
        and (end is None or record.placed <= end)
    ]
    most = call.most(500, 1_000)
    return found[:most] if first is not None or begin is not None else found[-most:]


def trades_asked(call: Call, executions: Sequence[Execution], symbol: str) -> list[Execution]:
    """`myTrades`: from an id on, of an order, or between two times; else the newest ones."""
    first, number = call.integer("fromId"), call.integer("orderId")
    begin, end = call.integer("startTime"), call.integer("endTime")
    wallet = call.wallet
    found = [
        each
        for each in executions
        if wallet.listing_of(each.fill.instrument).symbol == symbol
        and (first is None or each.fill.sequence >= first)
        and (number is None or each.number == number)
        and (begin is None or each.ms >= begin)
        and (end is None or each.ms <= end)
    ]
    most = call.most(500, 1_000)
    return found[:most] if first is not None or begin is not None else found[-most:]
