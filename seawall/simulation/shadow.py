"""What the journal's records come to, computed once more and by other means than the node's.

Orders, positions, cash and latches by the plainest code there is; the checks hold the node's folds
and its doings against it.
"""

from collections import deque
from collections.abc import Mapping, Sequence

import msgspec

from seawall.core.commands import CLOSE, EMERGENCY_STOP, RELEASE
from seawall.core.events import Side
from seawall.core.instruments import Instrument, Kind
from seawall.core.intents import Approved, Basket, Protection, Quotes, Target
from seawall.core.orders import PROTECTIVE, Fill, Order, OrderState
from seawall.core.parents import Parent
from seawall.core.records import (
    AnyRecord,
    BasketMoved,
    BreakerChanged,
    Deposited,
    FillBooked,
    FundingBooked,
    Halted,
    IntentApproved,
    LotsTransferred,
    ModelRolledBack,
    ModelUpdated,
    OperatorCommanded,
    OrderChanged,
    OrderCreated,
    ParentBegan,
    ParentEnded,
    RunStarted,
    RunStopping,
    SourceJudged,
)
from seawall.core.verdicts import Standing
from seawall.execution.baskets import ENDS


class Life(msgspec.Struct):
    """One order: what is left of it, and its state since `since`, ns UTC.

    Attributes:
        forgone: lots that the order which it amends has filled meanwhile.
    """

    order: Order
    since: int
    state: OrderState = OrderState.INTENT
    filled: int = 0
    forgone: int = 0

    @property
    def left(self) -> int:
        """Lots that can still fill."""
        return max(0, self.order.size - self.filled - self.forgone)


