"""What each exchange promises about orders: a row per exchange, from its published API.

An exchange without a row of its own gets the one that promises least.
"""

import re

import msgspec

from seawall.core.clock import SECOND
from seawall.core.errors import SettingError

RECV_WINDOW = "recv_window"  # milliseconds after the request's own time stamp
DEADLINE = "deadline"  # an absolute time in RFC 3339
EXP_TIME = "exp_time"  # an absolute time in milliseconds


class Terms(msgspec.Struct, frozen=True, kw_only=True):
    """What holds at one exchange.

    Attributes:
        client_id: what an id of ours may look like, a regular expression.
        dash: stands in for "-" where ids may hold letters and digits only.
        forever: an id is never accepted twice; else only while its order is open.
        expiry: how a request is told until when it may be accepted; "" where it cannot be.
        absence_ns: where there is no expiry: how long after it was sent a request may still turn
            up. Before that no answer "unknown order" is believed.
        refusals: errors beyond the general ones (see errors.py) with which the exchange proves
            that it did nothing; names of ccxt's classes.
        switch: the dead-man's switch: "account", "symbol" or "" where there is none.
        prevention: what asks for self-trade prevention on each order.
        weight_header, weight_limit: how much of the minute's weight is used, in lower case; and
            the weight of a minute. order_header, order_limit: the same for new orders in 10 s.
        trades_limit: most trades that one request gives.
        by_trade_id: trades can be asked for from an id on, with this parameter.
        wallet: the field of a derivatives account that holds the balance without open profit.
        realised: where a derivative's trade says what it realised; the first that is there counts.
        fee_asset: a coin that fees may be paid in, whatever is traded.
        decimals: of the smallest unit of any asset that its balances show.
        apart: orders that wait for a trigger are kept apart, and asked for with `trigger`.
        asks_by_client_id: one order can be asked for by our id; else the lists are searched.
        swap: what is added to ccxt's edit_order so that one request cancels an order which has
            filled nothing and places another; empty where there is no such request.
        private_data: market data are told to accounts only.
        directs: a contract's trigger is told which way the price must come.
        options: of ccxt's client.
        sends_as: the parameter of ccxt's create_order that carries our id.
        cancels_by: the parameter that names an order by our id in a cancel; "" where none does.
    """

    client_id: str
    dash: str = "-"
    forever: bool = False
    expiry: str = ""
    absence_ns: int = 180 * SECOND
    refusals: tuple[str, ...] = ()
    switch: str = ""
    prevention: tuple[tuple[str, str], ...] = ()
    weight_header: str = ""
    weight_limit: int = 0
    order_header: str = ""
    order_limit: int = 0
    trades_limit: int = 100
    by_trade_id: str = ""
    wallet: str = ""
    realised: tuple[str, ...] = ()
    fee_asset: str = ""
    decimals: int = 18
    apart: bool = False
    asks_by_client_id: bool = False
    directs: bool = False
    options: tuple[tuple[str, str], ...] = ()
    sends_as: str = "clientOrderId"
    cancels_by: str = ""
    swap: tuple[tuple[str, str], ...] = ()
    private_data: bool = False


