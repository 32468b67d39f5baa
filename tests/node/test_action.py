"""The action side at its boundaries: what may be traded, what is refused, and what is told."""

from typing import Any

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray

from seawall.core.clock import MINUTE, SECOND
from seawall.core.consensus import CONSENSUS
from seawall.core.errors import StoreError
from seawall.core.events import Side
from seawall.core.frames import FRAME, FrameFlag, Regime
from seawall.core.intents import Close, Target, Urgency
from seawall.core.orders import Order, OrderState, OrderType
from seawall.core.records import (
    AnyRecord,
    BreakerChanged,
    Deposited,
    FillBooked,
    Halted,
    IntentApproved,
    IntentDecided,
    IntentRefused,
    LedgerAdjusted,
    OperatorCommanded,
    OrderAdopted,
    OrderChanged,
    OrderCreated,
    RunStarted,
)
from seawall.execution import Executor
from seawall.node.accounts import AccountDesk
from seawall.node.action import Action
from seawall.node.books import Books
from seawall.node.foreign import Foreign
from seawall.node.perception import Perceived, boundaries
from seawall.node.prices import Prices
from seawall.node.reconciliation import PATIENCE
from seawall.risk.breakers import BREAKERS, Breakers, State
from seawall.risk.gauges import Gauges
from seawall.risk.limits import Limits
from seawall.storage import MemoryJournal, Recorder
from tests.execution.scripted_venue import (
    BALANCES,
    CATALOG,
    OTHER,
    PERP,
    SPOT,
    Faults,
    ScriptedVenue,
)

START = 1_000 * SECOND
GOOD, STALE = int(FrameFlag.VALID), int(FrameFlag.STALE)
GROUPS = sorted({instrument.consensus_group for instrument in CATALOG.instruments})
BOOK_OF = {PERP.name: 0, OTHER.name: 1, SPOT.name: 2}
PRICE = 10_000.0


class Wishes:
    """Stands where the orchestrator stands: it wants the same at every boundary."""

    strategy = "rules"

    def __init__(self) -> None:
        self.exposures: dict[str, float | None] = {}  # None: close
        self.urgency = Urgency.URGENT
        self.frozen: set[str] = set()

    def refused(self, instrument: str, until: int) -> None:
        """It asks all the same."""

    def again(self, frozen: set[str]) -> None:
        """As above."""
        self.frozen = frozen

    def decide(
        self, rows, opinions, equity, positions, ready, now, tape, strengths=None
    ) -> list[Any]:
        about = {"strategy": "rules", "ts": now, "tape": tape, "expiry": now + MINUTE}
        return [
            Close(**about, urgency=self.urgency, instrument=name)
            if exposure is None
            else Target(**about, urgency=self.urgency, instrument=name, exposure=exposure)
            for name, exposure in self.exposures.items()
        ]


