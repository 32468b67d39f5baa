"""One account at its exchange, in the network's own loop: what is asked, and what comes of it.

All that is learned of an order goes through `_tell` and all that is learned of a trade through
`_hear`, wherever it comes from: an answer, the user stream, or a look after a lost connection.
"""

import asyncio
from collections import deque
from collections.abc import Mapping
from typing import Any

import msgspec

from seawall.core.clock import MILLISECOND, SECOND, Clock
from seawall.core.errors import (
    OrderRefusedError,
    SeawallError,
    VenueError,
    VenueUnreachableError,
)
from seawall.core.instruments import Instrument
from seawall.core.orders import Fill, Order, OrderReport, OrderState, Report
from seawall.venues.ccxt.budget import CANCEL, PLACE, READ, Budget
from seawall.venues.ccxt.client import Account
from seawall.venues.ccxt.errors import refused, said, swapped, translated
from seawall.venues.ccxt.log import VenueLog, key_of
from seawall.venues.ccxt.translation import (
    NAMELESS,
    Request,
    client_id_of,
    down,
    expiry,
    fill_of,
    in_book,
    lots_of,
    report_of,
    request_of,
    wallet_of,
)

MOST_REPORTS = 100_000  # that wait for the path; beyond, it has to ask anew
GONE = ("OrderNotFound", "OrderNotCached")


class Told(msgspec.Struct):
    """What was said last of an order.

    Attributes:
        logged: lots whose trades are in the log. live: it may still be open, in this life.
    """

    instrument: str
    state: OrderState = OrderState.SENT
    filled: int = 0
    logged: int = 0
    live: bool = False


