"""USD-M: the account, its positions, what it has set, and what it earned."""

from fractions import Fraction
from typing import Any

from seawall.core.clock import MILLISECOND
from seawall.exchange import refusals
from seawall.exchange.answers import Json, entry_price
from seawall.exchange.calls import Call, Endpoint, Security
from seawall.exchange.listing import Listing, Market, decimal_text, plain
from seawall.exchange.terms import HIGHEST_LEVERAGE, MAINTENANCE_PPM

NOTIONAL_CAP = 1_000_000_000  # quote units; there is one bracket
MAINTENANCE = Fraction(MAINTENANCE_PPM, 1_000_000)


def _money(units: int) -> str:
    return decimal_text(units, 8)


def _assets(call: Call) -> list[str]:
    return sorted({each.instrument.settle_asset for each in call.wallet.listed.values()})


def _maintenance(call: Call, listing: Listing) -> int:
    lots = abs(call.wallet.position(listing).lots)
    mark = call.public.books[listing.symbol].mark
    return int(listing.instrument.value(mark, lots) * MAINTENANCE) if lots else 0


def _liquidation(call: Call, listing: Listing) -> str:
    """The mark at which the account could not carry the position, all else being equal."""
    position = call.wallet.position(listing)
    mark = call.public.books[listing.symbol].mark
    if not position.lots or not mark:
        return "0"
    balance, _ = call.owner.margins(call.public)
    unit = listing.instrument.cash_unit.numerator  # of a tick and a lot
    lots = position.lots * unit
    price = (lots * mark - balance) / (lots - MAINTENANCE * abs(lots))
    return listing.price(max(0, round(price)))


# --- balances ---


def _asset_row(call: Call, asset: str) -> Json:
    account, wallet, public = call.owner, call.wallet, call.public
    mine = [each for each in wallet.listed.values() if each.instrument.settle_asset == asset]
    unrealised = sum(account.unrealised(each, public) for each in mine)
    initial = sum(account.initial(each, public) for each in mine)
    balance = wallet.balance(asset)
    available = max(0, balance + unrealised - initial)
    return {
        "asset": asset,
        "walletBalance": _money(balance),
        "unrealizedProfit": _money(unrealised),
        "marginBalance": _money(balance + unrealised),
        "maintMargin": _money(sum(_maintenance(call, each) for each in mine)),
        "initialMargin": _money(initial),
        "positionInitialMargin": _money(initial),
        "openOrderInitialMargin": _money(0),
        "crossWalletBalance": _money(balance),
        "crossUnPnl": _money(unrealised),
        "availableBalance": _money(available),
        "maxWithdrawAmount": _money(min(available, balance)),
        "marginAvailable": True,
        "updateTime": wallet.updated,
    }


def _balance(call: Call) -> list[Json]:
    rows = []
    for asset in _assets(call):
        row = _asset_row(call, asset)
        rows.append(
            {
                "accountAlias": "seawall",
                "asset": asset,
                "balance": row["walletBalance"],
                "crossWalletBalance": row["crossWalletBalance"],
                "crossUnPnl": row["crossUnPnl"],
                "availableBalance": row["availableBalance"],
                "maxWithdrawAmount": row["maxWithdrawAmount"],
                "marginAvailable": True,
                "updateTime": row["updateTime"],
            }
        )
    return rows


def _account(call: Call) -> Json:
    rows = [_asset_row(call, asset) for asset in _assets(call)]
    totals = {
        name: _money(sum(int(row[key].replace(".", "")) for row in rows))
        for name, key in (
            ("totalInitialMargin", "initialMargin"),
            ("totalMaintMargin", "maintMargin"),
            ("totalWalletBalance", "walletBalance"),
            ("totalUnrealizedProfit", "unrealizedProfit"),
            ("totalMarginBalance", "marginBalance"),
            ("totalPositionInitialMargin", "positionInitialMargin"),
            ("totalOpenOrderInitialMargin", "openOrderInitialMargin"),
            ("totalCrossWalletBalance", "crossWalletBalance"),
            ("totalCrossUnPnl", "crossUnPnl"),
            ("availableBalance", "availableBalance"),
            ("maxWithdrawAmount", "maxWithdrawAmount"),
        )
    }
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": False,
        "canWithdraw": False,
        "multiAssetsMargin": False,
        "tradeGroupId": -1,
        "updateTime": call.wallet.updated,
        **totals,
        "assets": rows,
        "positions": [_position(call, each) for each in call.wallet.listed.values()],
    }


# --- positions ---