class Desk:
    """An Action on a scripted venue, and frames written by hand."""

    def __init__(self) -> None:
        self.now = START
        self.venue = ScriptedVenue(now=START)
        self.journal = MemoryJournal()
        self.books = Books(BREAKERS)
        recorder = Recorder(self.journal, self.books.folds)
        self.record = recorder.record
        self.record(
            RunStarted(
                ts=START,
                run="r",
                mode="paper",
                seed=0,
                settings="",
                numeraire="USD",
                instruments=CATALOG.instruments,
            ),
            *(Deposited(ts=START, asset=a, amount=n) for a, n in BALANCES.items()),
        )
        self.wishes = Wishes()
        executor = Executor(
            CATALOG,
            self.venue,
            self.books.orders,
            "a",
            self.record,
            self.books.ledger.position,
            lambda: self.books.ledger.last_fill_sequence("v"),
        )
        self.action = Action(
            self.books,
            Prices(CATALOG),
            {},
            self.wishes,
            Gauges(BREAKERS, SECOND),
            Limits(),
            [AccountDesk("", executor, self.venue, self.books, CATALOG)],
            recorder,
        )
        executor.recover(START)
        self.action.reconcile(START)
        self.flags = dict.fromkeys(BOOK_OF, GOOD)
        self.prices = dict.fromkeys(BOOK_OF, PRICE)

    def frames(self) -> NDArray[Any]:
        """One row of each book that is not left out of `flags`."""
        rows = np.zeros(len(self.flags), FRAME)
        for row, (name, flags) in zip(rows, self.flags.items(), strict=True):
            price = self.prices[name]
            row["ts"], row["tape"], row["book"], row["flags"] = self.now, 7, BOOK_OF[name], flags
            row["bid"], row["ask"], row["mid"] = price - 1, price + 1, price
            row["votes"], row["consensus"], row["quote_mark"] = 1, price, 1.0
            row["regime"], row["volatility"] = Regime.NORMAL_VOL, 0.3
        return rows

    def rows(self, frames: NDArray[Any]) -> NDArray[Any]:
        """The consensus of the books that have frames."""
        rows = np.zeros(len(GROUPS), CONSENSUS)
        rows["ts"], rows["tape"], rows["group"] = self.now, 7, range(len(GROUPS))
        rows["regime"], rows["volatility"] = Regime.NORMAL_VOL, 0.3
        for row, group in zip(rows, GROUPS, strict=True):
            mine = [b for b, i in enumerate(CATALOG.instruments) if i.consensus_group == group]
            valid = frames[np.isin(frames["book"], mine) & (frames["flags"] & GOOD > 0)]
            row["votes"], row["flags"] = len(valid), GOOD if len(valid) else 0
            row["price"] = np.median(valid["mid"]) if len(valid) else 0.0
        return rows

    def step(self, boundaries: int = 1) -> None:
        for _ in range(boundaries):
            self.now += SECOND
            self.venue.pass_to(self.now)
            frames = self.frames()
            self.action.act(Perceived(frames, self.rows(frames)), {}, self.now)

    def wish(self, lots: int | None, name: str = PERP.name) -> None:
        """Want a position of so many lots at the price of now; None: closed."""
        self.wishes.exposures[name] = None if lots is None else lots * PRICE

    def lots(self, name: str = PERP.name) -> int:
        return self.books.ledger.position(name)

    def told(self, *kinds: type[AnyRecord]) -> list[Any]:
        return [r for _, r in self.journal.read() if isinstance(r, kinds)]

    def refusals(self) -> list[str]:
        return [r.refused.reason for r in self.told(IntentRefused)]

    def hold(self, lots: int, name: str = PERP.name) -> None:
        self.wish(lots, name)
        self.step(3)
        assert self.lots(name) == lots
        self.wishes.exposures.clear()
        assert not self.books.orders.open

    def breaker(self, name: str, key: str = "", state: str = "OPEN") -> None:
        self.record(
            BreakerChanged(
                ts=self.now,
                name=name,
                scope=BREAKERS[name].scope,
                key=key,
                state=state,
                measure=1.0,
                threshold=BREAKERS[name].threshold,
                reason="planted",
                since=self.now,
            )
        )


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_what_is_wanted_is_journaled_approved_sent_and_held(desk):
    desk.wish(5)
    desk.step()
    kinds = [type(r) for r in desk.told(IntentDecided, IntentApproved, OrderCreated)]
    assert kinds == [IntentDecided, IntentApproved, OrderCreated]
    desk.step(2)
    assert desk.lots() == 5
    assert desk.action.disagreements() == []
    assert desk.action.blocks() == []


def test_an_intent_is_in_the_journal_before_its_order_leaves(desk):
    def known(order: Order) -> None:
        assert [r.approved.instrument for r in desk.told(IntentApproved)] == [order.instrument]
        assert order.client_id in [r.order.client_id for r in desk.told(OrderCreated)]

    desk.venue.watch = known
    desk.wish(5)
    desk.step()
    assert desk.venue.requested == ["a-1"]


def test_all_of_a_boundary_is_kept_in_one_write_before_any_of_it_leaves(desk, monkeypatch):
    happened: list[str] = []
    append = desk.journal.append

    def appended(records: list[AnyRecord]) -> None:
        happened.append("write")
        append(records)

    monkeypatch.setattr(desk.journal, "append", appended)
    desk.venue.watch = lambda order: happened.append(order.instrument)
    for lots in (5, -5):  # the second boundary books the fills of the first as well
        happened.clear()
        desk.wish(lots)
        desk.wish(lots, OTHER.name)
        desk.step()
        assert happened == ["write", PERP.name, OTHER.name]
    desk.step(2)
    assert (desk.lots(), desk.lots(OTHER.name)) == (-5, -5)


