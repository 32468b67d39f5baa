"""Rate limits: request weight by address, new orders by account, and the ban of who goes on."""

from dataclasses import dataclass, field

from seawall.exchange import refusals
from seawall.exchange.listing import Market
from seawall.exchange.terms import Terms

MINUTE = 60_000  # ms
DAY = 86_400_000
PATIENCE = 20  # requests after a 429 before an address is banned
SHORTEST_BAN = 120  # seconds; each further one is twice as long
LONGEST_BAN = 3 * 86_400


@dataclass(slots=True)
class Window:
    """What was used in the interval under way."""

    span: int
    begin: int = 0
    used: int = 0

    def add(self, now: int, amount: int) -> int:
        """Use more; returns what was used in this interval."""
        begin = now // self.span * self.span
        if begin != self.begin:
            self.begin, self.used = begin, 0
        self.used += amount
        return self.used

    def left(self, now: int) -> int:
        """Seconds until the next interval, at least 1."""
        return max(1, -(-(self.begin + self.span - now) // 1_000))


@dataclass(slots=True)
class Address:
    """One client address in one market."""

    weight: Window = field(default_factory=lambda: Window(MINUTE))
    ignored: int = 0  # requests since the limit was passed
    bans: int = 0
    banned_until: int = 0  # ms UTC


class Limits:
    """All counters; they are in memory, so a restart forgives."""

    def __init__(self, terms: Terms) -> None:
        self._terms = terms
        self._addresses: dict[tuple[Market, str], Address] = {}
        self._orders: dict[tuple[Market, str], tuple[Window, Window]] = {}

    def request(self, market: Market, ip: str, weight: int, now: int) -> int:
        """Count a request (ms UTC); returns the weight used in this minute.

        Raises:
            Refusal: 429 above the limit, 418 while banned.
        """
        address = self._addresses.setdefault((market, ip), Address())
        if now < address.banned_until:
            raise self._banned(address, now)
        limit = self._terms.limit(market)
        used = address.weight.add(now, weight)
        if used <= limit:
            address.ignored = 0
            return used
        address.ignored += 1
        if address.ignored > PATIENCE:
            seconds = min(LONGEST_BAN, SHORTEST_BAN * 2**address.bans)
            address.bans += 1
            address.ignored = 0
            address.banned_until = now + seconds * 1_000
            raise self._banned(address, now)
        raise refusals.too_much_weight(limit, address.weight.left(now))

    def _banned(self, address: Address, now: int) -> refusals.RefusalError:
        seconds = -(-(address.banned_until - now) // 1_000)
        return refusals.banned(address.banned_until, seconds)

    def orders(self, market: Market, account: str, count: int, now: int) -> tuple[int, int]:
        """Count new orders; returns those of the last 10 s, and of the day or minute.

        Raises:
            Refusal: there were too many.
        """
        futures = market is Market.USDM
        long = MINUTE if futures else DAY
        windows = self._orders.setdefault((market, account), (Window(10_000), Window(long)))
        used = windows[0].add(now, count), windows[1].add(now, count)
        longest = self._terms.orders_minute if futures else self._terms.orders_day
        word = "1 MINUTE" if futures else "1 DAY"
        for window, total, limit, interval in (
            (windows[0], used[0], self._terms.orders_10s[futures], "10 SECOND"),
            (windows[1], used[1], longest, word),
        ):
            if total > limit:
                raise refusals.too_many_orders(limit, interval, window.left(now))
        return used
