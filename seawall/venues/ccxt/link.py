"""What goes on by itself beside the path: the user stream, looking after what it may have missed,
the clock's offset and the dead-man's switch.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from seawall.core.clock import HOUR, MILLISECOND, SECOND, Clock
from seawall.core.errors import VenueError, VenueUnreachableError
from seawall.venues.ccxt.budget import CANCEL, READ
from seawall.venues.ccxt.client import Account
from seawall.venues.ccxt.desk import Desk
from seawall.venues.ccxt.errors import said
from seawall.venues.ccxt.translation import funding_of

STEP = 0.05  # seconds between two looks at what is due
WITH_STREAM, WITHOUT_STREAM = 15 * SECOND, 2 * SECOND  # between two looks at orders and trades
SETTLE = SECOND // 5  # after a new connection, before what it missed is looked up
FAILING = 5 * SECOND  # with nothing but errors: the exchange cannot be reached
SILENCE = 45 * SECOND  # without any answer at all
CLOCK_EVERY, CLOCK_SAMPLES = 60 * SECOND, 5
CLOCK_LIMIT = SECOND  # of our clock's error; beyond, nothing is sent
FUNDING_EVERY = 60 * SECOND
OVERLAP = 60 * SECOND  # asked for again, since times of trades are not those of their booking
WINDOW = 23 * HOUR  # of trades in one request: some exchanges give a day at most
MOST_PAGES = 1_000
FIRST_WAIT, LONGEST_WAIT = 0.25, 30.0  # seconds before a stream is opened again
DEAD_MAN = 60 * SECOND  # without a sign from us the exchange cancels our orders


class Link:
    """The loops of one account.

    Args:
        switch: arm the dead-man's switch where there is one.
        stopped: whether the path has stopped asking: then the switch must not be renewed.

    Attributes:
        lost: why the user stream was lost since somebody looked last.
        skew: what is wrong with this machine's clock; empty while it is good.
    """

    def __init__(
        self,
        account: Account,
        desk: Desk,
        clock: Clock,
        switch: bool,
        stopped: Callable[[], bool],
        secrets: tuple[str, ...],
    ) -> None:
        self.lost = ""
        self.skew = ""
        self.armed = False
        self.reconnections = 0
        self._account = account
        self._desk = desk
        self._client = desk.client
        self._clock = clock
        self._switch = switch and bool(account.terms.switch)
        self._stopped = stopped
        self._secrets = secrets
        self._answered = clock.now()
        self._failure = ""
        self._missed = 0  # ns UTC at which the path last went without an answer
        self._connection = 0
        self._connected_at = 0
        self._due = {"look": 0, "clock": 0, "switch": 0, "funding": 0}
        self._seen: dict[str, int] = {}  # symbol → ms up to which trades were looked up
        self._last_id: dict[str, int] = {}

    @property
    def trouble(self) -> str:
        """Why the exchange counts as out of reach; empty while it does not."""
        if self._desk.fault or self.skew:
            return self._desk.fault or self.skew
        if self._answered < self._missed:
            return "no answer in time, and none since"
        silent = self._clock.now() - self._answered
        if silent > (FAILING if self._failure else SILENCE):
            why = self._failure or "nothing was heard"
            return f"no answer for {silent / SECOND:.0f} s: {why}"
        return ""

    async def run(self) -> None:
        """All loops, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for name, take in (("orders", self._take_orders), ("my_trades", self._take_trades)):
                if self._client.has.get("watch" + name.title().replace("_", "")):
                    group.create_task(self._watch(f"watch_{name}", take))
            group.create_task(self._keep())

    # --- the user stream ---

    async def _watch(self, name: str, take: Callable[[Any], None]) -> None:
        """Hand on one stream; after a loss wait, and subscribe again."""
        failures = 0
        while True:
            try:
                found = await getattr(self._client, name)()
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is None or task.cancelling():
                    raise
                error: BaseException = ConnectionError("the connection was closed")
            except Exception as caught:  # noqa: BLE001  whatever ccxt raises, the stream is lost
                error = caught
            else:
                failures = 0
                take(found)
                continue
            self.lost = f"the user stream was lost: {said(error, self._secrets)}"
            failures += 1
            await asyncio.sleep(min(LONGEST_WAIT, FIRST_WAIT * 2.0 ** min(failures - 1, 20)))

    def _take_orders(self, found: Any) -> None:
        for order in found:
            self._desk.answer(order)

    def _take_trades(self, found: Any) -> None:
        for trade in found:
            if not self._desk.trade(trade):
                self._desk.due.add(str(trade.get("symbol")))

    def _streaming(self) -> bool:
        """Whether all connections of the user stream are up; notices new ones."""
        clients = list((self._client.clients or {}).values())
        established = [c.connectionEstablished or 0 for c in clients if not c.closed()]
        if not established:
            return False
        if max(established) != self._connection:
            self._connection = max(established)
            self._connected_at = self._clock.now()
            self.reconnections += 1
            self._due["look"] = self._connected_at + SETTLE
        return len(established) == len([c for c in clients if c.connectionStarted])

    # --- what the stream may have missed ---

    async def _keep(self) -> None:
        """Look after everything that is due, one thing at a time."""
        while True:
            now = self._clock.now()
            try:
                if now >= self._due["clock"]:
                    self._due["clock"] = now + CLOCK_EVERY
                    await self.measure()
                streaming = self._streaming()
                if now >= self._due["look"]:
                    self._due["look"] = now + (WITH_STREAM if streaming else WITHOUT_STREAM)
                    await self._look_around()
                    self.answered()
                while self._desk.due:
                    await self.trades(self._desk.due.pop())
                    self.answered()
                if self._switch and now >= self._due["switch"] and not self._stopped():
                    self._due["switch"] = now + DEAD_MAN // 4
                    await self.arm(DEAD_MAN)
            except asyncio.CancelledError:
                raise
            except Exception as error:  # noqa: BLE001  it is tried again; silence is noticed
                self._failure = said(error, self._secrets)
                self._due["look"] = min(self._due["look"], self._clock.now() + WITHOUT_STREAM)
                if isinstance(error, VenueError) and not isinstance(error, VenueUnreachableError):
                    self._desk.fault = str(error)
            await asyncio.sleep(STEP)

    def answered(self) -> None:
        """The exchange has answered just now."""
        self._answered = self._clock.now()
        self._failure = ""

    def missed(self) -> None:
        """The path has waited in vain: it need not wait again before the exchange has answered."""
        self._missed = self._clock.now()
        self._due["look"] = 0

    async def _look_around(self) -> None:
        """Trades, orders and funding that nobody told us of. Raises: whatever ccxt raises."""
        desk = self._desk
        for symbol in desk.instruments:
            await self.trades(symbol)
        before = desk.open
        if before:
            listed = set()
            for found in await desk.open_orders():
                desk.answer(found)
                listed.add(str(found.get("id")))
            for client_id in before:
                told = desk.told[client_id]
                if told.state.final or desk.listed(client_id, listed):
                    continue
                await desk.look(client_id, desk.symbol(told.instrument))
        if self._account.product != "spot" and self._clock.now() >= self._due["funding"]:
            self._due["funding"] = self._clock.now() + FUNDING_EVERY
            await self._funding()

    async def trades(self, symbol: str) -> int:
        """Take in every trade of a market that is not known yet; how many there were.

        Raises: whatever ccxt raises.
        """
        desk, terms, count = self._desk, self._account.terms, 0
        opened = desk.log.opened // MILLISECOND
        since = max(opened, self._seen.get(symbol, opened) - OVERLAP // MILLISECOND)
        begun = desk.venue_now() // MILLISECOND
        for _ in range(MOST_PAGES):
            known = self._last_id.get(symbol) if terms.by_trade_id else None
            until = since + WINDOW // MILLISECOND
            if known is not None:
                arguments: tuple[Any, ...] = (None, terms.trades_limit, {terms.by_trade_id: known})
            elif until < begun:
                arguments = (since, terms.trades_limit, {"until": until})
            else:
                arguments = (since, terms.trades_limit)
            page = await desk.ask(READ, "fetch_my_trades", symbol, *arguments)
            page = sorted(page, key=_order_of)
            for trade in page:
                await desk.owner(trade, symbol)
                if not desk.trade(trade):
                    raise VenueError(
                        f"trade {trade.get('id')} of {symbol} lacks its fee; compare it by hand"
                    )
                if terms.by_trade_id:
                    number = int(str(trade["id"]))
                    self._last_id[symbol] = max(self._last_id.get(symbol, 0), number)
            count += len(page)
            if len(page) >= terms.trades_limit:
                last = int(page[-1].get("timestamp") or since)
                if not terms.by_trade_id and last <= since:
                    raise VenueError(f"{symbol}: more trades in a millisecond than one page holds")
                since = last
            elif known is None and until < begun:
                since = until
            else:
                self._seen[symbol] = begun
                return count
        raise VenueUnreachableError(f"{symbol}: its trades have no end; they are looked up again")

    async def _funding(self) -> None:
        """Funding payments that are not known yet. Raises: whatever ccxt raises."""
        desk = self._desk
        if not self._client.has.get("fetchFundingHistory"):
            return
        for symbol, instrument in desk.instruments.items():
            since = max(
                desk.log.opened // MILLISECOND, self._seen.get(f"funding {symbol}", 0) - 3_600_000
            )
            begun = desk.venue_now() // MILLISECOND
            found = await desk.ask(READ, "fetch_funding_history", symbol, since, 1_000)
            for entry in sorted(found, key=_order_of):
                funding = funding_of(entry, instrument, desk.decimals(instrument.settle_asset))
                if funding.ts >= desk.log.opened:
                    desk.movement(str(entry.get("id")), funding)
            self._seen[f"funding {symbol}"] = begun

    # --- clock and switch ---

    async def measure(self) -> None:
        """The exchange's clock against ours: the median of several.

        Raises: whatever ccxt raises.
        """
        self._desk.offset = await offset_of(self._client, self._clock)
        self.skew = skew_of(self._desk.offset, self._account.name)

    async def arm(self, after: int) -> None:
        """Tell the exchange to cancel our orders `after` ns without a sign; 0: never mind.

        Raises: whatever ccxt raises.
        """
        milliseconds = after // MILLISECOND
        if self._account.terms.switch == "account":
            await self._desk.ask(CANCEL, "cancel_all_orders_after", milliseconds)
        else:
            for symbol in self._desk.instruments:
                wish = {
                    "symbol": self._client.market_id(symbol),
                    "countdownTime": milliseconds,
                }
                await self._desk.ask(CANCEL, "fapiPrivatePostCountdownCancelAll", wish)
        self.armed = after > 0

    async def disarm(self) -> None:
        """At an orderly stop: what stays at the exchange is meant to stay."""
        if self.armed:
            await self.arm(0)


async def offset_of(client: Any, clock: Clock) -> int:
    """ns that an exchange's clock is ahead of ours; what the client signs is stamped with it.

    Raises: whatever ccxt raises.
    """
    if not client.has.get("fetchTime"):
        return 0
    offsets = []
    for _ in range(CLOCK_SAMPLES):
        sent = clock.now()
        theirs = int(await client.fetch_time()) * MILLISECOND
        offsets.append(theirs - (sent + clock.now()) // 2)
    offset = sorted(offsets)[len(offsets) // 2]
    client.options["timeDifference"] = -(offset // MILLISECOND)
    return offset


def skew_of(offset: int, name: str) -> str:
    """What is wrong with this machine's clock, in a line; empty while it is good."""
    if abs(offset) <= CLOCK_LIMIT:
        return ""
    way = "behind" if offset > 0 else "ahead of"
    return (
        f"this machine's clock is {abs(offset) / SECOND:.1f} s {way} that of {name} "
        f"({CLOCK_LIMIT / SECOND:g} s is allowed); set it, for example with chrony"
    )


def _order_of(entry: Any) -> tuple[int, int, str]:
    """By time, then by the exchange's id."""
    name = str(entry.get("id"))
    return int(entry.get("timestamp") or 0), int(name) if name.isdigit() else 0, name