def test_nothing_leaves_where_it_cannot_be_kept(desk, monkeypatch):
    def full(records: list[AnyRecord]) -> None:
        raise StoreError("no space is left")

    desk.step()
    monkeypatch.setattr(desk.journal, "append", full)
    desk.wish(5)
    for _ in range(2):  # the folds are ahead of the journal: it stays so
        with pytest.raises(StoreError, match="no space"):
            desk.step()
        monkeypatch.undo()
    assert desk.venue.requested == []
    with pytest.raises(StoreError, match="no space"):
        desk.action.halt("a defect", desk.now)
    assert desk.told(IntentDecided, OrderCreated) == []


def test_what_was_decided_before_a_defect_leaves(desk, monkeypatch):
    def defect(*_: object) -> None:
        raise ZeroDivisionError

    desk.wish(5)
    monkeypatch.setattr(desk.action.executor._protecting, "work", defect)
    with pytest.raises(ZeroDivisionError):
        desk.step()
    assert desk.venue.requested == ["a-1"]
    assert desk.told(OrderCreated)


def test_what_would_leave_after_the_venue_fell_silent_stays_here(desk):
    def fails_after_this(order: Order) -> None:
        desk.venue.faults.lose_request = True

    desk.venue.watch = fails_after_this
    desk.wish(5)
    desk.wish(5, OTHER.name)
    desk.step()
    assert desk.venue.requested == ["a-1"]
    states = {r.client_id: (r.state, r.reason) for r in desk.told(OrderChanged)}
    assert states["a-1"][0] is OrderState.UNKNOWN
    assert states["a-2"][0] is OrderState.REJECTED
    assert states["a-2"][1].startswith("not sent: ")
    desk.venue.watch, desk.venue.faults.lose_request = lambda order: None, False
    desk.step(20)
    assert (desk.lots(), desk.lots(OTHER.name)) == (5, 5)
    assert not desk.action.disagreements()


def test_a_wish_to_close_what_is_not_held_is_nothing(desk):
    desk.wish(None)
    desk.step(3)
    assert desk.told(IntentDecided) == []


# --- no new risk ---


@pytest.mark.parametrize(
    ("flags", "reason"), [(STALE, "the market is stale"), (0, "the book is not valid")]
)
def test_a_bad_market_takes_no_new_risk(desk, flags, reason):
    desk.flags[PERP.name] = flags
    desk.wish(5)
    desk.wish(5, OTHER.name)
    desk.step(3)
    assert desk.refusals() == [reason]
    assert (desk.lots(), desk.lots(OTHER.name)) == (0, 5)


def test_a_market_without_frames_takes_no_new_risk(desk):
    desk.step()
    del desk.flags[PERP.name]
    desk.wish(5)
    desk.step(3)
    assert desk.refusals() == ["no frame: the market is silent"]


def test_an_order_whose_fate_is_unknown_takes_no_more_risk_on(desk):
    desk.venue.faults = Faults(hold_reports=True)
    desk.wish(5)
    desk.step(4)
    desk.venue.standing["a-1"].state = OrderState.SENT  # on its way, for all that we can ask
    desk.venue.history.clear()
    desk.step(6)
    assert desk.books.orders.open["a-1"].state is OrderState.UNKNOWN
    desk.wish(9)
    desk.step(3)
    assert desk.refusals() == ["an order's fate is unknown"]
    assert desk.venue.requested == ["a-1"]
    desk.wish(5, OTHER.name)
    desk.step()
    assert len(desk.venue.requested) == 2


@pytest.mark.parametrize("name", ["flash_crash", "equity_crash", "drawdown"])
@pytest.mark.parametrize("state", ["OPEN", "HALF_OPEN"])
def test_an_open_breaker_takes_no_new_risk_and_lets_risk_off(desk, name, state):
    desk.hold(5)
    desk.breaker(name, "BTC" if name == "flash_crash" else "", state)
    desk.wish(9)
    desk.wish(5, OTHER.name)
    desk.step(2)
    assert (desk.lots(), desk.lots(OTHER.name)) == (5, 0)
    assert any(name in reason for reason in desk.action.blocks())
    assert any(f"breaker {name}" in reason for reason in desk.refusals())
    desk.wish(2)
    desk.step(2)
    assert desk.lots() == 2


