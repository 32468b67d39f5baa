"""Parent orders: worked by their plans, never beyond their goal, found again after a restart."""

from itertools import accumulate

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seawall.core.clock import SECOND
from seawall.core.errors import InvariantError
from seawall.core.intents import Approved, Target, Urgency
from seawall.core.parents import Algorithm, Pace
from seawall.core.records import (
    Deposited,
    IntentApproved,
    OrderCreated,
    ParentBegan,
    ParentEnded,
    RunStarted,
)
from seawall.execution import Executor, Orders
from seawall.execution.pacing import Pacer
from seawall.execution.parents import Parents
from seawall.execution.schedules import due, plan_of
from seawall.ledger import Ledger
from seawall.storage import MemoryJournal, Recorder
from seawall.storage.recorder import recover
from tests.execution.scripted_venue import BALANCES, CATALOG, PERP, Faults, ScriptedVenue

START = 1_000 * SECOND
HORIZON = 100 * SECOND
TWAP = Pace(algorithm=Algorithm.TWAP, horizon=HORIZON, slices=10)


class Paced:
    """An executor with a pacer that can be killed and started again on its journal."""

    def __init__(self, pace: Pace | None = TWAP, least: int = 1, **venue: object) -> None:
        self.now, self.pace, self.least = START, pace, least
        self.venue = ScriptedVenue(now=START, **venue)
        self.journal = MemoryJournal()
        self.start()
        self.recorder.record(
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
        self.executor.recover(self.now)
        self.executor.behind = False

    def start(self) -> None:
        self.ledger, self.orders, self.parents = Ledger(), Orders(), Parents()
        folds = [self.ledger, self.orders, self.parents]
        recover(self.journal, folds)
        self.recorder = Recorder(self.journal, folds)
        pacer = Pacer(
            self.parents,
            self.recorder.record,
            lambda goal: self.ledger.position(goal.instrument),
            "a",
            7,
            self.pace,
            least=lambda instrument, touch: self.least,
        )
        self.executor = Executor(
            CATALOG,
            self.venue,
            self.orders,
            "a",
            self.recorder.record,
            self.ledger.position,
            lambda: self.ledger.last_fill_sequence("v"),
            pace=pacer,
        )

    def kill(self) -> None:
        """As after kill -9: only the journal is left."""
        self.start()
        self.executor.recover(self.now)
        self.executor.sync_fills(self.now)

    def approve(self, position: int, heard: bool = True, **about: object) -> None:
        values = {
            "strategy": "rules",
            "ts": self.now,
            "tape": 0,
            "expiry": self.now + 10_000 * SECOND,
            "instrument": PERP.name,
            "exposure": float(position),
        }
        reduce_only = bool(about.pop("reduce_only", False))
        approved = Approved(
            intent=Target(**{**values, **about}),  # type: ignore[arg-type]
            instrument=PERP.name,
            position=position,
            reduce_only=reduce_only,
        )
        self.recorder.record(IntentApproved(ts=self.now, approved=approved))
        if heard:
            self.executor.aim([approved])
            self.work()

    def work(self) -> None:
        if not self.executor.doubtful:
            self.executor.behind = False
        self.executor.work(self.venue.touches, self.now, ())

    def step(self, volume: float = 0.0) -> None:
        self.now += SECOND
        self.venue.pass_to(self.now)
        self.executor.listen(self.now)
        self.executor.heard({PERP.name: volume})
        self.work()

    @property
    def position(self) -> int:
        return self.ledger.position(PERP.name)

    def told(self, *kinds: type) -> list:
        return [r for _, r in self.journal.read() if isinstance(r, kinds)]


def test_children_follow_the_plan_and_the_total_is_exact() -> None:
    paced = Paced()
    paced.approve(1_000)
    (began,) = paced.told(ParentBegan)
    parent = began.parent
    plan = plan_of(parent)
    assert (parent.lots, parent.held, parent.bid, parent.ask) == (1_000, 0, 9_999, 10_001)
    for _ in range(110):
        paced.step()
        ahead = sum(e.remaining for e in paced.orders.open.values())
        assert paced.position + ahead <= due(plan, paced.now - parent.start)
    assert paced.position == 1_000
    sizes = [r.order.size for r in paced.told(OrderCreated)]
    assert list(accumulate(sizes)) == list(plan.done)
    (ended,) = paced.told(ParentEnded)
    assert (ended.parent_id, ended.reason) == (parent.parent_id, "over")


def test_what_is_urgent_or_reduces_by_order_of_risk_goes_at_once() -> None:
    paced = Paced()
    paced.approve(1_000, urgency=Urgency.URGENT)
    paced.step()
    assert paced.position == 1_000
    paced.approve(400, reduce_only=True)
    paced.step()
    assert paced.position == 400
    assert not paced.told(ParentBegan)


def test_urgency_ends_a_parent_and_sends_what_is_left() -> None:
    paced = Paced()
    paced.approve(1_000)
    for _ in range(30):
        paced.step()
    assert 0 < paced.position < 1_000
    paced.approve(0, urgency=Urgency.URGENT)
    paced.step()
    assert paced.position == 0
    assert [r.reason for r in paced.told(ParentEnded)] == ["sent at once"]


def test_an_intent_names_its_own_pace_where_the_settings_have_none() -> None:
    paced = Paced(None)
    paced.approve(100)
    paced.step()
    assert paced.position == 100
    paced.approve(300, pace=TWAP)
    for _ in range(5):  # the first child may be late by 0.3 of a slot of ten seconds
        paced.step()
    assert 100 < paced.position < 300
    assert paced.told(ParentBegan)[0].parent.held == 100


def test_a_goal_that_moves_a_little_keeps_its_plan_and_another_one_begins_anew() -> None:
    paced = Paced()
    paced.approve(1_000)
    for _ in range(20):
        paced.step()
    paced.approve(1_040)
    assert len(paced.told(ParentBegan)) == 1
    paced.approve(3_000)
    paced.step()
    first, second = paced.told(ParentBegan)
    assert second.parent.held + second.parent.lots == 3_000
    assert paced.told(ParentEnded)[0].parent_id == first.parent.parent_id
    paced.approve(-500)
    for _ in range(120):
        paced.step()
    assert paced.position == -500


def test_participation_goes_by_what_others_trade() -> None:
    pace = Pace(algorithm=Algorithm.PARTICIPATION, horizon=HORIZON, slices=20, share_ppm=100_000)
    paced = Paced(pace)
    paced.approve(200)
    others = 0
    for _ in range(120):
        paced.step(30)
        others += 30
        assert paced.position <= (others + paced.position) * 0.1 + 1e-9
    assert paced.position == 200
    quiet = Paced(pace)
    quiet.approve(200)
    for _ in range(300):
        quiet.step(0)
    assert quiet.position == 0


def test_an_iceberg_shows_its_tip_and_the_next_when_that_is_filled() -> None:
    pace = Pace(algorithm=Algorithm.ICEBERG, horizon=HORIZON, visible=30)
    paced = Paced(pace)
    paced.approve(100)
    for _ in range(60):
        paced.step()
    sizes = [r.order.size for r in paced.told(OrderCreated)]
    assert paced.position == 100 == sum(sizes)
    assert max(sizes) <= 30
    assert len(sizes) >= 4


def test_an_iceberg_whose_goal_grows_a_little_never_shows_more() -> None:
    paced = Paced(Pace(algorithm=Algorithm.ICEBERG, horizon=HORIZON, visible=60, jitter=0.0))
    paced.approve(600)
    while paced.position < 480:
        paced.step()
    paced.approve(650)
    for _ in range(20):
        paced.step()
    assert paced.position == 650
    assert len(paced.told(ParentBegan)) == 1
    assert max(r.order.size for r in paced.told(OrderCreated)) <= 60


FAULTS = st.sampled_from(
    ["none", "refuse", "lose_request", "lose_answer", "hold_reports", "repeat", "kill", "depth"]
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.sampled_from([TWAP, msgspec.structs.replace(TWAP, algorithm=Algorithm.ICEBERG, visible=90)]),
    st.lists(st.tuples(FAULTS, st.integers(1, 25)), max_size=10),
    st.integers(100, 2_000),
)
def test_however_often_it_dies_and_whatever_is_lost_the_total_is_exact(
    pace: Pace, story: list[tuple[str, int]], lots: int
) -> None:
    paced = Paced(pace)
    paced.approve(lots)
    for what, steps in story:
        paced.venue.faults = Faults()
        paced.venue.depth = 1_000_000
        if what == "kill":
            paced.kill()
        elif what == "depth":
            paced.venue.depth = 3
        elif what == "refuse":
            paced.venue.faults = Faults(refuse="not now")
        elif what != "none":
            paced.venue.faults = Faults(**{what: True})
        for _ in range(steps):
            paced.step()
            out = sum(e.remaining for e in paced.orders.open.values())
            assert paced.position + out <= lots
    paced.venue.faults, paced.venue.depth = Faults(), 1_000_000
    for _ in range(400):
        paced.step()
    assert paced.position == lots == paced.venue.lots(PERP.name)
    assert len(paced.told(ParentBegan)) == 1
    assert not paced.parents.open


def test_after_a_restart_the_plan_is_where_it_was() -> None:
    undisturbed, killed = Paced(), Paced()
    for one in (undisturbed, killed):
        one.approve(1_000)
    for k in range(110):
        undisturbed.step()
        killed.step()
        if k in (13, 37, 38, 71):
            killed.kill()
    sizes = [[r.order.size for r in one.told(OrderCreated)] for one in (undisturbed, killed)]
    assert sizes[0] == sizes[1]
    assert killed.position == 1_000


def test_the_fold_gives_back_what_it_took_and_refuses_what_cannot_be() -> None:
    paced = Paced()
    paced.approve(1_000)
    again = Parents()
    again.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(paced.parents.state())))
    assert again.open == paced.parents.open
    assert again.approvals == paced.parents.approvals
    assert again.begun == 1
    (began,) = paced.told(ParentBegan)
    with pytest.raises(InvariantError, match="is being worked"):
        again.apply(began)
    with pytest.raises(InvariantError, match="not being worked"):
        again.apply(ParentEnded(ts=0, parent_id="x", reason=""))


@pytest.mark.parametrize("algorithm", [Algorithm.TWAP, Algorithm.ICEBERG, Algorithm.ALMGREN_CHRISS])
def test_children_are_joined_up_to_the_smallest_order_and_nothing_is_left_over(
    algorithm: Algorithm,
) -> None:
    paced = Paced(Pace(algorithm=algorithm, horizon=HORIZON, slices=10, bend=4.0), least=160)
    paced.approve(1_000)
    for _ in range(130):
        paced.step()
    assert paced.position == 1_000
    sizes = [r.order.size for r in paced.told(OrderCreated)]
    assert len(sizes) > 1
    assert min(sizes) >= 160


@pytest.mark.parametrize("strategy", ["risk", "other"])
def test_after_a_restart_no_plan_goes_on_that_a_newer_approval_had_replaced(strategy: str) -> None:
    paced = Paced()
    paced.approve(1_000)
    paced.step()
    paced.approve(paced.position, heard=False, strategy=strategy)
    held = paced.position
    paced.kill()
    for _ in range(100):
        paced.step()
    assert paced.position == held
