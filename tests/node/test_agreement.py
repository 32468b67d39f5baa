"""Books and venue: what differs, who may adopt it, and who may stop it all."""

import msgspec
import pytest

from seawall.core.clock import SECOND
from seawall.core.errors import VenueUnreachableError
from seawall.core.events import Side
from seawall.core.intents import Approved, Level, Quotes, Urgency
from seawall.core.orders import Order, OrderType
from seawall.core.records import (
    FillBooked,
    Halted,
    LedgerAdjusted,
    OperatorCommanded,
    OrderAdopted,
)
from seawall.node.foreign import Foreign
from seawall.node.reconciliation import PATIENCE
from seawall.risk.breakers import BREAKERS, Breakers, State
from tests.execution.scripted_venue import (
    BALANCES,
    OTHER,
    PERP,
    SPOT,
    Faults,
)
from tests.node.acting import BOOK_OF, GOOD, STALE, Desk


@pytest.fixture
def desk() -> Desk:
    return Desk()


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


def test_a_ladder_counts_before_its_orders_stand(desk):
    about = {"strategy": "rules", "ts": desk.now, "tape": 0, "expiry": desk.now + 60 * SECOND}
    bids, asks = (Level(1, 4), Level(2, 3)), (Level(900_000, 5),)
    quotes = Quotes(**about, instrument=PERP.name, bids=bids, asks=asks)
    desk.action.accounts.aim([Approved(intent=quotes, instrument=PERP.name, position=0)])
    holding = desk.action.holdings()[PERP.name]
    assert (holding.worst_short, holding.lots, holding.worst_long) == (-5, 0, 7)


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


def test_what_may_be_an_exchange_that_is_late_is_not_adopted(desk):
    desk.step()
    desk.venue.balances_["USD"] += 1_000
    with pytest.raises(VenueUnreachableError, match=r"USD: ledger .* adopt once it stays"):
        desk.action.adopt("operator", desk.now)
    assert desk.told(LedgerAdjusted) == []
    desk.venue.balances_["USD"] -= 1_000
    desk.step()
    assert not desk.books.tally.halted
    assert desk.action.adopt("operator", desk.now) == []


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