def test_a_freeze_concerns_its_own_asset(desk):
    desk.breaker("volatility_spike", "ETH")
    desk.wish(5)
    desk.wish(5, OTHER.name)
    desk.step(3)
    assert (desk.lots(), desk.lots(OTHER.name)) == (5, 0)
    (reason,) = desk.refusals()
    assert "volatility_spike of ETH" in reason
    assert desk.wishes.frozen == {name for name in BOOK_OF if CATALOG.by_name[name].base == "ETH"}


def test_a_halt_takes_no_new_risk_until_it_is_lifted(desk):
    desk.action.halt("somebody pulled the plug", desk.now)
    desk.action.halt("somebody pulled the plug", desk.now)
    desk.wish(5)
    desk.step(3)
    assert desk.action.blocks() == ["somebody pulled the plug"]
    assert desk.refusals() == ["somebody pulled the plug"]
    assert len(desk.told(Halted)) == 1
    assert desk.wishes.frozen == set(BOOK_OF)
    desk.action.halt("", desk.now)
    desk.step(3)
    assert desk.lots() == 5


def test_a_venue_out_of_reach_takes_no_new_risk(desk):
    desk.venue.faults.dead = True
    desk.wish(5)
    desk.step(3)
    assert desk.venue.requested == []
    assert "does not answer" in desk.action.blocks()[0]
    assert "does not answer" in desk.refusals()[0]
    desk.venue.faults = Faults()
    desk.step(3)
    assert desk.lots() == 5


def test_nothing_is_traded_before_the_breakers_have_measured(desk):
    assert any(reason.startswith("unknown measure") for reason in desk.action.blocks())
    desk.step()
    assert desk.action.blocks() == []


def test_a_crash_in_the_frames_opens_the_breaker_within_the_same_boundary(desk):
    desk.step(3)
    desk.prices = dict.fromkeys(BOOK_OF, PRICE * 0.9)
    desk.wish(5)
    desk.step()
    opened = {(c.name, c.key) for c in desk.told(BreakerChanged)}
    assert opened == {("flash_crash", "BTC"), ("flash_crash", "ETH")}
    assert desk.venue.requested == []


def test_a_drawdown_latches(desk):
    desk.hold(-1_990)
    desk.prices[PERP.name] = 2.2 * PRICE  # the account loses almost a quarter
    desk.step()
    assert "drawdown" in [c.name for c in desk.told(BreakerChanged)]
    desk.prices[PERP.name] = PRICE
    desk.step(1_300)
    assert any("breaker drawdown is OPEN" in reason for reason in desk.action.blocks())
    assert desk.action.drawdown == pytest.approx(0.0, abs=0.01)
    assert desk.action.max_drawdown == pytest.approx(0.24, abs=0.01)


def test_leverage_over_its_cap_is_brought_down(desk):
    desk.hold(1_000)
    desk.action.limits = Limits(leverage=0.05)
    desk.breaker("leverage")
    desk.step(3)
    equity = desk.action.equity
    assert 0 < desk.lots() * PRICE <= 0.05 * equity
    assert {r.approved.intent.strategy for r in desk.told(IntentApproved)} == {"rules", "risk"}


# --- what is told ---


def test_a_refusal_that_stands_is_not_told_every_second(desk):
    desk.action.halt("no", desk.now)
    desk.wish(5)
    desk.step(100)
    assert desk.refusals() == ["no"]
    assert len(desk.told(IntentDecided)) == 1
    desk.action.halt("still no", desk.now)
    desk.step(10)
    assert desk.refusals() == ["no", "still no"]


def test_a_refusal_on_one_instrument_hides_none_on_another(desk):
    desk.action.halt("no", desk.now)
    desk.wish(5)
    desk.wish(5, OTHER.name)
    desk.step(10)
    assert len(desk.refusals()) == 2