class Shadow:
    """The account and the orders by the journal.

    Attributes:
        payments, liquidations: of funding, and fills that the venue itself has made.
        movements: fills and payments so far. sequence: of the last one.
        latches: (breaker, key) → its last record, of those not CLOSED.
        approved: (instrument, whose) → lots last approved, in this run or for a parent
        ladders: (instrument, whose) → how far a ladder may bring the position, short and long.
        parents: parent orders that are being worked.
        agreed: (instrument, strategy) → what protects it. baskets: those that have not ended.
        held: (instrument, strategy) → signed lots of its sub-ledger.
        stops: who has said to stop at once. stops_by_hand: breakers that this has opened and nobody
            has closed, as they must be by the operators' words alone.
        models: group → bytes of the model last journaled.
        barred: sources that may not be let in → ns UTC since when.
    """

    def __init__(
        self, instruments: Mapping[str, Instrument], strategies: Sequence[str] = ()
    ) -> None:
        self._strategies = set(strategies) if len(strategies) > 1 else set()
        self.instruments = instruments
        self.records = 0
        self.cash: dict[str, int] = {}
        self.fees: dict[str, int] = {}
        self.positions: dict[str, int] = {}
        self.orders: dict[str, Life] = {}
        self.open: dict[str, Life] = {}
        self.movements = 0
        self.payments = 0
        self.liquidations = 0
        self.sequence = 0
        self.halted = ""
        self.stopping = False
        self.runs = 0
        self.latches: dict[tuple[str, str], BreakerChanged] = {}
        self.approved: dict[tuple[str, str], int] = {}
        self.ladders: dict[tuple[str, str], tuple[int, int]] = {}
        self.filled_at: dict[str, int] = {}  # instrument → ns UTC of its last fill's booking
        self.agreed: dict[tuple[str, str], Protection] = {}
        self.baskets: dict[tuple[str, int], BasketMoved] = {}
        self.parents: dict[str, Parent] = {}
        self.held: dict[tuple[str, str], int] = {}
        self.stops: set[str] = set()
        self.stops_by_hand: dict[str, None] = {}
        self.models: dict[str, bytes] = {}
        self.barred: dict[str, int] = {}
        self._lots: dict[str, deque[list[int]]] = {}  # instrument → [lots, ticks], first in first

    def take(self, record: AnyRecord) -> None:
        """One record of the journal."""
        self.records += 1
        match record:
            case OrderCreated(order=order, ts=ts):
                self.orders[order.client_id] = self.open[order.client_id] = Life(order, ts)
            case OrderChanged(client_id=client_id, state=state, ts=ts):
                self.orders[client_id].since = ts
                self._move(self.orders[client_id], state)
            case FillBooked(fill=fill, strategy=strategy, ts=ts):
                self.filled_at[fill.instrument] = ts
                self._fill(fill)
                self._hold(fill.instrument, strategy, fill.side.sign * fill.size)
            case LotsTransferred(instrument=name, giver=giver, taker=taker, lots=lots):
                self._hold(name, giver, -lots)
                self._hold(name, taker, lots)
            case FundingBooked(funding=funding):
                self._pay(funding.asset, funding.amount)
                self.sequence = funding.sequence
                self.movements += 1
                self.payments += 1
            case Deposited(asset=asset, amount=amount):
                self._pay(asset, -amount)
            case Halted(reason=reason):
                self.halted = reason
            case OperatorCommanded():
                self._command(record)
            case BreakerChanged():
                self.latches[record.name, record.key] = record
                if record.state == "CLOSED":
                    del self.latches[record.name, record.key]
            case IntentApproved(approved=approved):
                self._approve(approved)
            case BasketMoved(basket=basket, state=state):
                self.baskets[basket.strategy, basket.ts] = record
                if state in ENDS:
                    del self.baskets[basket.strategy, basket.ts]
            case RunStarted():
                self.runs += 1
                self.stopping = False
                self.ladders = {}
                worked = {parent.instrument for parent in self.parents.values()}
                self.approved = {k: lots for k, lots in self.approved.items() if k[0] in worked}
            case ParentBegan(parent=parent):
                self.parents[parent.parent_id] = parent
            case ParentEnded(parent_id=name):
                del self.parents[name]
            case RunStopping():
                self.stopping = True
            case ModelUpdated(group=group, model=model) | ModelRolledBack(group=group, model=model):
                self.models[group] = model
            case SourceJudged(source=source, standing=standing, ts=ts):
                if standing in (Standing.SUSPENDED, Standing.BANNED):
                    self.barred.setdefault(source, ts)
                else:
                    self.barred.pop(source, None)
            case _:
                pass

    def owner(self, strategy: str) -> str:
        """Whose the position is that a strategy means; empty: the whole account's."""
        return strategy if strategy in self._strategies else ""

    def own(self, instrument: str, strategy: str) -> int:
        """Signed lots of the strategy, or of the account where it is the only one."""
        if owner := self.owner(strategy):
            return self.held.get((instrument, owner), 0)
        return self.positions.get(instrument, 0)

    def _approve(self, approved: Approved) -> None:
        name, intent = approved.instrument, approved.intent
        if isinstance(intent, Basket):
            return
        owner = self.owner(intent.strategy)
        self.approved[name, owner] = approved.position
        for place in [place for place in self.ladders if place[0] == name]:
            if owner in ("", place[1]):
                del self.ladders[place]
        if isinstance(intent, Quotes):
            self.ladders[name, owner] = self.reach(intent)
        key = name, intent.strategy
        if approved.protection is not None:
            self.agreed.pop(key, None)
            self.agreed[key] = approved.protection
        elif isinstance(intent, Target) and intent.protection is None:
            self.agreed.pop(key, None)

    def reach(self, quotes: Quotes) -> tuple[int, int]:
        """Signed lots were all asks (bids) of a ladder to fill and nothing else."""
        held = self.own(quotes.instrument, quotes.strategy)
        return (
            held - sum(level.size for level in quotes.asks),
            held + sum(level.size for level in quotes.bids),
        )

    def _hold(self, instrument: str, strategy: str, lots: int) -> None:
        self.held[instrument, strategy] = self.held.get((instrument, strategy), 0) + lots

    def _command(self, said: OperatorCommanded) -> None:
        """An operator's word: from here on it holds."""
        if said.command == EMERGENCY_STOP:
            self.stops.add(said.who.rpartition(" ")[2])
            closing = said.arguments["positions"] == CLOSE
            self.stops_by_hand["emergency_close" if closing else "emergency_stop"] = None
        elif said.command == RELEASE:
            self.stops_by_hand.pop(said.arguments["breaker"], None)

    def _move(self, life: Life, state: OrderState) -> None:
        life.state = state
        if state.final:
            self.open.pop(life.order.client_id, None)

    def _pay(self, asset: str, amount: int) -> None:
        self.cash[asset] = self.cash.get(asset, 0) - amount

    def _fill(self, fill: Fill) -> None:
        instrument = self.instruments[fill.instrument]
        sign = 1 if fill.side is Side.BUY else -1
        self._pay(fill.fee_asset, fill.fee)
        self.fees[fill.fee_asset] = self.fees.get(fill.fee_asset, 0) + fill.fee
        unit = instrument.cash_unit.numerator
        settle = instrument.settle_asset
        if instrument.kind is Kind.SPOT:
            self._pay(settle, sign * fill.size * fill.price * unit)
            self._pay(instrument.base, -sign * fill.size * instrument.base_unit)
        else:
            self._pay(settle, -self._net(fill.instrument, sign, fill.size, fill.price) * unit)
        held = self.positions.get(fill.instrument, 0) + sign * fill.size
        self.positions[fill.instrument] = held
        if not held:
            del self.positions[fill.instrument]
        self.sequence = fill.sequence
        self.movements += 1
        self.liquidations += fill.liquidation
        life = self.orders.get(fill.client_id)
        if life is not None:
            life.filled += fill.size
            for other in self.open.values():
                if other.order.replaces == fill.client_id:
                    other.forgone = life.filled - other.order.carried
            if not life.left:
                self._move(life, OrderState.FILLED)
            elif life.state not in (OrderState.PENDING_CANCEL, OrderState.PENDING_REPLACE):
                self._move(life, OrderState.PARTIALLY_FILLED)

    def _net(self, name: str, sign: int, size: int, price: int) -> int:
        """Ticks x lots earned by the lots that a trade closes, first in first out."""
        queue = self._lots.setdefault(name, deque())
        earned = 0
        while size and queue and queue[0][0] * sign < 0:
            lots = min(size, abs(queue[0][0]))
            earned += lots * sign * (queue[0][1] - price)
            size -= lots
            queue[0][0] += sign * lots
            if not queue[0][0]:
                queue.popleft()
        if size:
            queue.append([sign * size, price])
        return earned

    def unrealised(self, name: str, mark: float) -> float:
        """Ticks x lots that the open lots of a derivative would earn at `mark` ticks."""
        return sum(lots * (mark - ticks) for lots, ticks in self._lots.get(name, ()))

    def worst(self, instrument: str, more: Order | None = None, owner: str = "") -> tuple[int, int]:
        """Signed lots were all open sells (buys) to fill and nothing else: lowest, highest.

        An order and the one that amends it count once, by the larger of the two.

        Args:
            more: an order that is open too. owner: of several; empty: the whole account.
        """
        low = high = self.own(instrument, owner)
        lives = {
            name: life
            for name, life in self.open.items()
            if life.order.instrument == instrument
            and life.order.purpose not in PROTECTIVE  # the venue lets these only reduce
            and (not owner or self.owner(life.order.strategy) == owner)
        }
        if more is not None:
            lives[more.client_id] = Life(more, 0)
        for life in lives.values():
            amended = lives.get(life.order.replaces)
            lots = max(0, life.left - (amended.left if amended else 0))
            low -= lots if life.order.side is Side.SELL else 0
            high += lots if life.order.side is Side.BUY else 0
        return low, high
