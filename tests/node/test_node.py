"""The node on a short simulated market: the same bits each time, and no risk where none may be."""

import msgspec
import numpy as np
import pytest

from seawall.core.clock import MINUTE, SECOND
from seawall.core.errors import SeawallError
from seawall.core.intents import Target
from seawall.core.records import (
    BreakerChanged,
    Deposited,
    Digest,
    FillBooked,
    Halted,
    IntentRefused,
    OperatorCommanded,
    OrderCreated,
    RunStarted,
    RunStopped,
)
from seawall.core.settings import (
    EstimationSettings,
    FeedSettings,
    RiskSettings,
    Settings,
    VenueSettings,
)
from seawall.node.node import DIGEST_FRAMES, Node
from seawall.storage.journal import MemoryJournal
from tests.node.short_runs import (
    EAGER,
    ONE_ASSET,
    ONE_SOURCE,
    QUICK,
    START,
    bend,
    every,
    fall,
    market,
    node_on,
    records,
    tape,
    with_risk,
)

SHORT = 115  # seconds


@pytest.fixture(scope="module")
def ran() -> Node:
    """A node after a short run; only looked at."""
    node = node_on(*tape(SHORT))
    node.run()
    return node


def grows(node: Node, since: int, until: int = 1 << 62) -> list[OrderCreated]:
    """Orders created in (since, until] that could make a position larger, by the journal alone."""
    lots: dict[str, int] = {}
    found = []
    for record in records(node, OrderCreated, FillBooked):
        if isinstance(record, FillBooked):
            fill = record.fill
            lots[fill.instrument] = lots.get(fill.instrument, 0) + fill.side.sign * fill.size
            continue
        order = record.order
        held = lots.get(order.instrument, 0)
        after = held + order.side.sign * order.size
        if since < record.ts <= until and not min(0, held) <= after <= max(0, held):
            found.append(record)
    return found


# --- the same bits ---


def test_it_trades(ran):
    assert len(records(ran, FillBooked)) > 50
    assert len(grows(ran, 0)) > 20


def test_the_same_tape_gives_the_same_journal(ran):
    again = node_on(*tape(SHORT)).run()
    assert again.journal_hash == ran.recorder.journal.head
    assert again.journal_rows == ran.recorder.journal.rows


