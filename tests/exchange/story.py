"""An exchange without a network, whose clock stands still until a story moves it."""

from pathlib import Path

from seawall.core.clock import SECOND, TapeClock
from seawall.exchange.account import Account
from seawall.exchange.exchange import Exchange
from seawall.exchange.listing import Market
from seawall.exchange.orders import Record, Wish
from seawall.exchange.terms import Terms
from seawall.exchange.wallet import Event
from tests.exchange.practice import BEGIN, Row, tape_of

FREE = Terms(spot={"USDT": 10_000_000, "BTC": 100}, spot_fees_ppm=(0, 0), usdm_fees_ppm=(0, 0))
NAMES = ("alice", "bob", "carol")


class Story:
    """An exchange whose clock stands still until the story moves it."""

    def __init__(self, folder: Path, *rows: Row, terms: Terms = FREE) -> None:
        self.clock = TapeClock(2 * BEGIN)
        self.tape = tape_of(folder / "tape", *rows)
        self.events: list[tuple[str, Event]] = []
        self._folder, self._terms = folder / "state", terms
        self._open()
        self.pass_time(0.1)

    def _open(self) -> None:
        self.exchange = Exchange(self._folder, NAMES, self.clock, self._terms, self.tape)
        self.exchange.heard = lambda account, _, events: self.events.extend(
            (account.name, event) for event in events
        )

    def restart(self) -> None:
        """As after kill -9: nothing but the files is left. No time passes."""
        for account in self.exchange.accounts.values():
            account.close()
        self._open()

    def pass_time(self, seconds: float) -> None:
        until = self.clock.now() + int(seconds * SECOND)
        while self.clock.now() < until:
            self.clock.wait(min(until, self.clock.now() + SECOND))
            self.exchange.pump()

    def place(
        self,
        name: str,
        side: str,
        lots: int,
        ticks: int = 0,
        kind: str = "",
        market: Market = Market.SPOT,
        **more: object,
    ) -> Record:
        wallet = self.account(name).wallets[market]
        number = wallet.next_number()
        wish = Wish(
            number=number,
            client=f"c{number}",
            type=kind or ("LIMIT" if ticks else "MARKET"),
            side=side,
            lots=lots,
            ticks=ticks,
            **more,  # type: ignore[arg-type]
        )
        self.clock.wait(self.clock.now() + 1_000)
        try:
            listing = self.exchange.listed[market]["BTCUSDT"]
            return wallet.place(wish, listing, self.clock.now())
        finally:
            self.exchange.tell(market)

    def account(self, name: str) -> Account:
        return self.exchange.accounts[name]

    def close(self) -> None:
        self.exchange.close()
