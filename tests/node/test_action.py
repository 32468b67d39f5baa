"""The action side at its boundaries: what may be traded, what is refused, and what is told."""

import numpy as np
import pytest

from seawall.core.consensus import CONSENSUS
from seawall.core.errors import StoreError
from seawall.core.frames import FRAME
from seawall.core.intents import Urgency
from seawall.core.orders import Order, OrderState
from seawall.core.records import (
    AnyRecord,
    BreakerChanged,
    Halted,
    IntentApproved,
    IntentDecided,
    OrderChanged,
    OrderCreated,
)
from seawall.node.perception import Perceived, boundaries
from seawall.risk.limits import Limits
from tests.execution.scripted_venue import (
    CATALOG,
    OTHER,
    PERP,
    SPOT,
    Faults,
)
from tests.node.acting import BOOK_OF, PRICE, STALE, Desk


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


@pytest.mark.parametrize("state", ["OPEN", "HALF_OPEN"])
def test_a_freeze_concerns_its_own_asset(desk, state):
    desk.breaker("volatility_spike", "ETH", state)
    desk.wish(5)
    desk.wish(5, OTHER.name)
    desk.step(3)
    assert (desk.lots(), desk.lots(OTHER.name)) == (5, 0)
    (reason,) = desk.refusals()
    assert "volatility_spike of ETH" in reason
    assert desk.wishes.frozen == {name for name in BOOK_OF if CATALOG.by_name[name].base == "ETH"}


def test_a_freeze_also_stops_what_was_approved_before(desk):
    desk.wishes.urgency = Urgency.PASSIVE
    desk.wish(5)
    desk.wish(5, OTHER.name)
    desk.step(2)
    both = {entry.order.instrument for entry in desk.books.orders.open.values()}
    assert both == {PERP.name, OTHER.name}
    desk.breaker("volatility_spike", "ETH")
    desk.step(3)
    left = {entry.order.instrument for entry in desk.books.orders.open.values()}
    assert left == {PERP.name}


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