@pytest.mark.parametrize("cut", [37, 1000, 4096, "random", "halves"])
def test_however_the_tape_is_cut_the_journal_is_the_same(ran, cut):
    catalog, rows = tape(SHORT)
    if cut == "random":
        drawn = np.random.Generator(np.random.Philox(7)).integers(1, len(rows), 40)
        cuts = sorted(set(drawn.tolist()))
    else:
        cuts = every(rows, len(rows) // 2 if cut == "halves" else cut)
    assert node_on(catalog, rows, cuts=cuts).run().journal_hash == ran.recorder.journal.head


def test_a_block_may_end_within_a_message(ran):
    catalog, rows = tape(SHORT)
    node = node_on(catalog, rows[:0])
    for first in range(0, len(rows), 101):
        node.take(rows[first : first + 101])
    node._close_down()
    head = ran.recorder.journal.head
    assert node.recorder.journal.head == head


def test_another_market_or_another_seed_gives_another_journal(ran):
    head = ran.recorder.journal.head
    assert node_on(*tape(SHORT, seed=4)).run().journal_hash != head
    seeded = QUICK.model_copy(update={"seed": 1})
    assert node_on(*tape(SHORT), seeded).run().journal_hash != head


# --- the frame of a run ---


def test_a_run_opens_once_and_ends_once(ran):
    rows = [record for _, record in ran.recorder.journal.read()]
    assert isinstance(rows[0], RunStarted)
    assert rows[1] == Deposited(ts=rows[0].ts, asset="USD", amount=100_000 * 10**8)
    assert isinstance(rows[-1], RunStopped)
    assert len(records(ran, RunStarted, Deposited, RunStopped)) == 3
    assert rows[0].ts == ran.first_ts > START
    assert rows[-1].reason == "the feed has ended"
    assert rows[-1].open_orders == ()


def test_time_in_the_journal_never_goes_back(ran):
    times = [record.ts for _, record in ran.recorder.journal.read()]
    assert times == sorted(times)


def test_the_ledger_ends_as_the_venue_does(ran):
    assert ran.action.disagreements() == []
    assert not ran.action.books.orders.open
    assert ran.action.books.tally.halted == ""
    ran.action.books.ledger.conservation()


def test_nothing_is_refused_or_blocked_on_a_good_day(ran):
    assert ran.action.blocks() == []
    assert ran.status == "stopping"


@pytest.mark.parametrize("cadence_ms", [500, 1000, 2000])
def test_a_digest_comes_each_minute_and_not_before_64_boundaries(cadence_ms):
    settings = Settings(mode="backtest", decision=EAGER, feed=FeedSettings(cadence_ms=cadence_ms))
    node = node_on(*tape(270, shape=ONE_SOURCE), settings)
    node.run()
    spans = np.diff([digest.ts for digest in records(node, Digest)])
    least = max(MINUTE, DIGEST_FRAMES * cadence_ms * 1_000_000)
    assert len(spans) >= 1
    assert (spans >= least).all()
    assert (spans <= least + 2 * cadence_ms * 1_000_000).all()


def test_a_digest_says_where_perception_stands(ran):
    (digest,) = records(ran, Digest)
    assert 0 < digest.tape < ran.perception.rows
    assert len(digest.frames) == 64
    assert digest.peak >= digest.equity > 0
    assert set(digest.marks) == set(ran.perception.catalog.by_name)


def test_a_tape_without_rows_leaves_no_trace():
    catalog, rows = tape(SHORT)
    node = node_on(catalog, rows[:0])
    summary = node.run()
    assert (summary.rows, summary.journal_rows) == (0, 0)


def test_a_second_run_in_the_same_journal_deposits_nothing_again():
    catalog, rows = tape(SHORT)
    journal, half = MemoryJournal(), len(rows) // 2
    for part in (rows[:half], rows[half:]):
        node = node_on(catalog, part, journal=journal, strict=False)
        node.run()
    assert len(records(node, RunStarted)) == 2
    assert len(records(node, Deposited)) == 1
    created = [record.order.client_id for record in records(node, OrderCreated)]
    assert len(set(created)) == len(created)
    # The exchange in memory is a new one and knows of no position: we must not trade against it.
    assert "ledger and venue differ" in node.action.books.tally.halted
    assert grows(node, node.first_ts) == []


# --- stopping ---


def stopped(flatten: bool) -> Node:
    catalog, rows = tape(SHORT)
    nodes: list[Node] = []

    def progress(done: int) -> None:
        if done > len(rows) // 2:
            nodes[0].stop("the operator wishes it", flatten=flatten)

    nodes.append(node_on(catalog, rows, cuts=every(rows, 1000), progress=progress))
    nodes[0].run()
    return nodes[0]


def test_a_stop_while_trading_leaves_no_risk_under_way():
    node = stopped(flatten=False)
    (end,) = records(node, RunStopped)
    assert end.reason == "the operator wishes it"
    assert end.open_orders == ()
    assert not node.action.books.orders.open
    assert node.action.books.ledger.positions
    assert node.action.disagreements() == []
    assert grows(node, node.perception.last_ts) == []


def test_flatten_closes_every_position():
    node = stopped(flatten=True)
    assert node.action.books.ledger.positions == {}
    assert node.action.disagreements() == []
    assert not node.action.books.orders.open


def test_what_stays_at_the_venue_is_named():
    catalog, rows = tape(SHORT)
    slow = VenueSettings(response_latency_ms=30_000)
    settings = Settings(mode="backtest", decision=EAGER, venue=slow)
    node = node_on(catalog, rows[: len(rows) // 2], settings)
    node.run()
    (end,) = records(node, RunStopped)
    assert list(end.open_orders) == list(node.action.books.orders.open)


# --- failing closed ---


class BrokenAgentError(Exception):
    pass


def break_agent(node: Node, after: int) -> None:
    """One agent raises from its `after`th block on."""
    agent = node.action._agents["trend"]
    honest, calls = agent.opine, [0]

    def opine(frames, state):
        calls[0] += 1
        if calls[0] > after:
            raise BrokenAgentError("an agent has failed")
        return honest(frames, state)

    agent.opine = opine


def test_a_failing_agent_ends_a_backtest():
    catalog, rows = tape(SHORT)
    node = node_on(catalog, rows, cuts=every(rows, 500))
    break_agent(node, 20)
    with pytest.raises(BrokenAgentError):
        node.run()


def test_a_failing_agent_halts_a_paper_run_and_says_why():
    catalog, rows = tape(SHORT)
    node = node_on(catalog, rows, cuts=every(rows, 500), strict=False)
    break_agent(node, 20)
    node.run()
    halts = records(node, Halted)
    assert "an agent has failed" in halts[-1].reason
    assert grows(node, halts[0].ts) == []
    assert len(halts) == 1


def test_a_silent_source_takes_no_new_risk():
    catalog, rows = tape(SHORT)
    gone = START + 40 * SECOND
    kept = rows[~((rows["source"] == 0) & (rows["recv_ts"] > gone))]
    silent, speaking = "BTC/USD@sim-a", "BTC/USD@sim-b"
    both = EAGER.model_copy(update={"instruments": (silent, speaking)})
    node = node_on(catalog, kept, QUICK.model_copy(update={"decision": both}))
    node.run()
    late = {record.order.instrument for record in grows(node, gone + 6 * SECOND)}
    assert late == {speaking}
    assert node.action.holdings()[silent].reason
    assert not node.action.holdings()[silent].tradable
    assert node.action.holdings()[speaking].tradable


# --- breakers ---


def moves(node: Node, name: str) -> list[tuple[str, str]]:
    return [(c.key, c.state) for c in records(node, BreakerChanged) if c.name == name]


@pytest.fixture(scope="module")
def crashed() -> Node:
    """All sources fall by 7 % at 60 s, and then it is quiet for long."""
    made = market(ONE_SOURCE)
    bend(made, [0], fall(60.0, 0.93))
    estimation = EstimationSettings(volatility_halflife_s=20.0)  # its breaker closes first
    settings = QUICK.model_copy(update={"estimation": estimation})
    node = node_on(made.catalog, made.record(900 * SECOND), settings)
    node.run()
    return node


def test_a_flash_crash_opens_its_breaker_which_recovers_by_its_rule(crashed):
    assert moves(crashed, "flash_crash") == [
        ("BTC", "OPEN"),
        ("BTC", "HALF_OPEN"),
        ("BTC", "CLOSED"),
    ]
    opened, half, closed = (
        c.ts for c in records(crashed, BreakerChanged) if c.name == "flash_crash"
    )
    assert START + 60 * SECOND < opened < START + 75 * SECOND
    assert half - opened >= 5 * MINUTE
    assert closed - half >= 5 * MINUTE


def test_while_the_breaker_is_not_closed_nothing_takes_on_risk(crashed):
    opened, _, closed = (c.ts for c in records(crashed, BreakerChanged) if c.name == "flash_crash")
    assert grows(crashed, 0, opened - SECOND)
    assert grows(crashed, opened - 1, closed - 1) == []
    assert grows(crashed, closed - 1)
    reasons = {r.refused.reason for r in records(crashed, IntentRefused)}
    assert any(reason.startswith("breaker flash_crash of BTC is OPEN") for reason in reasons)


def test_refusals_are_not_journaled_every_second(crashed):
    refusals = records(crashed, IntentRefused)
    told = [(r.refused.intent.instrument, r.refused.reason) for r in refusals]
    assert 0 < len(told) == len(set(told)) < 10


def test_a_drawdown_halts_for_good():
    settings = Settings(
        mode="backtest",
        decision=EAGER,
        risk=RiskSettings(drawdown_threshold=0.01, volatility_threshold=10.0),
        venue=VenueSettings(taker_fee_ppm=10_000),
    )
    node = node_on(*tape(900, shape=ONE_SOURCE), settings)
    node.run()
    assert moves(node, "drawdown") == [("", "OPEN")]
    (opened,) = (c.ts for c in records(node, BreakerChanged) if c.name == "drawdown")
    assert opened < START + 600 * SECOND
    assert grows(node, opened - 1) == []
    assert any("breaker drawdown is OPEN" in reason for reason in node.action.blocks())


def fallen() -> MemoryJournal:
    """A journal in which the drawdown breaker opened an hour before the tape."""
    journal, hour_ago = MemoryJournal(), START - 60 * MINUTE
    opened = BreakerChanged(
        ts=hour_ago,
        name="drawdown",
        scope="portfolio",
        key="",
        state="OPEN",
        measure=0.3,
        threshold=0.2,
        reason="fell",
        since=hour_ago,
    )
    journal.append([opened])
    return journal


def test_only_an_operator_releases_a_drawdown():
    waiting = node_on(*tape(SHORT), journal=fallen())
    waiting.run()
    assert moves(waiting, "drawdown") == [("", "OPEN")]
    assert any("drawdown is OPEN" in reason for reason in waiting.action.blocks())
    released = node_on(*tape(SHORT), journal=fallen(), releases=("drawdown",))
    released.run()
    assert moves(released, "drawdown") == [("", "OPEN"), ("", "HALF_OPEN"), ("", "CLOSED")]
    assert released.action.blocks() == []
    (command,) = records(released, OperatorCommanded)
    assert (command.command, command.arguments) == ("release", {"breaker": "drawdown"})


def test_a_breaker_that_is_not_open_cannot_be_released():
    with pytest.raises(SeawallError, match="drawdown is not open"):
        node_on(*tape(SHORT), releases=("drawdown",)).run()


@pytest.mark.parametrize("liar", range(5))
def test_one_lying_source_of_five_cannot_trip_a_breaker(liar):
    made = market(ONE_ASSET)
    bend(made, [liar], fall(30.0, 0.90, seconds=1.0))
    node = node_on(made.catalog, made.record(50 * SECOND), with_risk())
    node.run()
    assert records(node, BreakerChanged) == []


@pytest.mark.parametrize("liar", [0, 2, 4])
def test_one_lying_source_of_five_cannot_hide_a_crash(liar):
    made = market(ONE_ASSET)
    bend(made, [s for s in range(5) if s != liar], fall(30.0, 0.93))
    node = node_on(made.catalog, made.record(50 * SECOND), with_risk())
    node.run()
    assert moves(node, "flash_crash") == [("BTC", "OPEN")]


def test_every_intent_in_the_journal_knows_its_place_on_the_tape(ran):
    refused = [r.refused.intent for r in records(ran, IntentRefused)]
    for intent in refused:
        assert isinstance(intent, Target)
    for _, record in ran.recorder.journal.read():
        intent = getattr(record, "intent", None)
        if intent is not None:
            assert 0 < intent.tape <= ran.perception.rows
            assert intent.ts == record.ts < intent.expiry
    assert msgspec.msgpack.encode([r for _, r in ran.recorder.journal.read()])