@pytest.mark.parametrize("name", ["emergency_stop", "emergency_close"])
def test_an_emergency_stop_cancels_what_adds_risk_and_lasts(desk, name):
    desk.hold(5)
    desk.wishes.urgency = Urgency.PASSIVE
    desk.wish(8)
    desk.step(2)
    assert desk.books.orders.open
    desk.record(*desk.books.breakers.trip(name, desk.now, "operator"))
    desk.wish(9, OTHER.name)
    desk.step(5)
    assert not desk.books.orders.open
    assert desk.lots() == (0 if name == "emergency_close" else 5)
    assert desk.lots(OTHER.name) == 0
    assert f"breaker {name} is OPEN" in desk.action.blocks()[0]
    again = Breakers(BREAKERS)
    again.restore(desk.books.breakers.state())  # as after a restart
    assert again.blocking("")[0] == desk.action.blocks()[0]
    assert desk.books.breakers.trip(name, desk.now, "operator") == []  # once is enough


def test_an_emergency_close_puts_an_end_to_what_was_wanted(desk):
    desk.hold(5)
    desk.venue.faults = Faults(refuse="not now")
    desk.wish(20)
    desk.step(2)
    assert desk.action.executor.goals
    desk.venue.faults = Faults()
    desk.record(*desk.books.breakers.trip("emergency_close", desk.now, "operator"))
    desk.step(10)
    assert desk.lots() == 0


def test_an_emergency_close_goes_on_until_all_is_closed(desk):
    desk.hold(5)
    desk.flags[PERP.name] = STALE  # for now nothing can be sold
    desk.record(*desk.books.breakers.trip("emergency_close", desk.now, "operator"))
    desk.step(70)
    assert desk.lots() == 5
    desk.flags[PERP.name] = GOOD
    desk.step(70)
    assert desk.lots() == 0


def test_an_operator_releases_an_emergency_stop(desk):
    desk.record(*desk.books.breakers.trip("emergency_stop", desk.now, "operator"))
    for state in (State.HALF_OPEN, State.CLOSED):
        (change,) = desk.books.breakers.release("emergency_stop", "", desk.now, "operator")
        assert change.state == state
        desk.record(change)
    desk.wish(5)
    desk.step(3)
    assert desk.lots() == 5


# --- agreement with the venue ---


def test_open_orders_count_at_their_worst(desk):
    desk.wishes.urgency = Urgency.PASSIVE
    desk.wish(7)
    desk.step(2)
    holding = desk.action.holdings()[PERP.name]
    assert (holding.worst_short, holding.lots, holding.worst_long) == (0, 0, 7)
    assert not desk.action.holdings()[SPOT.name].shortable


def insist(desk):
    """A difference is looked at until it has stood long enough to be believed."""
    first = desk.now
    desk.action.reconcile(desk.now)
    while desk.action.accounts.desks[0].doubt.what:
        assert desk.told(Halted) == []
        desk.now += SECOND
        desk.action.reconcile(desk.now)
    assert desk.now - first == PATIENCE


def test_a_balance_that_lags_behind_its_fill_blocks_new_risk_and_halts_nothing(desk):
    desk.step()
    desk.venue.balances_["USD"] += 1
    desk.action.compare_due = True
    desk.step(2)
    desk.wish(5)
    desk.step(2)
    assert desk.venue.requested == []
    assert [reason for reason in desk.action.blocks() if "looking again" in reason]
    desk.venue.balances_["USD"] -= 1
    desk.step(3)
    assert desk.action.blocks() == []
    assert desk.venue.requested
    assert desk.told(Halted) == []


@pytest.mark.parametrize("asset", ["USD", "XYZ"])
def test_a_balance_that_differs_halts(desk, asset):
    desk.venue.balances_[asset] = desk.venue.balances_.get(asset, 0) + 1
    insist(desk)
    (halt,) = desk.told(Halted)
    assert halt.reason.startswith(f"ledger and venue differ: {asset}: ledger")
    desk.wish(5)
    desk.step(2)
    assert desk.venue.requested == []


def test_an_order_that_we_did_not_send_halts(desk):
    desk.venue.place(
        Order(
            client_id="x-1",
            instrument=PERP.name,
            side=Side.BUY,
            type=OrderType.LIMIT,
            size=1,
            price=5_000,
        )
    )
    insist(desk)
    (halt,) = desk.told(Halted)
    assert halt.reason == "the venue has orders that we do not know: x-1"


