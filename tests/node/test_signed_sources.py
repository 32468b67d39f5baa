"""Signed sources: whatever the wire is made to bring, nothing bad reaches a model."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.admission import Reason
from seawall.core.clock import MILLISECOND, SECOND
from seawall.core.events import EventFlag, Raw
from seawall.core.instruments import Catalog
from seawall.core.keys import HmacKey, SourceKey
from seawall.ingestion.signatures import Batch, SignedFeed, Verifier, sign
from seawall.node.assembly import Silent, build
from seawall.node.perception import Perception
from seawall.storage.journal import MemoryJournal
from tests.ingestion.signed_batches import (
    CATALOG,
    SECRETS,
    SENDERS,
    SIGNED,
    Recorded,
    batch,
    changed,
    signing,
    verifier,
)
from tests.node import short_runs
from tests.tapes import (
    BUY,
    COMPILED,
    SELL,
    START,
    Rows,
    carry,
    depth,
    down,
    perceived,
    snapshot,
    tick,
    trade,
)


@dataclass
class Wire:
    """What an attacker who holds the wire, and the key of v0 but not of v1, delivers."""

    now: int = START
    batches: list[Batch] = field(default_factory=list)
    honest: list[bool] = field(default_factory=list)  # its rows must be seen
    highest: dict[int, int] = field(default_factory=lambda: {0: -1, 1: -1})

    def deliver(self, one: Batch, source: int, genuine: bool, harmless: bool = True) -> None:
        """genuine: as its source signed it. harmless: nothing but its own rows in it."""
        self.now += 150 * MILLISECOND
        self.batches.append(changed(one, received=self.now))
        fresh = genuine and one.number > self.highest[source]
        if fresh:
            self.highest[source] = one.number
        self.honest.append(fresh and harmless)


def script(source: int) -> list[Batch]:
    """What a source sends: a book, its diffs, trades, and a book again; numbers with room."""
    book, made, sequence = (source, source), [], 100
    for number in range(24):
        ts = START + number * 300 * MILLISECOND
        messages = []
        if number % 9 == 0:
            messages.append(
                snapshot(ts, sequence, {99: 5, 98: 6}, {101 + number: 5, 140: 6}, book=book)
            )
        for _ in range(number % 3 + 1):
            sequence += 1
            side, price = (BUY, 90 + number % 9) if sequence % 2 else (SELL, 101 + number % 5)
            messages.append(depth(ts, sequence, (side, price, sequence % 7), book=book))
        messages.append(trade(ts, sequence, BUY, 100 + number % 3, 2, book=book))
        made.append(batch(10 * number, *messages, source=source, sent=ts))
    return made


SCRIPTS = {source: script(source) for source in (0, 1)}
EVIL = 1_000_000  # lots: whoever admits it shows it

MOVES = st.lists(
    st.tuples(
        st.sampled_from(
            ["next"] * 12
            + ["hold", "release", "replay", "flip", "cut", "bare", "invent", "insider", "stranger"]
            + ["swap", "down"]
        ),
        st.sampled_from([0, 1]),
        st.integers(0, 10_000),
    ),
    min_size=10,
    max_size=70,
)


def evil_rows(source: int, ts: int, pick: int) -> Rows:
    """A book, a diff or a trade that would move a market."""
    book = (source, source)
    return [
        snapshot(ts, 5_000 + pick, {1: EVIL}, {2: EVIL}, book=book),
        depth(ts, 100 + pick % 60, (BUY, 100, EVIL), (SELL, 99, EVIL), book=book),
        depth(ts, 1 << 40, (BUY, 1, EVIL), book=book, previous=1 << 39),
        trade(ts, 1 << 40, SELL, 1, EVIL, book=book),
        trade(ts, 101, SELL, 0, -1, book=book, exch=ts + 3_600 * SECOND),
        down(ts, book=book),
    ][pick % 6]


def played(moves: Sequence[tuple[str, int, int]]) -> Wire:
    """The attack, batch by batch, with what of it is honest by the rules (not by our code)."""
    wire, sent, held = Wire(), {0: 0, 1: 0}, {0: list[Batch](), 1: list[Batch]()}
    for move, source, pick in moves:
        past = SCRIPTS[source][: sent[source]]
        some = SCRIPTS[source][pick % len(SCRIPTS[source])]  # of the past or of the future
        evil = evil_rows(source, wire.now, pick).tobytes()
        if move in ("next", "hold") and sent[source] < len(SCRIPTS[source]):
            following = SCRIPTS[source][sent[source]]
            sent[source] += 1
            if move == "hold":
                held[source].append(following)
            else:
                wire.deliver(following, source, genuine=True)
        elif move == "release" and held[source]:
            wire.deliver(held[source].pop(pick % len(held[source])), source, genuine=True)
        elif move == "replay" and past:
            wire.deliver(past[pick % len(past)], source, genuine=True)
        elif move == "flip":
            flipped = bytearray(some.payload)
            flipped[pick % len(flipped)] ^= 1 << pick % 8
            wire.deliver(changed(some, payload=bytes(flipped)), source, genuine=False)
        elif move == "cut":
            cut = some.payload[: -(pick % 111 + 1)]
            wire.deliver(changed(some, payload=cut), source, genuine=False)
        elif move == "bare":
            anyone = evil_rows(pick // 6 % 3, wire.now, pick).tobytes()
            wire.deliver(changed(some, signature=b"", payload=anyone), source, genuine=False)
        elif move == "invent":
            number = some.number + pick % 1_000
            wire.deliver(changed(some, number=number, payload=evil), source, genuine=False)
        elif move == "insider":  # v0 signs rows of v1, and of v2 that does not sign
            rows = evil_rows(1 + pick % 2, wire.now, pick // 2)
            made = batch(wire.highest[0] + pick % 3 + 1, rows, sent=wire.now)
            wire.deliver(made, 0, genuine=True, harmless=False)
        elif move == "stranger":
            name = ["v2", "v9"][pick % 2]
            theirs = evil_rows(2, wire.now, pick // 2).tobytes()
            wire.deliver(changed(some, source=name, payload=theirs), source, genuine=False)
        elif move == "swap":
            wire.deliver(changed(some, source=f"v{1 - source}"), source, genuine=False)
        elif move == "down":
            gone = down(wire.now, book=(source, source)).tobytes()
            wire.deliver(changed(some, payload=gone), source, genuine=False)
    return wire


def hash_of(rows: Rows | bytes) -> str:
    """Short, because a failing comparison of long bytes is explained for minutes."""
    return hashlib.sha256(rows if isinstance(rows, bytes) else rows.tobytes()).hexdigest()


def learned(one: Perception) -> str:
    """What the models have learned."""
    return hash_of(carry((one.moments.state, one.volatility.state)))


def models(one: Perception) -> str:
    """Everything that later rows are judged by and models learn from."""
    admission = one.admission.state._replace(refused=np.zeros(0))
    return hash_of(carry((admission, one.market.state))) + learned(one)


def plain(ts: int, number: int) -> Rows:
    """v2 does not sign; its rows come over a feed of their own."""
    price = 100 + number % 3
    return snapshot(ts, 100 + number, {price - 1: 5}, {price + 1: 5}, book=(2, 2))


@settings(max_examples=120 if COMPILED else 5, deadline=None)
@given(moves=MOVES)
def test_the_models_see_the_honest_batches_in_order_and_nothing_else(
    moves: list[tuple[str, int, int]],
) -> None:
    wire, one = played(moves), verifier()
    attacked, with_ticks, honest = [plain(START, 0)], [plain(START, 0)], [plain(START, 0)]
    for number, (arrived, good) in enumerate(zip(wire.batches, wire.honest, strict=True), start=1):
        rows = one.verify([arrived])
        attacked.append(rows)
        if good:
            with_ticks.append(rows)
            honest.append(rows)
        else:
            with_ticks += [tick(arrived.received)] * len(rows)
        if number % 4 == 0:
            for blocks in (attacked, with_ticks, honest):
                blocks.append(plain(arrived.received, number))
    for blocks in (attacked, with_ticks, honest):
        blocks.append(tick(wire.now + 2 * SECOND))

    frames, seen = perceived(CATALOG, *attacked)
    as_time, as_time_seen = perceived(CATALOG, *with_ticks)
    alone, alone_seen = perceived(CATALOG, *honest)
    assert hash_of(frames) == hash_of(as_time), "a refused row is time that passes, no more"
    assert models(seen) == models(as_time_seen)
    assert len(frames) == len(alone)
    frames["tape"] = alone["tape"]  # where on the tape: refused rows are on it
    assert hash_of(frames) == hash_of(alone)
    assert learned(seen) == learned(alone_seen)


def test_the_property_sees_a_forgery_that_is_let_through() -> None:
    """The same comparison with a verifier that believes all: it must differ."""
    wire = played([("next", 0, 0), ("next", 1, 0), ("bare", 0, 3), ("next", 0, 0), ("next", 1, 0)])
    rows = np.concatenate([verifier().verify([each]) for each in wire.batches])
    believing = rows.copy()
    believing["flags"] = believing["flags"] & 3 | SIGNED
    end = tick(wire.now + 2 * SECOND)
    frames, seen = perceived(CATALOG, rows, end)
    fooled, _ = perceived(CATALOG, believing, end)
    assert hash_of(frames) != hash_of(fooled)
    assert seen.admission.counts()["v0"][Reason.UNSIGNED.name.lower()] == 1


def test_a_node_runs_on_signed_sources_as_on_the_tape_of_their_rows() -> None:
    catalog, rows = short_runs.tape(8 if COMPILED else 2)
    catalog = signing(catalog, *["hmac-sha256"] * len(catalog.sources))
    keys: dict[str, SourceKey] = {source.name: HmacKey(SECRETS[1]) for source in catalog.sources}
    arrivals = Recorded(*batches_of(catalog, rows))
    feed = SignedFeed(catalog, arrivals, Verifier(catalog, keys, 0))
    live = build(short_runs.QUICK, catalog, feed, MemoryJournal(), Silent(), "r", strict=True)
    recorded = rows.copy()
    recorded["flags"] |= np.uint16(SIGNED)
    again = short_runs.node_on(catalog, Raw(recorded))
    live.run()
    again.run()
    assert live.perception.rows == again.perception.rows >= len(rows)
    assert live.frames_hash == again.frames_hash
    counts = live.perception.admission.counts()
    assert all(set(of_source) == {"admitted"} for of_source in counts.values())
    assert arrivals.closed


def batches_of(catalog: Catalog, rows: Raw) -> list[list[Batch]]:
    """Each message of a tape as a signed batch of its source, 64 of them at a time."""
    numbers = [0] * len(catalog.sources)
    made = []
    for message in np.split(rows, np.flatnonzero(rows["flags"] & EventFlag.BEGIN)[1:]):
        source, ts = int(message["source"][0]), int(message["recv_ts"][0])
        numbers[source] += 1
        bare = Batch(
            source=catalog.sources[source].name,
            number=numbers[source],
            sent=ts,
            payload=message.tobytes(),
            received=ts,
        )
        made.append(sign(bare, SENDERS[1]))
    return [made[first : first + 64] for first in range(0, len(made), 64)]