# Binance: a request is refused once the server's clock has passed timestamp + recvWindow; 429 and
# 418 come from the limiter before the request is looked at. Ids are unique among open orders.
_BINANCE = Terms(
    client_id=r"[.A-Z:/a-z0-9_-]{1,36}",
    expiry=RECV_WINDOW,
    absence_ns=0,
    refusals=("RateLimitExceeded", "DDoSProtection", "InvalidNonce"),
    prevention=(("selfTradePreventionMode", "EXPIRE_MAKER"),),
    weight_header="x-mbx-used-weight-1m",
    weight_limit=6_000,
    order_header="x-mbx-order-count-10s",
    order_limit=100,
    trades_limit=1_000,
    by_trade_id="fromId",
    fee_asset="BNB",
    decimals=8,
    asks_by_client_id=True,
    cancels_by="clientOrderId",
)
TERMS: dict[str, Terms] = {
    # cancelReplace: with ONLY_NEW an order that has filled a part stays, and nothing is placed.
    "binance": msgspec.structs.replace(_BINANCE, swap=(("cancelRestrictions", "ONLY_NEW"),)),
    "binanceusdm": msgspec.structs.replace(
        _BINANCE,
        switch="symbol",
        apart=True,
        weight_limit=2_400,
        order_limit=300,
        wallet="walletBalance",
        realised=("realizedPnl", "rp"),
    ),
    # Kraken: cl_ord_id is free text up to 18 characters; `deadline` is 2 s to 60 s ahead; the
    # counter of EAPI and EOrder limits refuses before anything is done.
    "kraken": Terms(
        client_id=r"[A-Za-z0-9_-]{1,18}",
        expiry=DEADLINE,
        absence_ns=0,
        refusals=("RateLimitExceeded", "DDoSProtection", "InvalidNonce"),
        switch="account",
        prevention=(("stptype", "cancel-newest"),),
        trades_limit=50,
        decimals=10,
        cancels_by="clientOrderId",
    ),
    # Coinbase: a request's token is good for 120 s and nothing shortens that; an id that was used
    # gives its old order again. ccxt drops an id that it is given by its own word for it.
    "coinbase": Terms(
        client_id=r"[A-Za-z0-9_-]{1,64}",
        forever=True,
        absence_ns=150 * SECOND,
        refusals=("RateLimitExceeded",),
        trades_limit=250,
        sends_as="client_order_id",
        options=(("fetchBalance", "v3PrivateGetBrokerageAccounts"),),  # else wallets, one page
    ),
    # OKX: expTime is the gateway's clock in milliseconds; ids are letters and digits only.
    "okx": Terms(
        client_id=r"[A-Za-z0-9]{1,32}",
        dash="Z",
        expiry=EXP_TIME,
        absence_ns=0,
        refusals=("RateLimitExceeded",),
        switch="account",
        prevention=(("selfTradePrevention", "EXPIRE_MAKER"),),
        wallet="cashBal",
        apart=True,
        realised=("fillPnl",),
        asks_by_client_id=True,
        cancels_by="clientOrderId",
    ),
    # Bybit: recv_window as at Binance; ids were unique for ever only among orders still on record.
    "bybit": Terms(
        client_id=r"[A-Za-z0-9_-]{1,36}",
        expiry=RECV_WINDOW,
        absence_ns=0,
        refusals=("RateLimitExceeded", "InvalidNonce"),
        prevention=(("smpType", "CancelMaker"),),
        wallet="walletBalance",
        realised=("execPnl",),
        cancels_by="orderLinkId",
        directs=True,
    ),
    # Alpaca: an id is refused for ever once it was used; nothing says how long a request may take.
    # 200 requests a minute; all trades from a time on come in one answer of our client.
    "alpaca": Terms(
        client_id=r"[A-Za-z0-9_-]{1,128}",
        forever=True,
        refusals=("RateLimitExceeded",),
        weight_header="x-ratelimit-used",
        weight_limit=200,
        trades_limit=1_000_000,
        decimals=9,
        asks_by_client_id=True,
        private_data=True,
    ),
}
CONSERVATIVE = Terms(client_id=r"[A-Za-z0-9-]{1,18}")


def terms_of(exchange: str) -> Terms:
    """The row of an exchange, by its ccxt name."""
    return TERMS.get(exchange, CONSERVATIVE)


def outward(terms: Terms, client_id: str) -> str:
    """Our id as the exchange takes it; SettingError where it cannot."""
    name = client_id.replace("-", terms.dash)
    if not re.fullmatch(terms.client_id, name):
        raise SettingError(
            f"{client_id!r} cannot be an order's id there; start with a new data folder"
        )
    return name


def inward(terms: Terms, client_id: str) -> str:
    """The exchange's word for an id as ours; an id that is not ours may come out changed."""
    return client_id if terms.dash == "-" else client_id.replace(terms.dash, "-")
