"""Deposits and withdrawals of an account, as its exchange's history has them."""

from typing import Any

from seawall.core.clock import MILLISECOND
from seawall.core.orders import Transfer
from seawall.venues.ccxt.budget import READ
from seawall.venues.ccxt.desk import Desk
from seawall.venues.ccxt.translation import down, moment, up

MOST = 1_000  # of each kind
KINDS = (
    ("fetchDeposits", "fetch_deposits", "deposit", 1),
    ("fetchWithdrawals", "fetch_withdrawals", "withdrawal", -1),
)


async def transfers(desk: Desk, since: int) -> list[Transfer]:
    """Those that are done, from `since` on (ns UTC). Raises: whatever ccxt raises."""
    found = []
    for has, name, kind, sign in KINDS:
        if not desk.client.has.get(has):
            continue
        told = await desk.ask(READ, name, None, since // MILLISECOND, MOST)
        found += [_transfer(one, kind, sign, desk) for one in told if _done(one)]
    return found


def _done(told: Any) -> bool:
    return told.get("status") in ("ok", None) and bool(told.get("amount") and told.get("id"))


def _transfer(told: Any, kind: str, sign: int, desk: Desk) -> Transfer:
    asset, fee = str(told.get("currency")), told.get("fee") or {}
    same = fee.get("cost") and fee.get("currency") in (None, asset)
    places = desk.decimals(asset)
    return Transfer(
        name=str(told["id"]),
        kind=kind,
        asset=asset,
        text=str(told["amount"]),
        amount=sign * down(told["amount"], places),
        fee=up(fee["cost"], places) if same else 0,
        ts=moment(told.get("timestamp")),
    )
