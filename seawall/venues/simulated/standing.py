"""What stands at a checkpoint: accounts, open orders and what is on its way, as it is written."""

from collections.abc import Container, Iterable, Mapping

import msgspec

from seawall.core.events import Side
from seawall.core.orders import OrderReport
from seawall.venues.simulated.accounts import Accounts, Position
from seawall.venues.simulated.log import Opened, Requested, Watched


class Held(msgspec.Struct, frozen=True, array_like=True):
    """A position: its parts are (lots, cost), oldest first; a cost has any number of digits."""

    side: Side
    parts: list[tuple[int, str]]


class Standing(msgspec.Struct, frozen=True, array_like=True):
    """The exchange's state, less what has come to an end.

    Attributes:
        opened: on what terms. said: the latest time in the log. last_arrival: of all requests.
        balances: asset → smallest units in digits. positions: by instrument.
        requests: that open orders came from or wait for, in order of acceptance.
        live: lots filled and last report of each open order; sequence 0 if there is none yet.
        watched: what the waiting ones among them have seen. turnover: see fees.
    """

    opened: Opened
    said: int
    last_arrival: int
    balances: dict[str, str]
    positions: dict[str, Held]
    requests: list[Requested]
    live: list[tuple[int, OrderReport]]
    watched: list[Watched] = []
    turnover: dict[str, list[tuple[int, str]]] = {}


def concerning(requests: Iterable[Requested], live: Container[str]) -> list[Requested]:
    """The requests that open orders came from or wait for."""
    return [
        each
        for each in requests
        if (each.order.client_id if each.order else each.client_id) in live
    ]


def balances_of(accounts: Accounts) -> dict[str, str]:
    """See Standing."""
    return {asset: str(amount) for asset, amount in accounts.balances.items()}


def positions_of(accounts: Accounts) -> dict[str, Held]:
    """See Standing."""
    return {
        name: Held(position.side, [(lots, str(cost)) for lots, cost in position.parts])
        for name, position in accounts.positions.items()
    }


def accounts_of(balances: Mapping[str, str], positions: Mapping[str, Held]) -> Accounts:
    """The accounts that `balances_of` and `positions_of` were made from."""
    accounts = Accounts({asset: int(amount) for asset, amount in balances.items()})
    for name, held in positions.items():
        parts = [[lots, int(cost)] for lots, cost in held.parts]
        accounts.positions[name] = Position(
            side=held.side,
            lots=held.side.sign * sum(lots for lots, _ in parts),
            cost=sum(cost for _, cost in parts),
            parts=parts,
        )
    return accounts
