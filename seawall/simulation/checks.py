"""What must be true at every step, whatever has failed."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from seawall.core.events import Admitted, EventFlag, Raw
from seawall.core.instruments import Instrument
from seawall.core.intents import Quotes
from seawall.core.orders import PROTECTIVE, Movement, Order, OrderState, Purpose
from seawall.core.records import (
    AnyRecord,
    BasketMoved,
    BreakerChanged,
    FillBooked,
    FundingBooked,
    Halted,
    IntentApproved,
    ModelUpdated,
    OperatorCommanded,
    OrderCreated,
)
from seawall.core.sections import RiskSettings
from seawall.core.verdicts import GateDecision
from seawall.gating.model import decoded
from seawall.risk.breakers import BREAKERS, BY_HAND, CALM, Recovery
from seawall.risk.breakers import Action as BreakerAction
from seawall.simulation import check_kernels as kernels
from seawall.simulation.exposure import Exposure
from seawall.simulation.plans import Plans
from seawall.simulation.shadow import Shadow

if TYPE_CHECKING:
    from seawall.node.books import Books
    from seawall.node.node import Node

DRIFT = 1.03  # how far marks may carry what was approved over a cap before it is traded
STEPS = {"CLOSED": ("OPEN",), "OPEN": ("HALF_OPEN",), "HALF_OPEN": ("CLOSED", "OPEN")}
UNTRUE = int(EventFlag.FORGED | EventFlag.REPLAYED | EventFlag.REORDERED)

CHECKS = {  # name → what it holds, for people
    "conservation": "cash is deposits, trades and funding to the last unit, computed anew",
    "venue": "every fill and payment is booked once, in the venue's order and as the venue has it",
    "limits": "no approval and no order beyond the limits of the settings, computed anew",
    "blocked": "no new risk after a halt or a stop, past an open breaker, or beside an UNKNOWN",
    "emergency": "after an operator's stop no risk is added; what was to be closed is flat",
    "quotes": "a ladder's orders may together bring no more than was approved of it",
    "parents": "a parent order's children keep to its lots, its pace and what may be shown",
    "baskets": "a basket ends as it says, complete, flat or hedged, and leads nowhere else",
    "protection": "a stop or take-profit only reduces, and what is to be protected has one",
    "admission": "nothing of a barred source, out of sequence or malformed is admitted",
    "breakers": "a breaker closes by its rule or an operator's word alone; a restart forgets none",
    "journal": "no durable row is lost, the chain holds, and the rows give the folds as they are",
    "strategies": "the strategies' sub-ledgers add up to the account",
    "once": "no client id twice, none leaves before it is journaled, none is sent again",
    "models": "a model is what the journal has of it, and moves only past the gate",
    "halts": "the node never halts or dies of what it should withstand",
    "liveness": "once faults stop the books agree, nothing is in doubt, and trading goes on",
    "determinism": "the same seed gives the same journal",
}


class ViolationError(BaseException):
    """A check has failed; nothing on the path may catch it.

    Attributes:
        check: its name, of CHECKS.
    """

    def __init__(self, check: str, text: str) -> None:
        super().__init__(f"{check}: {text}")
        self.check = check
        self.text = text


class Checks:
    """All that is checked at every step of one world.

    Attributes:
        node: the one that lives, None between two lives.
        true_movements: what the exchange has next, after a report's sequence.
    """

    def __init__(
        self,
        instruments: dict[str, Instrument],
        risk: RiskSettings,
        strategies: Sequence[str] = (),
    ) -> None:
        self.shadow = Shadow(instruments, strategies)
        self._several = len(strategies) > 1
        self.node: Node | None = None
        self.true_movements: Callable[[int], list[Movement]] = lambda after: []
        self._instruments = instruments
        self._exposure = Exposure(self.shadow, instruments, risk)
        self._plans = Plans(self.shadow)
        self.bare = self._plans.bare
        self._sent: set[str] = set()
        self._looked = -1
        self._moved = -1
        self._released: set[str] = set()
        self._sequences = np.zeros((0, 0, kernels.KINDS), np.int64)  # of what was admitted last

    # --- records that have become durable ---

    def told(self, records: Sequence[AnyRecord]) -> None:
        """The folds have not heard of them yet."""
        for record in records:
            match record:
                case OrderCreated(order=order, ts=ts):
                    self._created(order)
                    if broken := self._plans.broken(order, ts):
                        raise ViolationError("parents", broken)
                case BasketMoved():
                    if wrong := self._plans.ended(record):
                        raise ViolationError("baskets", wrong)
                case FillBooked(fill=movement) | FundingBooked(funding=movement):
                    self._booked(movement)
                case BreakerChanged():
                    self._latched(record)
                case OperatorCommanded(command="release", arguments=said):
                    self._released.add(said["breaker"])
                case Halted(reason=reason) if reason:
                    raise ViolationError("halts", reason)
                case ModelUpdated():
                    self._updated(record)
                case _:
                    pass
            self.shadow.take(record)
        self._approved([r.approved for r in records if isinstance(r, IntentApproved)])

    def _created(self, order: Order) -> None:
        shadow = self.shadow
        if order.client_id in shadow.orders:
            raise ViolationError("once", f"client id {order.client_id} is used twice")
        if wrong := self._plans.unprotective(order):
            raise ViolationError("protection", wrong)
        if wrong := self._plans.misled(order):
            raise ViolationError("baskets", wrong)
        if self.reduces(order):
            return
        owner = shadow.owner(order.strategy)
        low, high = shadow.worst(order.instrument, order, owner)
        after = high if order.side.sign > 0 else low
        self._stopped_by_hand(f"order {order.client_id} is made")
        if reasons := self._obstacles(order.instrument):
            text = f"order {order.client_id} adds risk, though {'; '.join(reasons)}"
            raise ViolationError("blocked", text)
        approved = shadow.approved.get((order.instrument, owner), 0)
        if order.purpose is Purpose.QUOTE and (wrong := self._plans.overdone(order)):
            raise ViolationError("quotes", wrong)
        if order.purpose in (Purpose.BASKET, Purpose.QUOTE):
            approved = after  # see Plans.misled and Plans.overdone
        own = shadow.own(order.instrument, order.strategy)
        nearer = min(0, own) <= after <= max(0, own)  # of several, one that grows the account's
        if not nearer and (abs(after) > abs(approved) or after * approved < 0):
            text = f"order {order.client_id} leads to {after} lots, approved are {approved}"
            raise ViolationError("limits", text)
        low, high = shadow.worst(order.instrument, order)
        after = high if order.side.sign > 0 else low
        self._within({order.instrument: abs(after)}, f"order {order.client_id}", DRIFT)

    def reduces(self, order: Order) -> bool:
        """Whether an order makes a position smaller, whatever else fills."""
        if order.purpose in PROTECTIVE:
            return True  # see Plans.unprotective
        held = self.shadow.positions.get(order.instrument, 0)
        worst = self.shadow.worst(order.instrument, order)[order.side.sign > 0]
        return min(0, held) <= worst <= max(0, held)

    def _stopped_by_hand(self, what: str) -> None:
        if self.shadow.stops_by_hand:
            stops = ", ".join(self.shadow.stops_by_hand)
            raise ViolationError("emergency", f"{what} and adds risk, though {stops} was said")

    def _obstacles(self, name: str) -> list[str]:
        """What forbids new risk on an instrument."""
        shadow = self.shadow
        group = self._instruments[name].consensus_group
        reasons = [f"halted: {shadow.halted}"] if shadow.halted else []
        if shadow.stopping:
            reasons.append("the run is stopping")
        for (breaker, key), latch in shadow.latches.items():
            action = (BREAKERS.get(breaker) or BY_HAND[breaker]).action
            if action is BreakerAction.LEARN or (action is BreakerAction.FREEZE and key != group):
                continue
            reasons.append(f"breaker {breaker} {key} is {latch.state}")
        return reasons + [
            f"order {life.order.client_id} is UNKNOWN"
            for life in shadow.open.values()
            if life.state is OrderState.UNKNOWN and life.order.instrument == name
        ]

    def _approved(self, approvals: Sequence[Any]) -> None:
        """What was approved at one boundary lies within the limits, all of it together."""
        growing = {}
        if self._several:
            return  # each is about its own lots: the account is looked at with each order
        for approval in [each for each in approvals if each.instrument]:
            low, high = self.shadow.worst(approval.instrument)
            ends = [approval.position]
            if isinstance(approval.intent, Quotes):
                ends = [*self.shadow.reach(approval.intent)]
            if beyond := [abs(end) for end in ends if not min(0, low) <= end <= max(0, high)]:
                growing[approval.instrument] = max(beyond)
        if growing:
            self._within(growing, f"approval of {growing}", 1.0)

    def _within(self, lots: dict[str, int], what: str, room: float) -> None:
        assert self.node is not None
        prices, numeraire = self.node.action.prices, self.node.started.numeraire
        if excess := self._exposure.excess(lots, prices, numeraire, room):
            raise ViolationError("limits", f"{what}: {excess}")

    def _booked(self, movement: Movement) -> None:
        true = self.true_movements(self.shadow.sequence)
        if not true or movement != true[0]:
            text = f"{movement} is booked, the venue's next one is {true[0] if true else 'none'}"
            raise ViolationError("venue", text)

    def _latched(self, change: BreakerChanged) -> None:
        """A breaker moves by one step, and back only by its rule or an operator's word."""
        before = self.shadow.latches.get((change.name, change.key))
        state = before.state if before else "CLOSED"
        what = f"breaker {change.name} {change.key} goes from {state} to {change.state}"
        if change.state not in STEPS[state]:
            raise ViolationError("breakers", what)
        if change.state == "OPEN" or before is None or change.name in self._released:
            return
        breaker = BREAKERS.get(change.name) or BY_HAND[change.name]
        if breaker.recovery is Recovery.MANUAL:
            raise ViolationError("breakers", f"{what} without an operator")
        if change.ts - before.ts < breaker.cooldown or change.measure >= CALM * change.threshold:
            raise ViolationError("breakers", f"{what} too early")

    def _updated(self, update: ModelUpdated) -> None:
        """Only what the gate has passed moves a model."""
        if self.node is None:
            return
        gate = {group.name: group.decision for group in self.node.perception.gating.groups}
        known = self.shadow.models.get(update.group)
        if known is None:
            return
        old, new = decoded(known), decoded(update.model)
        learned = update.decision == "learned"
        if update.ts <= old.ts:
            raise ViolationError("models", f"{update.group} is reviewed at {update.ts} again")
        if new.updates != old.updates + learned or (not learned and new.mean != old.mean):
            text = f"{update.group}: {update.decision}, and yet update {new.updates} moved it"
            raise ViolationError("models", text)
        last = update.ts == self.node.perception.gating.reviewed  # a warm-up journals many at once
        if learned and last and gate[update.group] is not GateDecision.PASS:
            raise ViolationError("models", f"{update.group} has learned past {gate[update.group]}")

    # --- orders that leave ---

    def leaves(self, order: Order) -> None:
        """An order is about to go to the venue."""
        name = order.client_id
        if name in self._sent:
            raise ViolationError("once", f"order {name} is sent again")
        life = self.shadow.orders.get(name)
        if life is None or life.state is not OrderState.SENT or life.order != order:
            raise ViolationError("once", f"order {name} leaves, and the journal does not have it")
        self._sent.add(name)
        if not self.reduces(order):
            self._stopped_by_hand(f"order {name} leaves")

    # --- at every step ---

    def look(self) -> None:
        """The folds are in step with the journal: hold them against the shadow."""
        node, shadow = self.node, self.shadow
        if node is None or self._looked == shadow.records:
            return
        self._looked = shadow.records
        if (rows := node.recorder.journal.rows) != shadow.records:
            raise ViolationError("journal", f"{shadow.records} rows were kept, {rows} are left")
        books = node.action.books
        latches = {key: str(latch.state) for key, latch in books.breakers.latches.items()}
        if latches != {key: latch.state for key, latch in shadow.latches.items()}:
            raise ViolationError("breakers", f"the journal has {shadow.latches}, live: {latches}")
        for name in shadow.stops_by_hand:
            if (name, "") not in shadow.latches:
                raise ViolationError("emergency", f"{name} was said, and it is not so")
        if self._moved != shadow.movements:
            self._moved = shadow.movements
            self._look_at_money(books)

    def _look_at_money(self, books: "Books") -> None:
        ledger, shadow = books.ledger, self.shadow
        for what, live, true in (
            ("cash", dict(ledger.cash), shadow.cash),
            ("fees", dict(ledger.fees), shadow.fees),
            ("positions", ledger.positions, shadow.positions),
        ):
            if {k: n for k, n in live.items() if n} != {k: n for k, n in true.items() if n}:
                raise ViolationError("conservation", f"{what}: ledger {live}, anew {true}")
        for name, book in ledger.books().items():
            parts = [ledger.books(strategy).get(name) for strategy in ledger.strategies]
            told = [(part.position, part.volume, part.funding) for part in parts if part]
            sums = tuple(sum(each) for each in zip(*told, strict=True))
            account = book.position, book.volume, book.funding
            if sums != account:
                raise ViolationError("strategies", f"{name}: {told} do not add up to {account}")

    def look_at_models(self) -> None:
        """Between two reads of the feed: every model is the journaled one."""
        if self.node is None or self.node.perception.gating.records:
            return  # what was learned of the past before the first row waits to be journaled
        for group in self.node.perception.gating.groups:
            known = self.shadow.models.get(group.name)
            if group.model is not None and known is not None and group.model.encoded() != known:
                raise ViolationError("models", f"{group.name} is not the model of the journal")

    # --- behind admission ---

    def watch(self, node: "Node") -> None:
        """See all that the node's admission lets in."""
        admission = node.perception.admission
        admitted: Callable[[Raw, NDArray[np.uint8]], Admitted] = admission.admitted

        def seen(rows: Raw, reasons: NDArray[np.uint8]) -> Admitted:
            self._look_behind(node, rows, reasons)
            return admitted(rows, reasons)

        admission.admitted = seen  # type: ignore[method-assign]
        catalog = node.perception.catalog
        books = len(catalog.instruments), len(catalog.sources)
        self._sequences = np.full((*books, kernels.KINDS), -1, np.int64)

    def _look_behind(self, node: "Node", rows: Raw, reasons: NDArray[np.uint8]) -> None:
        catalog, sources = node.perception.catalog, node.perception.gating.sources
        barred = np.full(len(catalog.sources), kernels.NEVER)
        for at, source in enumerate(catalog.sources):
            if source.name in self.shadow.barred and not sources[source.name].admitted:
                barred[at] = self.shadow.barred[source.name]  # perhaps by a review in these rows
        wrong, at = kernels.first_wrong(rows, reasons, barred, UNTRUE, self._sequences)
        if wrong:
            row = rows[at]
            text = {
                kernels.BARRED: f"rows of {catalog.sources[row['source']].name}, which is barred",
                kernels.MALFORMED: f"malformed or forged rows: {row}",
                kernels.BACKWARD: f"sequence {row['sequence']} of {row['source']} goes back",
            }[wrong]
            raise ViolationError("admission", text)