def test_what_an_operator_has_looked_at_is_adopted_once(desk):
    desk.step()
    desk.venue.balances_["USD"] += 1_000
    order = Order(
        client_id="x-1",
        instrument=PERP.name,
        side=Side.BUY,
        type=OrderType.LIMIT,
        size=1,
        price=5_000,
    )
    desk.venue.place(order)
    insist(desk)
    assert desk.books.tally.halted
    adopted = desk.action.adopt("operator", desk.now)
    assert [line.split()[0] for line in adopted] == ["order", "deposit"]
    assert desk.action.adopt("operator", desk.now) == []
    assert desk.books.ledger.deposits["USD"] == BALANCES["USD"] + 1_000
    assert [r.who for r in desk.told(LedgerAdjusted, OrderAdopted)] == ["operator"] * 2
    desk.action.reconcile(desk.now)
    assert desk.books.tally.halted == ""
    desk.hold(5)


def test_a_trade_that_is_not_ours_stops_new_risk_until_it_is_adopted(desk):
    desk.hold(5)
    stranger = msgspec.structs.replace(
        desk.venue.trades[-1], sequence=1_000, fill_id="x", client_id="web-1"
    )
    desk.record(FillBooked(ts=desk.now, fill=stranger, strategy="external"))
    (reason,) = desk.action.blocks()
    assert "trades in the account that are not ours: BUY 5 lots" in reason
    assert "seawall reconcile --adopt" in reason
    kept = Foreign()
    kept.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(desk.books.foreign.state())))
    assert kept.reason == desk.books.foreign.reason
    desk.record(OperatorCommanded(ts=desk.now, command="adopt", arguments={}, who="operator"))
    assert desk.action.blocks() == []


def test_positions_and_cash_agree_after_trading_all_kinds(desk):
    for name in BOOK_OF:
        desk.hold(9, name)
        desk.hold(4, name)
    desk.hold(-3)
    assert desk.action.disagreements() == []
    desk.action.reconcile(desk.now)
    assert desk.told(Halted) == []
    assert [f.fill for f in desk.told(FillBooked)] == desk.venue.trades


def test_frames_and_rows_fall_into_boundaries():
    frames, rows = np.zeros(5, FRAME), np.zeros(6, CONSENSUS)
    frames["ts"], rows["ts"] = [1, 1, 2, 4, 4], [1, 1, 2, 2, 4, 4]
    found = list(boundaries(Perceived(frames, rows)))
    assert [one.frames["ts"].tolist() for one, _ in found] == [[1, 1], [2], [4, 4]]
    assert [one.rows["ts"].tolist() for one, _ in found] == [[1, 1], [2, 2], [4, 4]]
    assert [part for _, part in found] == [slice(0, 2), slice(2, 4), slice(4, 6)]
    ((one, part),) = boundaries(Perceived(frames[:1], rows[:2]))
    assert (len(one.frames), len(one.rows), part) == (1, 2, slice(0, 2))


def test_what_is_approved_and_still_to_be_ordered_takes_up_room() -> None:
    """What the venue has turned away goes out later, when another asset holds the rest."""
    desk = Desk()
    desk.action.limits = Limits(position=0.2, leverage=0.3)
    desk.step()
    whole = int(0.19 * desk.action.equity / PRICE)
    desk.venue.faults.refuse = "not now"
    desk.wish(whole, PERP.name)
    desk.step()
    desk.wishes.exposures.clear()
    desk.venue.faults.refuse = ""
    desk.wish(whole, OTHER.name)
    desk.step()
    approved = {r.approved.instrument: r.approved.position for r in desk.told(IntentApproved)}
    gross = sum(map(abs, approved.values())) * PRICE
    assert approved[PERP.name] == whole
    assert 0 < approved[OTHER.name] < whole
    assert gross <= 0.3 * desk.action.equity


def test_a_silent_market_is_marked_by_the_consensus_of_the_others() -> None:
    """What is held there is worth what the asset is worth, not what its market said last."""
    desk = Desk()
    desk.hold(3)
    del desk.flags[PERP.name]
    desk.prices[SPOT.name] = 1.25 * PRICE
    desk.step()
    assert desk.action.prices.marks[PERP.name] == 1.25 * PRICE
    assert desk.action.prices.marks[OTHER.name] == PRICE
    assert PERP.name not in desk.action.prices.touches
