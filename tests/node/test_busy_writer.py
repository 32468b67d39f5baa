"""Rows written in one go are those that msgspec would have written one by one."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core.events import Side
from seawall.core.instruments import Catalog
from seawall.core.intents import Approved, Close, Target
from seawall.core.orders import Fill, Order, OrderState, OrderType, TimeInForce
from seawall.core.records import (
    FillBooked,
    IntentApproved,
    IntentDecided,
    OrderChanged,
    OrderCreated,
    RunStopping,
    encode,
)
from seawall.ingestion.simulated import SimulatedMarket
from seawall.node.busy_kernels import ACCEPTED, APPROVED, ENDED, EVENT, FILL, SENT, WANTED
from seawall.node.busy_writer import NOT_FILLED, Writer
from seawall.risk.limit_kernels import CAPS
from seawall.storage.journal import MemoryJournal

CATALOG: Catalog = SimulatedMarket(1, 0).catalog
INSTRUMENTS = list(CATALOG.by_name.values())
EXPIRY, ACCEPT = 60_000_000_000, 5_000_000_000
EDGES = [0, 1 << 5, 1 << 7, 1 << 8, 1 << 15, 1 << 16, 1 << 31, 1 << 32, 1 << 62]

near = st.sampled_from(EDGES).flatmap(lambda edge: st.integers(max(0, edge - 2), edge + 2))
counts = st.one_of(near, st.integers(0, (1 << 63) - 1 - EXPIRY))
signed = st.one_of(counts, counts.map(lambda count: -count - 1))
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=40)


@st.composite
def happenings(draw):
    """An event, and the texts that go with it."""
    one = np.zeros(1, EVENT)[0]
    what = draw(st.sampled_from([WANTED, SENT, ACCEPTED, FILL, ENDED]))
    one["what"], one["instrument"] = what, draw(st.integers(0, len(INSTRUMENTS) - 1))
    for field in ("ts", "number", "sequence", "tape", "decided", "venue_ts", "filled"):
        one[field] = draw(counts)
    for field in ("price", "size", "fee"):
        one[field] = draw(signed)
    one["side"], one["flag"] = draw(st.integers(0, 1)), draw(st.integers(0, 1))
    if what == WANTED:
        one["exposure"] = draw(st.floats(width=64)) if not one["flag"] else 0.0
    return one


def answer_to(wanted, draw):
    """What risk says to an intent."""
    one = np.zeros(1, EVENT)[0]
    one["what"], one["instrument"], one["ts"] = APPROVED, wanted["instrument"], draw(counts)
    one["size"], one["flag"] = draw(signed), draw(st.integers(0, 1))
    one["cap"] = draw(st.integers(0, len(CAPS) - 1))
    return one


@st.composite
def passes(draw):
    """Events in an order as they come: an approval stands behind its intent, others between."""
    found, open_intents = [], []
    for one in draw(st.lists(happenings(), max_size=12)):
        found.append(one)
        if one["what"] == WANTED:
            open_intents.append(one)
        elif open_intents:
            found.append(answer_to(open_intents.pop(), draw))
    events = np.array([one.item() for one in found], EVENT)
    words = draw(st.lists(st.text(max_size=300), min_size=1, max_size=4))
    count = int((events["what"] == WANTED).sum())
    places = [draw(st.integers(0, len(words) - 1)) for _ in range(count)]
    return events, words, places


def told(events, words, places, strategy, prefix):
    """The same as records."""
    left, intents, found = [words[place] for place in places], {}, []
    for event in events:
        one = dict(zip(EVENT.names, event.item(), strict=True))
        ts, instrument = one["ts"], INSTRUMENTS[one["instrument"]]
        client_id = f"{prefix}-{one['number']}"
        if one["what"] == WANTED:
            about = {
                "strategy": strategy,
                "ts": ts,
                "tape": one["tape"],
                "expiry": ts + EXPIRY,
                "rationale": left.pop(0),
                "instrument": instrument.name,
            }
            intent = Close(**about) if one["flag"] else Target(**about, exposure=one["exposure"])
            intents[instrument.name] = intent
            found.append(IntentDecided(ts=ts, intent=intent))
        elif one["what"] == APPROVED:
            approved = Approved(
                intent=intents[instrument.name],
                instrument=instrument.name,
                position=one["size"],
                reduce_only=bool(one["flag"]),
                capped_by=CAPS[one["cap"]],
            )
            found.append(IntentApproved(ts=ts, approved=approved))
        elif one["what"] == SENT:
            order = Order(
                client_id=client_id,
                instrument=instrument.name,
                side=Side(one["side"]),
                type=OrderType.LIMIT,
                size=one["size"],
                price=one["price"],
                time_in_force=TimeInForce.IOC,
                reduce_only=bool(one["flag"]),
                accept_until=ts + ACCEPT,
                strategy=strategy,
                intent_ts=one["decided"],
            )
            sent = OrderChanged(ts=ts, client_id=client_id, state=OrderState.SENT)
            found += [OrderCreated(ts=ts, order=order), sent]
        elif one["what"] == FILL:
            fill = Fill(
                sequence=one["sequence"],
                fill_id=str(one["sequence"]),
                client_id=client_id,
                instrument=instrument.name,
                side=Side(one["side"]),
                price=one["price"],
                size=one["size"],
                fee=one["fee"],
                fee_asset=instrument.settle_asset,
                maker=False,
                ts=one["venue_ts"],
            )
            found.append(FillBooked(ts=ts, fill=fill, strategy=strategy))
        else:
            ended = one["what"] == ENDED
            change = OrderChanged(
                ts=ts,
                client_id=client_id,
                state=OrderState.CANCELED if ended else OrderState.NEW,
                filled=one["filled"],
                reason=NOT_FILLED if ended else "",
                venue_sequence=one["sequence"],
            )
            found.append(change)
    return found


@settings(deadline=None, max_examples=300)
@given(happened=passes(), strategy=names, prefix=names, before=st.integers(0, 3))
def test_rows_are_those_of_the_records(happened, strategy, prefix, before):
    events, words, places = happened
    records = told(events, words, places, strategy, prefix)
    one_by_one, packed = MemoryJournal(), MemoryJournal()
    opening = [RunStopping(ts=n, reason="", flatten=False) for n in range(before)]
    for journal in (one_by_one, packed):
        journal.append(opening)
    one_by_one.append(records)
    writer = Writer(INSTRUMENTS, strategy, prefix, EXPIRY, ACCEPT)
    rows = writer.write(events.copy(), words, np.array(places, np.int64), packed.rows)
    some = np.arange(0, len(records), 2)[::-1]
    assert [*map(encode, rows.records(some))] == [encode(records[at]) for at in some]  # NaN != NaN
    packed.take(rows)
    for journal in (one_by_one, packed):
        journal.append(opening)
    assert (packed.rows, packed.head) == (one_by_one.rows, one_by_one.head)
    assert packed._all() == one_by_one._all()
    assert [seq for seq, _ in packed.read()] == list(range(1, packed.rows + 1))
