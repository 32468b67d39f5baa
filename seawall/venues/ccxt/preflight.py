"""Before the first order: whether an account is as the settings take it to be, look by look.

A finding stops a live run where orders could do what nobody meant: a key that can withdraw, a
hedged account, an unknown symbol, a clock that is off.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from seawall.core.clock import SECOND, Clock
from seawall.core.errors import VenueUnreachableError
from seawall.venues.ccxt.budget import READ
from seawall.venues.ccxt.client import Account
from seawall.venues.ccxt.desk import Desk
from seawall.venues.ccxt.errors import said
from seawall.venues.ccxt.link import skew_of

GOOD, WARNING, STOP = "good", "warning", "stop"
PPM = 1_000_000


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One look. `level`: of GOOD, WARNING, STOP. `text`: a line that says what to do."""

    look: str
    level: str
    text: str


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What the settings take an account to be.

    Attributes:
        leverage: highest that positions may need. largest: value of the largest position, quote
            units. maker_ppm, taker_ppm: fees that decisions reckon with.
    """

    leverage: float
    largest: float
    maker_ppm: int
    taker_ppm: int


class Preflight:
    """The looks at one account, in the network's loop."""

    def __init__(
        self,
        account: Account,
        desk: Desk,
        clock: Clock,
        expected: Expected,
        secrets: tuple[str, ...],
    ) -> None:
        self._account = account
        self._desk = desk
        self._client = desk.client
        self._clock = clock
        self._expected = expected
        self._secrets = secrets

    async def run(self) -> list[Finding]:
        """All looks that concern this account, in a fixed order."""
        looks = [
            ("clock", self._clock_look),
            ("key permissions", self._permissions),
            ("symbols", self._symbols),
            ("fees", self._fees),
            ("self-trade prevention", self._prevention),
            ("dead-man's switch", self._switch),
        ]
        if self._account.product != "spot":
            looks[2:2] = [
                ("position mode", self._position_mode),
                ("margin mode", self._margin_mode),
                ("leverage", self._leverage),
            ]
        found = []
        for name, look in looks:
            try:
                level, text = await look()
            except VenueUnreachableError as error:
                level, text = STOP, str(error)
            except Exception as error:  # noqa: BLE001  ccxt raises what it likes; all of it is told
                unable = type(error).__name__ == "NotSupported"
                level = WARNING if unable else STOP
                text = f"could not be looked at: {said(error, self._secrets)}"
            found.append(Finding(look=name, level=level, text=text))
        return found

    async def _clock_look(self) -> tuple[str, str]:
        if not self._client.has.get("fetchTime"):
            return WARNING, "the exchange does not tell its time, so ours could not be compared"
        offset = self._desk.offset
        if skew := skew_of(offset, self._account.name):
            return STOP, skew
        return GOOD, f"within {abs(offset) / SECOND:.3f} s of the exchange's"

    async def _permissions(self) -> tuple[str, str]:
        read = _PERMISSIONS.get(self._account.exchange)
        if read is None:
            return (
                WARNING,
                "the exchange does not say what the key may do; make sure that it " + _NO,
            )
        name, may = read
        answer = await self._desk.ask(READ, name)
        can_withdraw, can_trade = may(answer, self._account.product)
        if can_withdraw:
            return STOP, (
                "this key can withdraw money, so it is not used; make one that can trade only, and "
                f"replace it with `seawall keys add {self._account.keys}`"
            )
        if not can_trade:
            return STOP, f"this key may not trade {self._account.product}; allow it at the exchange"
        return GOOD, "the key can trade and cannot withdraw"

    async def _symbols(self) -> tuple[str, str]:
        for symbol in self._desk.instruments:
            market = self._client.markets.get(symbol)
            if market is None:
                return STOP, f"the exchange does not list {symbol}; correct feed.symbols"
            if market.get("active") is False:
                return STOP, f"{symbol} is not traded at present; leave it out of feed.symbols"
            least = ((market.get("limits") or {}).get("cost") or {}).get("min")
            if least is not None and float(least) > self._expected.largest:
                return STOP, (
                    f"the smallest order of {symbol} is {least} {market['quote']}, and the largest "
                    f"position that risk allows is {self._expected.largest:.2f}; raise capital or "
                    "risk.max_position_size"
                )
        return GOOD, f"{', '.join(self._desk.instruments)}: listed, traded, above the least order"

    async def _fees(self) -> tuple[str, str]:
        symbol = next(iter(self._desk.instruments))
        fee = await self._desk.ask(READ, "fetch_trading_fee", symbol)
        maker, taker = (round(float(fee.get(side) or 0) * PPM) for side in ("maker", "taker"))
        told = f"maker {maker} ppm, taker {taker} ppm"
        coin = self._account.terms.fee_asset
        priced = any(i.base == coin for i in self._desk.instruments.values())
        if coin and not priced and (await self._desk.balances()).get(coin):
            return WARNING, (
                f"{told}; the account holds {coin}, which may pay fees, and no symbol prices it: "
                f"they are booked in {coin} and count in no profit; add {coin}/USDT to "
                "feed.symbols, or switch that off at the exchange"
            )
        if maker > self._expected.maker_ppm or taker > self._expected.taker_ppm:
            return WARNING, (
                f"{told}: more than the settings reckon with ({self._expected.maker_ppm} and "
                f"{self._expected.taker_ppm}); set venue.maker_fee_ppm and venue.taker_fee_ppm"
            )
        return GOOD, told

    async def _prevention(self) -> tuple[str, str]:
        if self._account.terms.prevention:
            name, value = self._account.terms.prevention[0]
            return GOOD, f"asked for on each order ({name} {value})"
        return WARNING, "the exchange is not asked for it on orders; look at the account's setting"

    async def _switch(self) -> tuple[str, str]:
        if self._account.terms.switch:
            return GOOD, "offered; a live run arms it"
        return WARNING, "not offered: what is open stays open if this machine dies"

    async def _position_mode(self) -> tuple[str, str]:
        symbol = next(iter(self._desk.instruments))
        mode = await self._desk.ask(READ, "fetch_position_mode", symbol)
        if mode.get("hedged"):
            return STOP, "hedge mode: long and short are held apart; set one-way mode"
        return GOOD, "one way"

    async def _margin_mode(self) -> tuple[str, str]:
        modes = {}
        for symbol in self._desk.instruments:
            found = await self._desk.ask(READ, "fetch_margin_mode", symbol)
            modes[symbol] = str(found.get("marginMode"))
        told = ", ".join(f"{symbol} {mode}" for symbol, mode in modes.items())
        if any(mode != "cross" for mode in modes.values()):
            return WARNING, f"{told}: sizes reckon with the whole wallet, so set cross margin"
        return GOOD, told

    async def _leverage(self) -> tuple[str, str]:
        told = []
        for symbol in self._desk.instruments:
            tiers = await self._desk.ask(READ, "fetch_leverage_tiers", [symbol])
            most = _highest(tiers.get(symbol) or [], self._expected.largest)
            if most and most < self._expected.leverage:
                return STOP, (
                    f"{symbol} allows leverage {most:g} for a position of "
                    f"{self._expected.largest:.0f}; lower risk.max_leverage, which is "
                    f"{self._expected.leverage:g}"
                )
            told.append(f"{symbol} up to {most:g}")
        return GOOD, ", ".join(told)


