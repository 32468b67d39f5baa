"""Market data over REST: what both markets answer without a key."""

from collections.abc import Iterable
from typing import Any

from seawall.core.clock import MILLISECOND, MINUTE
from seawall.exchange import refusals
from seawall.exchange.answers import Json
from seawall.exchange.calls import Call, Endpoint
from seawall.exchange.candles import INTERVALS, Candle, opening
from seawall.exchange.listing import (
    FUTURES_BAND,
    LARGEST_LOTS,
    LARGEST_TICKS,
    MIN_NOTIONAL,
    MOST_ORDERS,
    MOST_STOPS,
    SPOT_BAND,
    Listing,
    Market,
    plain,
)
from seawall.exchange.market import Book, Trade
from seawall.exchange.orders import FUTURES_TYPES, TYPES

MODES = ("EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH")
SPOT_DEPTHS = ((100, 5), (500, 25), (1_000, 50), (5_000, 250))  # (limit, weight)
USDM_DEPTHS = ((50, 2), (100, 5), (500, 10), (1_000, 20))


def _ping(call: Call) -> Json:
    return {}


def _time(call: Call) -> Json:
    return {"serverTime": call.now}


# --- exchangeInfo ---


def _limits(call: Call) -> list[Json]:
    terms, futures = call.exchange.terms, call.market is Market.USDM
    rows = [("REQUEST_WEIGHT", "MINUTE", 1, terms.limit(call.market))]
    rows.append(("ORDERS", "SECOND", 10, terms.orders_10s[futures]))
    if futures:
        rows.append(("ORDERS", "MINUTE", 1, terms.orders_minute))
    else:
        rows.append(("ORDERS", "DAY", 1, terms.orders_day))
    return [
        {"rateLimitType": kind, "interval": interval, "intervalNum": count, "limit": limit}
        for kind, interval, count, limit in rows
    ]


def _wanted(call: Call) -> list[Listing]:
    listed = call.exchange.listed[call.market]
    text = call.text("symbols")
    if text is None:
        one = call.listing_if_any()
        return [one] if one else list(listed.values())
    names = [name.strip().strip('"') for name in text.strip("[]").split(",")]
    if not all(name in listed for name in names):
        raise refusals.bad_symbol()
    return [listed[name] for name in names]


def _filters(listing: Listing) -> list[Json]:
    largest = listing.size(LARGEST_LOTS)
    lot = {"minQty": listing.size(1), "maxQty": largest, "stepSize": listing.size(1)}
    price = {
        "filterType": "PRICE_FILTER",
        "minPrice": listing.price(1),
        "maxPrice": listing.price(LARGEST_TICKS),
        "tickSize": listing.price(1),
    }
    if listing.futures:
        low, high = FUTURES_BAND
        return [
            price,
            {"filterType": "LOT_SIZE", **lot},
            {"filterType": "MARKET_LOT_SIZE", **lot},
            {"filterType": "MAX_NUM_ORDERS", "limit": MOST_ORDERS},
            {"filterType": "MAX_NUM_ALGO_ORDERS", "limit": MOST_STOPS},
            {"filterType": "MIN_NOTIONAL", "notional": str(MIN_NOTIONAL)},
            {
                "filterType": "PERCENT_PRICE",
                "multiplierUp": str(high),
                "multiplierDown": str(low),
                "multiplierDecimal": "4",
            },
        ]
    down, up = SPOT_BAND
    return [
        price,
        {"filterType": "LOT_SIZE", **lot},
        {"filterType": "MARKET_LOT_SIZE", **lot},
        {
            "filterType": "PERCENT_PRICE_BY_SIDE",
            "bidMultiplierUp": str(up),
            "bidMultiplierDown": str(down),
            "askMultiplierUp": str(up),
            "askMultiplierDown": str(down),
            "avgPriceMins": 0,
        },
        {
            "filterType": "NOTIONAL",
            "minNotional": f"{MIN_NOTIONAL}.00000000",
            "applyMinToMarket": True,
            "maxNotional": "9000000.00000000",
            "applyMaxToMarket": False,
            "avgPriceMins": 0,
        },
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": MOST_ORDERS},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": MOST_STOPS},
    ]


