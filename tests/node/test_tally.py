"""The tally: what happened how often, why trading is halted; a fold like the others."""

import msgspec

from seawall.core.clock import SECOND
from seawall.core.events import Side
from seawall.core.intents import Close
from seawall.core.orders import Fill, Order, OrderState, OrderType
from seawall.core.records import (
    AnyRecord,
    BreakerChanged,
    Deposited,
    Digest,
    FillBooked,
    Halted,
    IntentDecided,
    OrderChanged,
    OrderCreated,
    RunStarted,
)
from seawall.node.tally import Tally
from seawall.storage import MemoryJournal, Recorder, recover


def started(run: str) -> RunStarted:
    return RunStarted(
        ts=0, run=run, mode="paper", seed=0, settings="", numeraire="USD", instruments=()
    )


def breaker(state: str, name: str = "flash_crash", key: str = "BTC") -> BreakerChanged:
    return BreakerChanged(
        ts=0, name=name, scope="market", key=key, state=state, measure=1, threshold=0, reason=""
    )


def digest(**marks: float) -> Digest:
    return Digest(ts=0, tape=1, frames="", marks=marks, equity=1.0, peak=1.0)


INTENT = IntentDecided(
    ts=0, intent=Close(strategy="rules", ts=0, tape=0, expiry=SECOND, instrument="x")
)
ORDER = OrderCreated(
    ts=0,
    order=Order(client_id="a", instrument="x", side=Side.BUY, type=OrderType.MARKET, size=1),
)
FILL = FillBooked(
    ts=0,
    strategy="rules",
    fill=Fill(
        sequence=1,
        fill_id="1",
        client_id="a",
        instrument="x",
        side=Side.BUY,
        price=1,
        size=1,
        fee=0,
        fee_asset="USD",
        maker=False,
        ts=0,
    ),
)
DAY: list[AnyRecord] = [
    started("first"),
    Deposited(ts=0, asset="USD", amount=1),
    INTENT,
    INTENT,
    INTENT,
    ORDER,
    ORDER,
    OrderChanged(ts=0, client_id="a", state=OrderState.SENT),
    FILL,
    breaker("OPEN"),
    breaker("HALF_OPEN"),
    breaker("OPEN"),
    breaker("CLOSED"),
    breaker("OPEN", "drawdown", ""),
    digest(a=1.0),
    digest(b=2.0),
    Halted(ts=0, reason="a fuse blew"),
    started("second"),
]


def told(records: list[AnyRecord]) -> Tally:
    tally = Tally()
    for record in records:
        tally.apply(record)
    return tally


def test_a_new_journal_counts_nothing():
    tally = Tally()
    assert (tally.halted, tally.origin, tally.runs, tally.counts) == ("", "", 0, (0, 0, 0))
    assert (tally.marks, tally.opened) == ({}, {})


def test_everything_is_counted_once():
    tally = told(DAY)
    assert tally.counts == (3, 2, 1)
    assert tally.runs == 2
    assert tally.opened == {"flash_crash of BTC": 2, "drawdown": 1}


def test_client_ids_go_on_from_the_first_run():
    assert told(DAY).origin == "first"


def test_the_last_marks_stand():
    assert told(DAY).marks == {"b": 2.0}


def test_a_halt_stands_until_it_is_lifted():
    assert told(DAY).halted == "a fuse blew"
    assert told([*DAY, Halted(ts=1, reason="")]).halted == ""
    assert told([*DAY, Halted(ts=1, reason="another")]).halted == "another"


def test_it_survives_a_snapshot_and_a_replay():
    journal, tally = MemoryJournal(), Tally()
    recorder = Recorder(journal, [tally], every=5)
    for record in DAY:
        recorder.record(record)
    restored, replayed = Tally(), Tally()
    restored.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(tally.state())))
    recover(journal, [replayed])
    assert restored.state() == replayed.state() == tally.state()
    restored.apply(breaker("OPEN"))
    assert restored.opened["flash_crash of BTC"] == 3
    assert tally.opened["flash_crash of BTC"] == 2


def test_two_tallies_share_nothing():
    told(DAY)
    assert Tally().opened == {}
    assert Tally().marks == {}