class Desk:
    """Requests and answers of one account; lives in one loop, but for `outbox`.

    Attributes:
        outbox: reports that the path has not taken yet.
        offset: ns that the exchange's clock is ahead of ours.
        fault: why nothing of this account can be believed any more; empty while all is well.
        due: symbols whose trades are to be looked up soon.
        overflowed: reports were dropped; whoever polls must ask for everything.
    """

    def __init__(
        self,
        account: Account,
        client: Any,
        instruments: Mapping[str, Instrument],
        log: VenueLog,
        budget: Budget,
        clock: Clock,
        secrets: tuple[str, ...],
    ) -> None:
        self.account = account
        self.terms = account.terms
        self.client = client
        self.instruments = instruments  # by ccxt's symbol
        self.outbox: deque[Report] = deque(maxlen=MOST_REPORTS)
        self.offset = 0
        self.fault = ""
        self.due: set[str] = set()
        self.overflowed = False
        self.told: dict[str, Told] = {}
        self.log = log
        self._symbols = {i.name: symbol for symbol, i in instruments.items()}
        self._budget = budget
        self._clock = clock
        self._secrets = secrets
        self._clients: dict[str, str] = {}  # the exchange's order id → ours
        self._numbers: dict[str, str] = {}  # ours → the exchange's
        self._triggered: set[str] = set()  # ours that waited, and do so no more
        self._waiting: set[str] = set()  # placed here, not answered yet
        self._decimals = {i.settle_asset: i.settle_decimals for i in instruments.values()}
        self._decimals |= {i.base: i.base_decimals for i in instruments.values()}
        for movement in log.movements:
            if isinstance(movement, Fill):
                self._entry(movement.client_id, movement.instrument).logged += movement.size

    def venue_now(self) -> int:
        """Ns UTC, the exchange's clock."""
        return self._clock.now() + self.offset

    async def ask(self, purpose: str, name: str, *arguments: Any) -> Any:
        """One request of ccxt's, if the exchange's limits leave room for it.

        Raises:
            VenueUnreachableError, OrderRefusedError: they do not, and nothing was sent. Whatever
                ccxt raises.
        """
        if blocked := self._budget.blocks(purpose):
            kind = OrderRefusedError if purpose == PLACE else VenueUnreachableError
            raise kind(f"{self.account.name}: not sent: {blocked}")
        before = self._budget.begin(name, purpose)
        try:
            return await getattr(self.client, name)(*arguments)
        finally:
            self._budget.end(name, before)

    # --- orders out ---

    async def place(self, order: Order) -> None:
        """Send an order; what comes of it is told."""
        self._entry(order.client_id, order.instrument).live = True
        self._waiting.add(order.client_id)
        try:
            request = self._leaving(order)
            found = await self.ask(PLACE, "create_order", *msgspec.structs.astuple(request))
            self.answer(found, order.client_id)
            if found.get("id") and self.told[order.client_id].state is OrderState.SENT:
                self._say(order.client_id, OrderState.NEW, "")  # taken, and no more was answered
        except OrderRefusedError as error:
            self._say(order.client_id, OrderState.REJECTED, str(error))
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, the order's fate must be told
            failure = translated(error, self.terms, "place", self._secrets)
            certain = isinstance(failure, OrderRefusedError)
            state = OrderState.REJECTED if certain else OrderState.UNKNOWN
            self._say(order.client_id, state, str(failure))
        finally:
            self._waiting.discard(order.client_id)

    def _leaving(self, order: Order) -> Request:
        """What is to be sent for an order, which the log knows of from here on.

        Raises:
            OrderRefusedError: nothing can be sent for it.
        """
        instrument = self.instruments[self._symbols[order.instrument]]
        try:
            until = order.accept_until and order.accept_until + self.offset
            theirs = msgspec.structs.replace(order, accept_until=until)
            request = request_of(theirs, instrument, self.terms, self.venue_now())
        except SeawallError as error:
            raise OrderRefusedError(str(error)) from None
        waits = order.type.waits and self.terms.apart
        self.log.leave(order.client_id, order.instrument, self._clock.now(), waits)
        return request

    async def cancel(self, client_id: str, instrument: str) -> bool:
        """Cancel an order; whether the exchange said that it did. What became of it is told."""
        symbol = self._symbols[instrument]
        try:
            number = self._numbers.get(client_id)
            params: dict[str, Any] = {"trigger": True} if self._apart(client_id) else {}
            if number is None and self.terms.cancels_by:
                params[self.terms.cancels_by] = client_id.replace("-", self.terms.dash)
            elif number is None:
                found = await self.find(client_id, symbol)
                number = str(found["id"]) if found else ""
                if found is not None:
                    self._identify(found, client_id)
            until = self.venue_now() + 5 * SECOND
            if self.terms.expiry == "recv_window":
                params |= expiry(self.terms, self.venue_now(), until)
            await self.ask(CANCEL, "cancel_order", number or "", symbol, params)
            done = True
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  the look below says what became of it
            done = False
            if not refused(error, self.terms) and not _gone(error):
                self._say(client_id, OrderState.UNKNOWN, said(error, self._secrets))
                return False
        await self.look(client_id, symbol)
        return done

    async def replace(self, client_id: str, order: Order) -> None:
        """Cancel an order and, only where its end is certain, place another for what it left; in
        one request where the exchange does that to an order that has filled nothing."""
        if await self._swap(client_id, order):
            return
        done = await self.cancel(client_id, order.instrument)
        old = self._entry(client_id, order.instrument)
        left = order.size - max(0, old.filled - order.carried)
        reason = ""
        if not done or not old.state.final:
            reason = f"{client_id}, which it was to replace, could not be cancelled"
        elif left <= 0:
            reason = f"{client_id}, which it was to replace, took it all"
        if not reason:
            await self.place(msgspec.structs.replace(order, size=left))
            return
        self._entry(order.client_id, order.instrument)
        self._say(order.client_id, OrderState.REJECTED, f"not sent: {reason}")

    async def _swap(self, client_id: str, order: Order) -> bool:
        """Put an order in the place of another in one request; False: nothing of it was done."""
        number, old = self._numbers.get(client_id), self._entry(client_id, order.instrument)
        filled = old.filled or order.carried
        if not self.terms.swap or number is None or filled or order.type.waits or old.state.final:
            return False
        new = self._entry(order.client_id, order.instrument)
        new.live = True
        self._waiting.add(order.client_id)
        try:
            request = self._leaving(order)
            symbol, kind, side, amount, price, params = msgspec.structs.astuple(request)
            params = params | dict(self.terms.swap)
            asked = (number, symbol, kind, side, amount, price, params)
            found = await self.ask(PLACE, "edit_order", *asked)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  whatever it is, both orders' fates must be told
            cancelled, why = swapped(error)
            if not cancelled and (why or refused(error, self.terms)):
                return False
            if why:
                self._ended(client_id, order.instrument)
                self._say(order.client_id, OrderState.REJECTED, said(why, self._secrets))
            else:
                for one in (client_id, order.client_id):
                    self._say(one, OrderState.UNKNOWN, said(error, self._secrets))
            return True
        finally:
            self._waiting.discard(order.client_id)
        self._ended(client_id, order.instrument)
        self.answer(found, order.client_id)
        return True

    def _ended(self, client_id: str, instrument: str) -> None:
        """An order was cancelled, and had filled nothing."""
        state, now = OrderState.CANCELED, self.venue_now()
        self._tell(
            OrderReport(
                sequence=0,
                client_id=client_id,
                instrument=instrument,
                state=state,
                filled=0,
                ts=now,
            )
        )

    async def look(self, client_id: str, symbol: str) -> None:
        """Find out how an order stands and tell it; silence tells nothing."""
        try:
            found = await self.find(client_id, symbol)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # noqa: BLE001  the path asks again in its own time
            self._say(client_id, OrderState.UNKNOWN, said(error, self._secrets))
            return
        if found is not None:
            self.answer(found, client_id)

    # --- what the exchange says ---

    async def find(self, client_id: str, symbol: str) -> dict[str, Any] | None:
        """The order as the exchange has it; None where it says that there is none.

        Raises: whatever ccxt raises.
        """
        if self._apart(client_id):
            found = await self._find(client_id, symbol, {"trigger": True})
            if found is None or found.get("status") != "closed":
                return found
            self._numbers.pop(client_id, None)  # triggered: from here on it is an order like others
            self._triggered.add(client_id)
            if number := (found.get("info") or {}).get("actualOrderId"):
                self._identify({"id": number}, client_id)
        return await self._find(client_id, symbol, {})

    def _apart(self, client_id: str) -> bool:
        """Whether the exchange keeps this order apart from others, since it waits."""
        left = self.log.left.get(client_id)
        return left is not None and left.waits and client_id not in self._triggered

    async def _find(
        self, client_id: str, symbol: str, kind: dict[str, Any]
    ) -> dict[str, Any] | None:
        """`find` among the orders of one kind."""
        number = self._numbers.get(client_id)
        if client_id.startswith(NAMELESS):
            number = client_id.removeprefix(NAMELESS)
        try:
            if number is not None:
                sure = {"acknowledged": True} if self.account.exchange == "bybit" else {}
                sure |= kind
                found: dict[str, Any] = await self.ask(READ, "fetch_order", number, symbol, sure)
                return found
            if self.terms.asks_by_client_id:
                named = {"clientOrderId": client_id.replace("-", self.terms.dash), **kind}
                found = await self.ask(READ, "fetch_order", "", symbol, named)
                return found  # noqa: RET504  ccxt has no types: this gives it one
        except Exception as error:
            if _gone(error):
                return None
            raise
        return await self._search(client_id, symbol)

    async def _search(self, client_id: str, symbol: str) -> dict[str, Any] | None:
        """The order in the lists of open and of finished ones."""
        left = self.log.left.get(client_id)
        since = (left.ts if left else self.log.opened) // MILLISECOND - 60_000
        for name in ("fetch_open_orders", *self._finished()):
            for found in await self.ask(READ, name, symbol, since, None):
                if client_id_of(found, self.terms) == client_id:
                    order: dict[str, Any] = found
                    return order
        return None

    def _finished(self) -> tuple[str, ...]:
        """What is asked for orders that have ended, however they did: closed ones are at some
        exchanges only those that were filled."""
        has = self.client.has
        for name, asked in (
            ("fetchCanceledAndClosedOrders", "fetch_canceled_and_closed_orders"),
            ("fetchOrders", "fetch_orders"),
        ):
            if has.get(name) is True:
                return (asked,)
        cancelled = has.get("fetchCanceledOrders") is True
        return ("fetch_closed_orders", *(("fetch_canceled_orders",) if cancelled else ()))

    async def orders(self, client_ids: list[str] | None) -> list[OrderReport]:
        """See Account."""
        if client_ids is None:
            return [self._open_report(one) for one in await self.open_orders()]
        reports = []
        for client_id in client_ids:
            report = await self._standing(client_id)
            if report is not None:
                reports.append(report)
        return reports

    async def open_orders(self) -> list[dict[str, Any]]:
        """All open orders as ccxt has them, those that wait as well. Raises: what ccxt raises."""
        found: list[dict[str, Any]] = await self.ask(READ, "fetch_open_orders", None)
        if self.terms.apart and self.account.product != "spot":
            everywhere = (None, None, None, {"trigger": True})
            found = found + await self.ask(READ, "fetch_open_orders", *everywhere)
        return found

    def _open_report(self, found: Mapping[str, Any]) -> OrderReport:
        """An open order, ours or not; one in a market that we do not trade has its symbol."""
        client_id = self._identify(found)
        instrument = self.instruments.get(str(found.get("symbol")))
        if instrument is not None:
            report = report_of(found, instrument, client_id, 0)
            if report is not None:
                return report
        name = instrument.name if instrument else str(found.get("symbol"))
        state = OrderState.NEW
        return OrderReport(
            sequence=0, client_id=client_id, instrument=name, state=state, filled=0, ts=0
        )

    async def _standing(self, client_id: str) -> OrderReport | None:
        """One order in whatever state; SENT while it may still turn up; None: there is none."""
        told, left = self.told.get(client_id), self.log.left.get(client_id)
        name = told.instrument if told else left.instrument if left else ""
        symbols = [self._symbols[name]] if name in self._symbols else list(self.instruments)
        for symbol in symbols:
            found = await self.find(client_id, symbol)
            if found is not None:
                self._identify(found, client_id)
                report = report_of(found, self.instruments[symbol], client_id, 0)
                if report is not None:
                    entry = self._entry(client_id, report.instrument)
                    entry.live = not report.state.final
                    if report.filled >= entry.filled:
                        entry.state, entry.filled = report.state, report.filled
                    return report
        sent = left.ts if left else 0
        if client_id in self._waiting or self._clock.now() < sent + self.terms.absence_ns:
            state = OrderState.SENT
            return OrderReport(
                sequence=0, client_id=client_id, instrument=name, state=state, filled=0, ts=sent
            )
        return None

    async def balances(self) -> dict[str, int]:
        """See Account: what a venue calls the wallet balance, without open profit."""
        found = await self.ask(READ, "fetch_balance")
        if self.terms.wallet and self.account.product != "spot":
            amounts = wallet_of(found.get("info"), self.terms.wallet)
        else:
            amounts = {a: text for a, text in (found.get("total") or {}).items() if text}
        units = {asset: down(text, self.decimals(asset)) for asset, text in amounts.items()}
        return {asset: amount for asset, amount in sorted(units.items()) if amount}

    def decimals(self, asset: str) -> int:
        """Of an asset's smallest unit."""
        return self._decimals.get(asset, self.terms.decimals)

    async def positions(self) -> dict[str, int]:
        """See Account; a position in a market that we do not trade has its symbol."""
        if self.account.product == "spot":
            return {}
        held: dict[str, int] = {}
        for position in await self.ask(READ, "fetch_positions"):
            symbol = str(position.get("symbol"))
            instrument = self.instruments.get(symbol)
            if instrument is None:
                if position.get("contracts") and float(position["contracts"]):
                    held[symbol] = 0
                continue
            if lots := lots_of(position, instrument):
                held[instrument.name] = held.get(instrument.name, 0) + lots
        return held

    # --- what was learned ---

    def answer(self, found: Mapping[str, Any], client_id: str = "") -> None:
        """Tell what an order of ccxt's comes to, if it is of a market that we trade."""
        client_id = self._identify(found, client_id)
        symbol = found.get("symbol")
        told = self.told.get(client_id)
        instrument = self.instruments.get(str(symbol)) if symbol else None
        if instrument is None and told is not None:
            instrument = self.instruments.get(self._symbols.get(told.instrument, ""))
        if instrument is None:
            return
        try:
            report = report_of(found, instrument, client_id, 0)
        except VenueError as error:
            self.fault = str(error)
            return
        if report is not None:
            self._tell(report)

    def trade(self, trade: Mapping[str, Any]) -> bool:
        """Take in a trade as ccxt tells of it; whether it could be (else it is to be looked up)."""
        symbol = str(trade.get("symbol"))
        instrument = self.instruments.get(symbol)
        if instrument is None:
            return True
        client_id = self._clients.get(str(trade.get("order")))
        if client_id is None or trade.get("fee") is None or trade.get("id") is None:
            return False
        try:
            fill = fill_of(trade, instrument, client_id, self._decimals, self.terms)
        except VenueError as error:
            self.fault = str(error)
            return True
        if fill.ts >= self.log.opened - SECOND:
            self._hear(fill)
        return True

    async def owner(self, trade: Mapping[str, Any], symbol: str) -> None:
        """Learn whose order a trade belongs to. Raises: whatever ccxt raises."""
        number = str(trade.get("order"))
        if number not in self._clients:
            found = await self.ask(READ, "fetch_order", number, symbol)
            self._identify(found)
            self._clients.setdefault(number, f"{NAMELESS}{number}")

    def _hear(self, fill: Fill) -> None:
        movement = self.log.hear(key_of(fill, fill.fill_id), fill)
        if movement is not None:
            self._entry(fill.client_id, fill.instrument).logged += fill.size
            self._put(movement)

    def movement(self, name: str, movement: Any) -> None:
        """Take in something else that changes the account."""
        numbered = self.log.hear(key_of(movement, name), movement)
        if numbered is not None:
            self._put(numbered)

    def _identify(self, found: Mapping[str, Any], client_id: str = "") -> str:
        """Whose order this is; remembers the exchange's id of it."""
        client_id = client_id or client_id_of(found, self.terms)
        if found.get("id") is not None:
            number = str(found["id"])
            if self._apart(client_id) and in_book(found):
                self._triggered.add(client_id)
            self._numbers[client_id] = number
            if not self._apart(client_id):  # those have numbers of their own
                self._clients[number] = client_id
        return client_id

    def _entry(self, client_id: str, instrument: str) -> Told:
        return self.told.setdefault(client_id, Told(instrument))

    def _say(self, client_id: str, state: OrderState, reason: str) -> None:
        """Our own word on an order: refused before it left, or without an answer."""
        told = self.told[client_id]
        if told.state.final or (state is OrderState.UNKNOWN and told.state is state):
            return
        told.state = state
        self._put(
            OrderReport(
                sequence=self.log.next(),
                client_id=client_id,
                instrument=told.instrument,
                state=state,
                filled=told.filled,
                ts=self.venue_now(),
                reason=reason,
            )
        )

    def _tell(self, report: OrderReport) -> None:
        """Hand on an order's state where it is news; old news that comes late is none."""
        told = self._entry(report.client_id, report.instrument)
        if told.logged < report.filled:
            self.due.add(self._symbols[report.instrument])
        older = told.state.final or report.filled < told.filled
        if older or (report.state, report.filled) == (told.state, told.filled):
            return
        told.state, told.filled = report.state, report.filled
        told.live = not report.state.final
        self._put(msgspec.structs.replace(report, sequence=self.log.next()))

    def _put(self, report: Report) -> None:
        if len(self.outbox) >= MOST_REPORTS:
            self.outbox.clear()
            self.overflowed = True
        self.outbox.append(report)

    def listed(self, client_id: str, numbers: set[str]) -> bool:
        """Whether an order is among those of the exchange's ids."""
        return self._numbers.get(client_id, "") in numbers

    def symbol(self, instrument: str) -> str:
        """ccxt's name of an instrument."""
        return self._symbols[instrument]

    @property
    def open(self) -> list[str]:
        """Ids of orders of this life that are not known to be finished."""
        return [name for name, told in self.told.items() if told.live and not told.state.final]


def _gone(error: BaseException) -> bool:
    """Whether the exchange says that there is no such order."""
    return type(error).__name__ in GONE