def _symbol(listing: Listing) -> Json:
    instrument = listing.instrument
    common = {
        "symbol": listing.symbol,
        "status": "TRADING",
        "baseAsset": instrument.base,
        "quoteAsset": instrument.quote,
        "filters": _filters(listing),
    }
    if not listing.futures:
        return common | {
            "baseAssetPrecision": instrument.base_decimals,
            "quotePrecision": instrument.settle_decimals,
            "quoteAssetPrecision": instrument.settle_decimals,
            "baseCommissionPrecision": instrument.base_decimals,
            "quoteCommissionPrecision": instrument.settle_decimals,
            "orderTypes": list(TYPES),
            "icebergAllowed": False,
            "ocoAllowed": False,
            "otoAllowed": False,
            "quoteOrderQtyMarketAllowed": True,
            "allowTrailingStop": True,
            "cancelReplaceAllowed": True,
            "amendAllowed": False,
            "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": False,
            "permissions": [],
            "permissionSets": [["SPOT"]],
            "defaultSelfTradePreventionMode": MODES[0],
            "allowedSelfTradePreventionModes": list(MODES),
        }
    return common | {
        "pair": listing.symbol,
        "contractType": "PERPETUAL",
        "deliveryDate": 4133404800000,
        "onboardDate": 0,
        "maintMarginPercent": "0.4000",
        "requiredMarginPercent": "0.8000",
        "marginAsset": instrument.settle_asset,
        "pricePrecision": listing.price_decimals,
        "quantityPrecision": listing.size_decimals,
        "baseAssetPrecision": instrument.base_decimals,
        "quotePrecision": instrument.settle_decimals,
        "underlyingType": "COIN",
        "underlyingSubType": [],
        "settlePlan": 0,
        "triggerProtect": "0.0500",
        "liquidationFee": "0.012500",
        "marketTakeBound": "0.05",
        "orderTypes": list(FUTURES_TYPES),
        "timeInForce": ["GTC", "IOC", "FOK", "GTX", "GTD"],
    }


def _exchange_info(call: Call) -> Json:
    listed = _wanted(call)
    answer: Json = {
        "timezone": "UTC",
        "serverTime": call.now,
        "rateLimits": _limits(call),
        "exchangeFilters": [],
        "symbols": [_symbol(each) for each in listed],
    }
    if call.market is Market.USDM:
        assets = sorted({each.instrument.settle_asset for each in listed})
        answer["assets"] = [
            {"asset": asset, "marginAvailable": True, "autoAssetExchange": "0"} for asset in assets
        ]
        answer["futuresType"] = "U_MARGINED"
    return answer


def _no_coin_margined(call: Call) -> Json:
    """Clients look for COIN-M contracts too: there are none."""
    return _exchange_info(call) | {"symbols": []}


# --- books and trades ---


def _depth_weight(call: Call) -> int:
    futures = call.market is Market.USDM
    limit = call.most(500 if futures else 100, 5_000)
    table = USDM_DEPTHS if futures else SPOT_DEPTHS
    return next((weight for most, weight in table if limit <= most), table[-1][1])


def levels(listing: Listing, rows: Iterable[tuple[int, int]]) -> list[list[str]]:
    """Levels of a book as the protocol writes them."""
    return [[listing.price(price), listing.size(lots)] for price, lots in rows]