_NO = "cannot withdraw"


def _highest(tiers: list[Mapping[str, Any]], notional: float) -> float:
    """The leverage of the bracket that a position falls in; 0 where there are no brackets."""
    for tier in tiers:
        top = tier.get("maxNotional")
        if top is None or notional <= float(top):
            return float(tier.get("maxLeverage") or 0)
    return float(tiers[-1].get("maxLeverage") or 0) if tiers else 0.0


def _binance(answer: Any, product: str) -> tuple[bool, bool]:
    trade = "enableSpotAndMarginTrading" if product == "spot" else "enableFutures"
    return bool(answer.get("enableWithdrawals")), bool(answer.get(trade))


def _okx(answer: Any, product: str) -> tuple[bool, bool]:
    may = str(answer["data"][0].get("perm", "")).split(",")
    return "withdraw" in may, "trade" in may


def _bybit(answer: Any, product: str) -> tuple[bool, bool]:
    may = answer["result"]["permissions"]
    part = "Spot" if product == "spot" else "ContractTrade"
    writes = str(answer["result"].get("readOnly")) == "0"
    return "Withdraw" in (may.get("Wallet") or []), bool(may.get(part)) and writes


def _coinbase(answer: Any, product: str) -> tuple[bool, bool]:
    return bool(answer.get("can_transfer")), bool(answer.get("can_trade"))


def _kraken(answer: Any, product: str) -> tuple[bool, bool]:
    may = [str(one).replace("_", "-").lower() for one in answer["result"].get("permissions") or []]
    withdraw = any("withdraw" in one and "query" not in one for one in may)
    return withdraw, any(one in ("modify-trades", "create-orders", "modify-orders") for one in may)


def _alpaca(answer: Any, product: str) -> tuple[bool, bool]:
    return bool(answer["withdraw"]), bool(answer["trade"])


# exchange → the request that tells what a key may do, and how its answer is read.
_PERMISSIONS = {
    "binance": ("sapiGetAccountApiRestrictions", _binance),
    "okx": ("privateGetAccountConfig", _okx),
    "bybit": ("privateGetV5UserQueryApi", _bybit),
    "coinbase": ("v3PrivateGetBrokerageKeyPermissions", _coinbase),
    "kraken": ("privatePostGetApiKeyInfo", _kraken),
    "alpaca": ("fetch_standing", _alpaca),
}
