"""One account: its two wallets, and what its owner has set."""

from pathlib import Path

import msgspec

from seawall.core.errors import StoreError
from seawall.core.instruments import Kind
from seawall.exchange import refusals
from seawall.exchange.listing import Listing, Market
from seawall.exchange.market import PublicMarket
from seawall.exchange.wallet import Wallet
from seawall.venues.simulated.accounts import Position


class Choices(msgspec.Struct, kw_only=True):
    """What the owner set.

    Attributes:
        leverage, isolated: by symbol. hedge: two positions per contract.
        countdown: symbol → when all its orders are cancelled (ms UTC), unless it is put off.
    """

    leverage: dict[str, int] = {}
    isolated: dict[str, bool] = {}
    hedge: bool = False
    countdown: dict[str, int] = {}


class Account:
    """Who trades here.

    Args:
        folder: where it is kept. leverage: where nothing else was set.

    Raises:
        StoreError: what is kept there cannot be read.
    """

    def __init__(
        self, name: str, folder: Path, wallets: dict[Market, Wallet], leverage: int
    ) -> None:
        self.name = name
        self.wallets = wallets
        self._leverage = leverage
        self._path = folder / "choices.json"
        self.choices = Choices()
        try:
            if self._path.exists():
                self.choices = msgspec.json.decode(self._path.read_bytes(), type=Choices)
        except (OSError, msgspec.MsgspecError) as error:
            raise StoreError(
                f"{self._path} cannot be read ({error}); restore it or remove it"
            ) from None

    @property
    def spot(self) -> Wallet:
        """Its spot half."""
        return self.wallets[Market.SPOT]

    @property
    def usdm(self) -> Wallet:
        """Its futures half."""
        return self.wallets[Market.USDM]

    def close(self) -> None:
        """Let go of the logs."""
        for wallet in self.wallets.values():
            wallet.close()

    # --- what the owner sets ---

    def keep(self) -> None:
        """Write the choices, before anybody is told that they hold. StoreError: not possible."""
        temporary = self._path.with_suffix(".tmp")
        try:
            temporary.write_bytes(msgspec.json.encode(self.choices))
            temporary.replace(self._path)
        except OSError as error:
            raise StoreError(f"{self._path} cannot be written ({error.strerror})") from None

    def leverage(self, symbol: str) -> int:
        """Of a contract."""
        return self.choices.leverage.get(symbol, self._leverage)

    # --- margin ---

    def unrealised(self, listing: Listing, market: PublicMarket) -> int:
        """Profit or loss of a position at the mark, smallest units."""
        position = self.usdm.position(listing)
        mark = market.books[listing.symbol].mark
        if not position.lots or not mark:
            return 0
        value = listing.instrument.value(mark, abs(position.lots))
        return position.unrealised(listing.instrument.kind is Kind.INVERSE, value)

    def margins(
        self, market: PublicMarket, more: tuple[Listing, str, int, int] | None = None
    ) -> tuple[int, int]:
        """(margin balance, initial margin), smallest units of the settle asset of all contracts.

        Args:
            more: (listing, side, lots, ticks) of an order that is asked for beside the open ones.
        """
        assets = {each.instrument.settle_asset for each in self.usdm.listed.values()}
        balance = sum(self.usdm.balance(asset) for asset in assets)
        needed = 0
        for listing in self.usdm.listed.values():
            balance += self.unrealised(listing, market)
            needed += self.initial(listing, market, more)
        return balance, needed

    def initial(
        self,
        listing: Listing,
        market: PublicMarket,
        more: tuple[Listing, str, int, int] | None = None,
    ) -> int:
        """Initial margin of a contract, its open orders at their worst."""
        position: Position = self.usdm.position(listing)
        open_lots = {"BUY": 0, "SELL": 0}
        highest = market.books[listing.symbol].mark
        for record in self.usdm.open_of(listing.symbol):
            if not record.waits and not record.order.reduce_only:
                open_lots[record.wish.side] += record.left
        if more is not None and more[0] is listing:
            open_lots[more[1]] += more[2]
            highest = max(highest, more[3])
        lots = position.lots
        worst = max(abs(lots + open_lots["BUY"]), abs(lots - open_lots["SELL"]))
        if not worst:
            return 0
        return listing.instrument.value(highest, worst) // self.leverage(listing.symbol)

    def check_margin(
        self, market: PublicMarket, listing: Listing, side: str, lots: int, ticks: int
    ) -> None:
        """Refusal where the account cannot carry another order."""
        before = self.initial(listing, market)
        if self.initial(listing, market, (listing, side, lots, 0)) <= before:
            return
        balance, needed = self.margins(market, (listing, side, lots, ticks))
        if needed > balance:
            raise refusals.no_margin()
