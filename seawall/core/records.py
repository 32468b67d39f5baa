"""The journal's records: everything that the action side decided, learned or was told.

State is a fold over them (`Fold`). A record's meaning never changes; a new field has a default and
raises SCHEMA.
"""

from typing import Any, Protocol

import msgspec

from seawall.core.instruments import Instrument
from seawall.core.intents import AnyIntent, Approved, Basket, Refused
from seawall.core.orders import Fill, Funding, Order, OrderState
from seawall.core.parents import Parent

SCHEMA = 5


class Record(msgspec.Struct, frozen=True, kw_only=True, tag_field="record"):
    """What all records share: `ts`, ns UTC of the node's clock."""

    ts: int


class RunStarted(Record, frozen=True, kw_only=True, tag="run_started"):
    """A run begins, or begins again after a crash. Carries what the folds need to stand alone.

    Attributes:
        settings: SHA-256 of the settings that change results. values: themselves, as JSON, with
            the SHA-256 of each file that they name (a strategy, a golden set, funding rates).
        taped: rows that its tape held before this run. first: the same when trading began, with
            the rows of the past that it looked back on; -1 where an older version did not say.
    """

    run: str
    mode: str
    seed: int
    settings: str
    numeraire: str
    instruments: tuple[Instrument, ...]
    values: str = ""
    taped: int = -1
    first: int = -1


class AccountsOpened(Record, frozen=True, kw_only=True, tag="accounts"):
    """A run has several accounts. accounts: name → the instruments that are traded there.

    It follows RunStarted; the order in which accounts are first named gives their client ids.
    """

    accounts: dict[str, tuple[str, ...]]


class Deposited(Record, frozen=True, kw_only=True, tag="deposited", omit_defaults=True):
    """Cash came in from outside (negative: was withdrawn), smallest units.

    account: whose; empty where there is one alone.
    """

    asset: str
    amount: int
    account: str = ""


class CashTransferred(Record, frozen=True, kw_only=True, tag="cash_transferred"):
    """Cash left one of our accounts and came to another; together we have what we had.

    Attributes:
        amount: smallest units, > 0. who: the operator who adopted it, with the role.
    """

    giver: str
    taker: str
    asset: str
    amount: int
    who: str


class IntentDecided(Record, frozen=True, kw_only=True, tag="intent"):
    """What a strategy wanted."""

    intent: AnyIntent


class IntentApproved(Record, frozen=True, kw_only=True, tag="approved"):
    """What risk allowed."""

    approved: Approved


class IntentRefused(Record, frozen=True, kw_only=True, tag="refused"):
    """What risk turned down."""

    refused: Refused


class OrderCreated(Record, frozen=True, kw_only=True, tag="order_created"):
    """An order exists in our books, state INTENT; it has not left."""

    order: Order


class OrderChanged(Record, frozen=True, kw_only=True, tag="order_changed"):
    """An order's state changed; `venue_sequence` is the report's that said so, 0 if our own."""

    client_id: str
    state: OrderState
    filled: int = 0
    reason: str = ""
    venue_sequence: int = 0


class FillBooked(Record, frozen=True, kw_only=True, tag="fill"):
    """A trade of ours, booked once."""

    fill: Fill
    strategy: str


class FundingBooked(Record, frozen=True, kw_only=True, tag="funding"):
    """A funding payment, booked once."""

    funding: Funding


class ParentBegan(Record, frozen=True, kw_only=True, tag="parent_began"):
    """A parent order is worked from here on, by the plan that its fields make."""

    parent: Parent


class ParentEnded(Record, frozen=True, kw_only=True, tag="parent_ended"):
    """It is worked no more; what was done of it is what was filled."""

    parent_id: str
    reason: str


class LotsTransferred(Record, frozen=True, kw_only=True, tag="transfer"):
    """Lots went from one strategy's sub-ledger to another's; the account did not change.

    Attributes:
        giver, taker: strategies; the giver sells to the taker. lots: > 0. price: ticks.
    """

    instrument: str
    giver: str
    taker: str
    lots: int
    price: int
    reason: str


class StrategyStopped(Record, frozen=True, kw_only=True, tag="strategy_stopped"):
    """A strategy among several failed; from here on it wants to hold nothing."""

    strategy: str
    reason: str


class LedgerAdjusted(Record, frozen=True, kw_only=True, tag="adjusted"):
    """The account was found to be other than our books have it, and an operator adopted that.

    Attributes:
        asset, amount: cash that came (negative: went), smallest units. Empty and 0: none.
        instrument, lots, price: a derivative's lots (signed) that came, valued at so many ticks.
        kind: deposit, withdrawal, transfer, dust, position or difference.
        who: the operator, with the role that allowed it.
        account: whose cash, where there are several.
        transfers: ids of the venue's deposits and withdrawals that explain the cash; none: the
            operator's word alone.
    """

    kind: str
    reason: str
    who: str
    asset: str = ""
    amount: int = 0
    instrument: str = ""
    lots: int = 0
    price: int = 0
    account: str | msgspec.UnsetType = msgspec.UNSET
    transfers: tuple[str, ...] | msgspec.UnsetType = msgspec.UNSET


class OrderAdopted(Record, frozen=True, kw_only=True, tag="order_adopted"):
    """An order at the venue that is not ours may stay; its fills belong to `external`."""

    client_id: str
    instrument: str
    who: str


class StopWatched(Record, frozen=True, kw_only=True, tag="stop_watched"):
    """The venue does not hold a stop of this position: we watch the touch ourselves.

    Attributes:
        price: ticks of the stop. reason: the venue's.
    """

    instrument: str
    strategy: str
    price: int
    reason: str