def _position(call: Call, listing: Listing) -> Json:
    """A contract as `account` gives it."""
    account, wallet = call.owner, call.wallet
    position = wallet.position(listing)
    mark = call.public.books[listing.symbol].mark
    value = listing.instrument.value(mark, abs(position.lots)) * (1 if position.lots >= 0 else -1)
    initial = account.initial(listing, call.public)
    return {
        "symbol": listing.symbol,
        "positionSide": "BOTH",
        "positionAmt": listing.size(position.lots),
        "unrealizedProfit": listing.amount(account.unrealised(listing, call.public)),
        "isolatedMargin": "0",
        "notional": listing.amount(value),
        "isolatedWallet": "0",
        "initialMargin": listing.amount(initial),
        "maintMargin": listing.amount(_maintenance(call, listing)),
        "positionInitialMargin": listing.amount(initial),
        "openOrderInitialMargin": "0",
        "leverage": str(account.leverage(listing.symbol)),
        "isolated": account.choices.isolated.get(listing.symbol, False),
        "entryPrice": entry_price(wallet, listing),
        "breakEvenPrice": entry_price(wallet, listing),
        "maxNotional": str(NOTIONAL_CAP),
        "bidNotional": "0",
        "askNotional": "0",
        "updateTime": wallet.updated,
    }


def _risks(call: Call, every: bool) -> list[Json]:
    one = call.listing_if_any()
    rows = []
    for listing in [one] if one else list(call.wallet.listed.values()):
        row = _position(call, listing)
        if not every and not call.wallet.position(listing).lots and not one:
            continue
        isolated = row.pop("isolated")
        rows.append(
            row
            | {
                "markPrice": listing.price(call.public.books[listing.symbol].mark),
                "unRealizedProfit": row.pop("unrealizedProfit"),
                "liquidationPrice": _liquidation(call, listing),
                "marginAsset": listing.instrument.settle_asset,
                "marginType": "isolated" if isolated else "cross",
                "isAutoAddMargin": "false",
                "maxNotionalValue": str(NOTIONAL_CAP),
                "adl": 0,
            }
        )
    return rows


def _risks_v2(call: Call) -> list[Json]:
    return _risks(call, every=True)


def _risks_v3(call: Call) -> list[Json]:
    return _risks(call, every=False)


def _adl(call: Call) -> list[Json]:
    return [
        {"symbol": each.symbol, "adlQuantile": {"BOTH": 0, "LONG": 0, "SHORT": 0, "HEDGE": 0}}
        for each in call.wallet.listed.values()
    ]


# --- settings ---


def _set_leverage(call: Call) -> Json:
    listing, wanted = call.listing(), call.integer("leverage")
    if wanted is None:
        raise refusals.missing("leverage")
    if not 1 <= wanted <= HIGHEST_LEVERAGE:
        raise refusals.RefusalError(-4028, f"Leverage {wanted} is not valid")
    account = call.owner
    old = account.leverage(listing.symbol)
    account.choices.leverage[listing.symbol] = wanted
    balance, needed = account.margins(call.public)
    if wanted < old and needed > balance:
        account.choices.leverage[listing.symbol] = old
        raise refusals.RefusalError(
            -2028, "Leverage is smaller than permitted: insufficient margin balance."
        )
    account.keep()
    return {
        "symbol": listing.symbol,
        "leverage": wanted,
        "maxNotionalValue": str(NOTIONAL_CAP),
    }


def _busy(
    call: Call, listing: Listing | None, orders: tuple[int, str], held: tuple[int, str]
) -> None:
    """Refusal where there are open orders, or positions."""
    if call.wallet.open_of(listing.symbol if listing else None):
        raise refusals.RefusalError(*orders)
    listed = [listing] if listing else list(call.wallet.listed.values())
    if any(call.wallet.position(each).lots for each in listed):
        raise refusals.RefusalError(*held)


def _set_margin_type(call: Call) -> Json:
    listing = call.listing()
    call.need("marginType")
    kind = call.choice("marginType", ("ISOLATED", "CROSSED"), "", -4049)
    isolated = call.owner.choices.isolated
    if isolated.get(listing.symbol, False) == (kind == "ISOLATED"):
        raise refusals.RefusalError(-4046, "No need to change margin type.")
    _busy(
        call,
        listing,
        (-4047, "Margin type cannot be changed if there exists open orders."),
        (-4048, "Margin type cannot be changed if there exists position."),
    )
    isolated[listing.symbol] = kind == "ISOLATED"
    call.owner.keep()
    return {"code": 200, "msg": "success"}


def _set_mode(call: Call) -> Json:
    call.need("dualSidePosition")
    hedge = call.flag("dualSidePosition")
    if hedge == call.owner.choices.hedge:
        raise refusals.RefusalError(-4059, "No need to change position side.")
    _busy(
        call,
        None,
        (-4067, "Position side cannot be changed if there exists open orders."),
        (-4068, "Position side cannot be changed if there exists position."),
    )
    call.owner.choices.hedge = hedge
    call.owner.keep()
    return {"code": 200, "msg": "success"}


def _mode(call: Call) -> Json:
    return {"dualSidePosition": call.owner.choices.hedge}


def _multi_assets(call: Call) -> Json:
    return {"multiAssetsMargin": False}


def _brackets(call: Call) -> Any:
    row = {
        "bracket": 1,
        "initialLeverage": HIGHEST_LEVERAGE,
        "notionalCap": NOTIONAL_CAP,
        "notionalFloor": 0,
        "maintMarginRatio": MAINTENANCE_PPM / 1_000_000,
        "cum": 0.0,
    }
    one = call.listing_if_any()
    listed = [one] if one else list(call.wallet.listed.values())
    return [{"symbol": each.symbol, "notionalCoef": 1.0, "brackets": [row]} for each in listed]


