"""What happened in our account without us: a fold over the journal, until an operator adopts it."""

from typing import Any

import msgspec

from seawall.core.commands import ADOPT
from seawall.core.orders import EXTERNAL
from seawall.core.records import (
    AnyRecord,
    FillBooked,
    LedgerAdjusted,
    OperatorCommanded,
    OrderAdopted,
)

SHOWN = 3


class _Memory(msgspec.Struct):
    """What the fold keeps."""

    trades: dict[str, str] = {}
    orders: dict[str, str] = {}
    transfers: dict[str, str] = {}


class Foreign:
    """Trades with no order of ours that nobody adopted yet, and orders that may stay; Fold.

    Args:
        account: whose, where there are several.
    """

    name = "foreign"

    def __init__(self, account: str = "") -> None:
        self._account = account
        self._memory = _Memory()

    @property
    def orders(self) -> dict[str, str]:
        """Adopted orders: id → instrument."""
        return self._memory.orders

    @property
    def transfers(self) -> dict[str, str]:
        """Deposits and withdrawals that have explained something: the venue's id → asset."""
        return self._memory.transfers

    @property
    def reason(self) -> str:
        """Why no new risk may be taken before an operator has looked; empty where there is none."""
        trades = list(self._memory.trades.values())
        if not trades:
            return ""
        more = f" and {len(trades) - SHOWN} more" if len(trades) > SHOWN else ""
        which = f" --account {self._account}" if self._account else ""
        return (
            f"trades in the account that are not ours: {', '.join(trades[:SHOWN])}{more}; look at "
            f"them, then run `seawall reconcile --adopt{which}`"
        )

    def apply(self, record: AnyRecord) -> None:
        """Take in one record."""
        memory = self._memory
        match record:
            case FillBooked(strategy=who, fill=fill) if who == EXTERNAL:
                if fill.client_id not in memory.orders:
                    memory.trades[f"{fill.instrument} {fill.fill_id}"] = (
                        f"{fill.side.name} {fill.size} lots of {fill.instrument} by order "
                        f"{fill.client_id or 'without an id'}"
                    )
            case OrderAdopted(client_id=client_id, instrument=instrument):
                memory.orders[client_id] = instrument
            case LedgerAdjusted(asset=asset, transfers=tuple() as names):
                memory.transfers |= dict.fromkeys(names, asset)
            case OperatorCommanded(command=command) if command == ADOPT:
                memory.trades = {}
            case _:
                pass  # ours

    def state(self) -> Any:
        """Plain values."""
        return msgspec.to_builtins(self._memory)

    def restore(self, state: Any) -> None:
        """Take over what `state` gave."""
        self._memory = msgspec.convert(state, _Memory)