class StopOutEnded(Record, frozen=True, kw_only=True, tag="stop_out_ended"):
    """A strategy that was stopped out has changed its mind since, and may go the same way again."""

    instrument: str
    strategy: str


class BasketMoved(Record, frozen=True, kw_only=True, tag="basket_moved"):
    """A basket began, is being left, or has come to its end.

    Attributes:
        start: lots held of each leg before it. wanted: lots to be held now.
        state: leading or leaving; at its end complete, flat, hedged or overruled.
    """

    basket: Basket
    start: dict[str, int]
    wanted: dict[str, int]
    state: str


class BreakerChanged(Record, frozen=True, kw_only=True, tag="breaker"):
    """A circuit breaker opened, half-opened or closed. `since`: ns UTC it opened at."""

    name: str
    scope: str
    key: str
    state: str
    measure: float
    threshold: float
    reason: str
    since: int = 0


class OperatorCommanded(Record, frozen=True, kw_only=True, tag="operator"):
    """A person told the node to do something."""

    command: str
    arguments: dict[str, str]
    who: str


class SourceJudged(Record, frozen=True, kw_only=True, tag="source_judged"):
    """A source's trust or standing changed, and why. `since`: ns UTC of the first suspicion, or
    0.
    """

    source: str
    trust: float
    standing: int  # core.verdicts.Standing
    score: float  # of the authenticity gate; 1 and more rejects
    reason: str
    since: int = 0
    strikes: int = 0
    until: int = 0  # ns UTC that a suspension ends
    clean: int = 0  # reviews passed on probation


class ReferenceMade(Record, frozen=True, kw_only=True, tag="reference_made"):
    """A group made a provisional reference of its own beginning; what follows is in its units."""

    group: str
    name: str
    reference: bytes  # gating.golden.pack


class ModelUpdated(Record, frozen=True, kw_only=True, tag="model_updated"):
    """A review of one group's model: what was decided, who moved it, and the model as it is now."""

    group: str
    decision: str  # learned, frozen, rejected, held
    reason: str
    rows: int  # of the window
    shift: float  # ||location - mean||, reference standard deviations
    corroboration: float  # share of the sources that show the same move by themselves
    influence: dict[str, float]  # source → how far the window's location moves without it
    model: bytes  # gating.model.Model
    reference: str = ""  # name of the golden set it is measured against
    certificate: bytes = b""  # gating.certificate.Certificate


class ModelRolledBack(Record, frozen=True, kw_only=True, tag="model_rolled_back"):
    """The model went back to what it was at `to`, ns UTC (0: to the reference itself)."""

    group: str
    to: int
    reason: str
    corroboration: float
    model: bytes


class Digest(Record, frozen=True, kw_only=True, tag="digest"):
    """Every 60 s: where perception stands, so that a replay can be held against it."""

    tape: int  # rows seen
    frames: str  # SHA-256 over all frames of the run so far
    marks: dict[str, float]  # instrument → numeraire value of one quote-unit-priced mid
    equity: float  # numeraire
    peak: float


class Halted(Record, frozen=True, kw_only=True, tag="halted", omit_defaults=True):
    """No new risk from here on, and why. Reason empty: trading goes on again.

    account: the only one that it is about; empty: the whole node.
    """

    reason: str
    account: str = ""


class RunStopping(Record, frozen=True, kw_only=True, tag="run_stopping"):
    """The run is to end from here on: nothing new is decided. flatten: positions are closed."""

    reason: str
    flatten: bool


class RunStopped(Record, frozen=True, kw_only=True, tag="run_stopped"):
    """A run ended in order; these orders stay at the venue."""

    reason: str
    open_orders: tuple[str, ...]


AnyRecord = (
    RunStarted
    | AccountsOpened
    | Deposited
    | CashTransferred
    | IntentDecided
    | IntentApproved
    | IntentRefused
    | OrderCreated
    | OrderChanged
    | FillBooked
    | FundingBooked
    | ParentBegan
    | ParentEnded
    | LotsTransferred
    | StrategyStopped
    | StopWatched
    | StopOutEnded
    | BasketMoved
    | LedgerAdjusted
    | OrderAdopted
    | BreakerChanged
    | OperatorCommanded
    | SourceJudged
    | ReferenceMade
    | ModelUpdated
    | ModelRolledBack
    | Digest
    | Halted
    | RunStopping
    | RunStopped
)


class Fold(Protocol):
    """State that is made of journal records and of nothing else."""

    @property
    def name(self) -> str: ...

    def apply(self, record: AnyRecord) -> None:
        """Take in one record; records that do not concern it are ignored."""
        ...

    def state(self) -> Any:
        """The whole state as plain MessagePack-able values."""
        ...

    def restore(self, state: Any) -> None:
        """Take over a state that `state` gave."""
        ...


class Journal(Protocol):
    """The append-only store of records."""

    def append(self, records: list[AnyRecord]) -> None:
        """Add records and make them as durable as the mode asks before returning."""
        ...

    def close(self) -> None: ...


def encode(record: AnyRecord) -> bytes:
    """The record's bytes: MessagePack, fields in the order of their definition."""
    return _ENCODER.encode(record)


def decode(data: bytes) -> AnyRecord:
    """The record of some bytes; msgspec.DecodeError where they are none."""
    return _DECODER.decode(data)


_ENCODER = msgspec.msgpack.Encoder()
_DECODER: msgspec.msgpack.Decoder[AnyRecord] = msgspec.msgpack.Decoder(AnyRecord)