def depth(call: Call) -> Json:
    """A snapshot; the diffs that were due before it go out first."""
    book = call.book()
    futures = call.market is Market.USDM
    most = call.most(500 if futures else 100, 1_000 if futures else 5_000)
    call.exchange.commit(book)
    bids, asks = book.depth(most)
    answer: Json = {"lastUpdateId": book.update}
    if futures:
        answer |= {"E": call.now, "T": book.changed // MILLISECOND}
    answer["bids"] = levels(book.listing, bids)
    answer["asks"] = levels(book.listing, asks)
    return answer


def _trades(call: Call) -> list[Json]:
    book = call.book()
    most = call.most(500, 1_000)
    return [_trade(book.listing, each) for each in list(book.trades)[-most:]]


def _trade(listing: Listing, trade: Trade) -> Json:
    value = listing.instrument.value(trade.price, trade.lots)
    answer = {
        "id": trade.number,
        "price": listing.price(trade.price),
        "qty": listing.size(trade.lots),
        "quoteQty": listing.amount(value),
        "time": trade.ms,
        "isBuyerMaker": not trade.buyer_takes,
    }
    return answer if listing.futures else answer | {"isBestMatch": True}


def aggregate(listing: Listing, trade: Trade) -> Json:
    """A trade as an aggregate of one."""
    return {
        "a": trade.number,
        "p": listing.price(trade.price),
        "q": listing.size(trade.lots),
        "f": trade.number,
        "l": trade.number,
        "T": trade.ms,
        "m": not trade.buyer_takes,
    }


def _aggregates(call: Call) -> list[Json]:
    book = call.book()
    begin, end, first = call.integer("startTime"), call.integer("endTime"), call.integer("fromId")
    found = [
        each
        for each in book.trades
        if (begin is None or each.ms >= begin)
        and (end is None or each.ms <= end)
        and (first is None or each.number >= first)
    ]
    most = call.most(500, 1_000)
    chosen = found[-most:] if begin is None and first is None else found[:most]
    return [aggregate(book.listing, each) for each in chosen]


# --- candles and tickers ---


def candle_row(listing: Listing, candle: Candle, interval: str) -> list[Any]:
    """A candle as `klines` gives it."""
    instrument = listing.instrument
    end = opening(candle.opened, interval) + INTERVALS[interval] - 1
    unit = instrument.cash_unit.numerator
    return [
        candle.opened,
        listing.price(candle.open),
        listing.price(candle.high),
        listing.price(candle.low),
        listing.price(candle.close),
        listing.size(candle.volume),
        end,
        listing.amount(candle.value * unit),
        candle.trades,
        listing.size(candle.bought),
        listing.amount(candle.bought_value * unit),
        "0",
    ]


def _klines(call: Call) -> list[list[Any]]:
    book = call.book()
    interval = call.need("interval")
    if interval not in INTERVALS or (interval == "1s" and call.market is Market.USDM):
        raise refusals.bad_interval()
    begin, end = call.integer("startTime"), call.integer("endTime")
    candles = book.candles.of(interval, begin, end, call.most(500, 1_500))
    return [candle_row(book.listing, each, interval) for each in candles]


def _mark_klines(call: Call) -> list[list[Any]]:
    if not call.params.get("symbol"):
        call = Call(call.exchange, call.market, {**call.params, "symbol": call.need("pair")})
    return _klines(call)


def ticker(book: Book, now: int) -> Json:
    """The last 24 hours of a symbol."""
    listing = book.listing
    last = book.last or book.mark
    day = book.candles.day(now) or Candle(now, last, last, last, last)
    bid, bid_lots, ask, ask_lots = book.top()
    change = day.close - day.open
    percent = 100 * change / day.open if day.open else 0.0
    unit = listing.instrument.cash_unit.numerator
    newest = book.trades[-1] if book.trades else None
    answer = {
        "symbol": listing.symbol,
        "priceChange": listing.price(change),
        "priceChangePercent": f"{percent:.3f}",
        "weightedAvgPrice": listing.average(day.value * unit, day.volume),
        "lastPrice": listing.price(last),
        "lastQty": listing.size(newest.lots if newest else 0),
        "openPrice": listing.price(day.open),
        "highPrice": listing.price(day.high),
        "lowPrice": listing.price(day.low),
        "volume": listing.size(day.volume),
        "quoteVolume": listing.amount(day.value * unit),
        "openTime": now - 86_400_000,
        "closeTime": now,
        "firstId": day.first,
        "lastId": day.last,
        "count": day.trades,
    }
    if not listing.futures:
        answer |= {
            "prevClosePrice": listing.price(day.open),
            "bidPrice": listing.price(bid),
            "bidQty": listing.size(bid_lots),
            "askPrice": listing.price(ask),
            "askQty": listing.size(ask_lots),
        }
    return answer


def _each(call: Call, one: Any) -> Any:
    """The answer for the call's symbol, or a list for all."""
    if call.params.get("symbol"):
        return one(call.book())
    return [one(call.public.books[each.symbol]) for each in _wanted(call)]


def _tickers(call: Call) -> Any:
    return _each(call, lambda book: ticker(book, call.now))


def _prices(call: Call) -> Any:
    def one(book: Book) -> Json:
        answer: Json = {
            "symbol": book.listing.symbol,
            "price": book.listing.price(book.last or book.mark),
        }
        return answer | {"time": call.now} if book.listing.futures else answer

    return _each(call, one)


def book_ticker(book: Book) -> Json:
    """Best bid and ask of a symbol."""
    listing = book.listing
    bid, bid_lots, ask, ask_lots = book.top()
    answer = {
        "symbol": listing.symbol,
        "bidPrice": listing.price(bid),
        "bidQty": listing.size(bid_lots),
        "askPrice": listing.price(ask),
        "askQty": listing.size(ask_lots),
    }
    return answer | {"time": book.changed // MILLISECOND} if listing.futures else answer


def _book_tickers(call: Call) -> Any:
    return _each(call, book_ticker)


def _average(call: Call) -> Json:
    book = call.book()
    return {
        "mins": 5,
        "price": book.listing.price(book.mark),
        "closeTime": book.changed // MILLISECOND,
    }


# --- funding ---


def funding_rate(call: Call) -> str:
    """What is paid at a funding time, as a fraction."""
    return plain(call.exchange.terms.funding_ppm * 100, 8)


def premium(call: Call, book: Book) -> Json:
    """Mark, index and funding of a contract."""
    mark = book.listing.price(book.mark)
    return {
        "symbol": book.listing.symbol,
        "markPrice": mark,
        "indexPrice": mark,
        "estimatedSettlePrice": mark,
        "lastFundingRate": funding_rate(call),
        "interestRate": funding_rate(call),
        "nextFundingTime": call.exchange.terms.funding_after(call.exchange.clock.now())
        // MILLISECOND,
        "time": call.now,
    }


def _premiums(call: Call) -> Any:
    return _each(call, lambda book: premium(call, book))


def _funding_history(call: Call) -> list[Json]:
    span = call.exchange.terms.funding_minutes * MINUTE // MILLISECOND
    begin, end = call.integer("startTime"), call.integer("endTime")
    opened = call.exchange.opened // MILLISECOND
    first = (max(begin or 0, opened) // span + 1) * span
    last = min(end or call.now, call.now)
    rows = [
        {
            "symbol": listing.symbol,
            "fundingRate": funding_rate(call),
            "fundingTime": ms,
            "markPrice": call.public.books[listing.symbol].listing.price(
                call.public.books[listing.symbol].mark
            ),
        }
        for listing in _wanted(call)
        for ms in range(first, last + 1, span)
    ]
    return rows[: call.most(100, 1_000)]


def _funding_info(call: Call) -> list[Json]:
    hours = call.exchange.terms.funding_minutes / 60
    return [
        {
            "symbol": each.symbol,
            "adjustedFundingRateCap": "0.02000000",
            "adjustedFundingRateFloor": "-0.02000000",
            "fundingIntervalHours": int(hours) if hours.is_integer() else hours,
            "disclaimer": False,
        }
        for each in _wanted(call)
    ]


def _open_interest(call: Call) -> Json:
    book = call.book()
    held = sum(
        abs(account.usdm.position(book.listing).lots) for account in call.exchange.accounts.values()
    )
    return {
        "symbol": book.listing.symbol,
        "openInterest": book.listing.size(held),
        "time": call.now,
    }


def _all_or_one(one: int, every: int) -> Any:
    return lambda call: one if call.params.get("symbol") else every


def endpoints() -> dict[tuple[str, str], Endpoint]:
    """(method, path) → what answers."""
    spot, usdm = Market.SPOT, Market.USDM
    found = {
        ("GET", "/api/v3/ping"): Endpoint(_ping, spot),
        ("GET", "/api/v3/time"): Endpoint(_time, spot),
        ("GET", "/api/v3/exchangeInfo"): Endpoint(_exchange_info, spot, weight=20),
        ("GET", "/api/v3/depth"): Endpoint(depth, spot, weight=_depth_weight),
        ("GET", "/api/v3/trades"): Endpoint(_trades, spot, weight=25),
        ("GET", "/api/v3/historicalTrades"): Endpoint(_trades, spot, weight=25),
        ("GET", "/api/v3/aggTrades"): Endpoint(_aggregates, spot, weight=4),
        ("GET", "/api/v3/klines"): Endpoint(_klines, spot, weight=2),
        ("GET", "/api/v3/uiKlines"): Endpoint(_klines, spot, weight=2),
        ("GET", "/api/v3/avgPrice"): Endpoint(_average, spot, weight=2),
        ("GET", "/api/v3/ticker/24hr"): Endpoint(_tickers, spot, weight=_all_or_one(2, 80)),
        ("GET", "/api/v3/ticker"): Endpoint(_tickers, spot, weight=4),
        ("GET", "/api/v3/ticker/price"): Endpoint(_prices, spot, weight=_all_or_one(2, 4)),
        ("GET", "/api/v3/ticker/bookTicker"): Endpoint(
            _book_tickers, spot, weight=_all_or_one(2, 4)
        ),
        ("GET", "/fapi/v1/ping"): Endpoint(_ping, usdm),
        ("GET", "/fapi/v1/time"): Endpoint(_time, usdm),
        ("GET", "/fapi/v1/exchangeInfo"): Endpoint(_exchange_info, usdm),
        ("GET", "/dapi/v1/exchangeInfo"): Endpoint(_no_coin_margined, usdm),
        ("GET", "/fapi/v1/depth"): Endpoint(depth, usdm, weight=_depth_weight),
        ("GET", "/fapi/v1/trades"): Endpoint(_trades, usdm, weight=5),
        ("GET", "/fapi/v1/historicalTrades"): Endpoint(_trades, usdm, weight=20),
        ("GET", "/fapi/v1/aggTrades"): Endpoint(_aggregates, usdm, weight=20),
        ("GET", "/fapi/v1/klines"): Endpoint(_klines, usdm, weight=2),
        ("GET", "/fapi/v1/markPriceKlines"): Endpoint(_mark_klines, usdm, weight=2),
        ("GET", "/fapi/v1/indexPriceKlines"): Endpoint(_mark_klines, usdm, weight=2),
        ("GET", "/fapi/v1/ticker/24hr"): Endpoint(_tickers, usdm, weight=_all_or_one(1, 40)),
        ("GET", "/fapi/v1/ticker/bookTicker"): Endpoint(
            _book_tickers, usdm, weight=_all_or_one(2, 5)
        ),
        ("GET", "/fapi/v1/premiumIndex"): Endpoint(_premiums, usdm, weight=_all_or_one(1, 10)),
        ("GET", "/fapi/v1/fundingRate"): Endpoint(_funding_history, usdm),
        ("GET", "/fapi/v1/fundingInfo"): Endpoint(_funding_info, usdm),
        ("GET", "/fapi/v1/openInterest"): Endpoint(_open_interest, usdm),
    }
    for version in ("v1", "v2"):
        path = f"/fapi/{version}/ticker/price"
        found["GET", path] = Endpoint(_prices, usdm, weight=_all_or_one(1, 2))
    return found