def _rates(call: Call) -> Json:
    maker, taker = call.exchange.terms.usdm_fees_ppm
    return {
        "symbol": call.listing().symbol,
        "makerCommissionRate": decimal_text(maker, 6),
        "takerCommissionRate": decimal_text(taker, 6),
    }


def _symbol_config(call: Call) -> list[Json]:
    one, account = call.listing_if_any(), call.owner
    return [
        {
            "symbol": each.symbol,
            "marginType": (
                "ISOLATED" if account.choices.isolated.get(each.symbol, False) else "CROSSED"
            ),
            "isAutoAddMargin": False,
            "leverage": account.leverage(each.symbol),
            "maxNotionalValue": str(NOTIONAL_CAP),
        }
        for each in ([one] if one else list(call.wallet.listed.values()))
    ]


def _account_config(call: Call) -> Json:
    return {
        "feeTier": 0,
        "canTrade": True,
        "canDeposit": False,
        "canWithdraw": False,
        "dualSidePosition": call.owner.choices.hedge,
        "updateTime": 0,
        "multiAssetsMargin": False,
        "tradeGroupId": -1,
    }


# --- income ---


def _income(call: Call) -> list[Json]:
    """Realised profit, commissions and funding, in order of time."""
    wallet, one, kind = call.wallet, call.listing_if_any(), call.text("incomeType")
    begin, end = call.integer("startTime"), call.integer("endTime")
    rows: list[Json] = []
    for each in wallet.executions:
        fill, listing = each.fill, wallet.listing_of(each.fill.instrument)
        for name, units in (("REALIZED_PNL", each.realised), ("COMMISSION", -fill.fee)):
            if units:
                rows.append(
                    _income_row(name, listing, units, each.ms, fill.sequence, fill.sequence)
                )
    for paid in wallet.fundings:
        listing = wallet.listing_of(paid.instrument)
        rows.append(
            _income_row(
                "FUNDING_FEE", listing, -paid.amount, paid.ts // MILLISECOND, paid.sequence, None
            )
        )
    rows = [
        row
        for row in rows
        if (one is None or row["symbol"] == one.symbol)
        and (kind is None or row["incomeType"] == kind)
        and (begin is None or row["time"] >= begin)
        and (end is None or row["time"] <= end)
    ]
    rows.sort(key=lambda row: (row["time"], row["tranId"]))
    most = call.most(100, 1_000)
    return rows[:most] if begin is not None else rows[-most:]


def _income_row(
    kind: str, listing: Listing, units: int, ms: int, number: int, trade: int | None
) -> Json:
    return {
        "symbol": listing.symbol,
        "incomeType": kind,
        "income": plain(units, listing.instrument.settle_decimals),
        "asset": listing.instrument.settle_asset,
        "time": ms,
        "info": kind if trade is None else str(trade),
        "tranId": number,
        "tradeId": "" if trade is None else str(trade),
    }


def endpoints() -> dict[tuple[str, str], Endpoint]:
    """(method, path) → what answers."""
    usdm, read, trade = Market.USDM, Security.READ, Security.TRADE
    return {
        ("GET", "/fapi/v2/balance"): Endpoint(_balance, usdm, read, 5),
        ("GET", "/fapi/v3/balance"): Endpoint(_balance, usdm, read, 5),
        ("GET", "/fapi/v2/account"): Endpoint(_account, usdm, read, 5),
        ("GET", "/fapi/v3/account"): Endpoint(_account, usdm, read, 5),
        ("GET", "/fapi/v2/positionRisk"): Endpoint(_risks_v2, usdm, read, 5),
        ("GET", "/fapi/v3/positionRisk"): Endpoint(_risks_v3, usdm, read, 5),
        ("GET", "/fapi/v1/adlQuantile"): Endpoint(_adl, usdm, read, 5),
        ("POST", "/fapi/v1/leverage"): Endpoint(_set_leverage, usdm, trade),
        ("POST", "/fapi/v1/marginType"): Endpoint(_set_margin_type, usdm, trade),
        ("GET", "/fapi/v1/positionSide/dual"): Endpoint(_mode, usdm, read, 30),
        ("POST", "/fapi/v1/positionSide/dual"): Endpoint(_set_mode, usdm, trade),
        ("GET", "/fapi/v1/multiAssetsMargin"): Endpoint(_multi_assets, usdm, read, 30),
        ("GET", "/fapi/v1/leverageBracket"): Endpoint(_brackets, usdm, read),
        ("GET", "/fapi/v1/commissionRate"): Endpoint(_rates, usdm, read, 20),
        ("GET", "/fapi/v1/symbolConfig"): Endpoint(_symbol_config, usdm, read, 5),
        ("GET", "/fapi/v1/accountConfig"): Endpoint(_account_config, usdm, read, 5),
        ("GET", "/fapi/v1/income"): Endpoint(_income, usdm, read, 30),
    }
