"""Signed sources: what verification says of each batch, and what a feed makes of it."""

import hashlib
import hmac
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.admission import kernels
from seawall.core.errors import DataError, SettingError
from seawall.core.events import EVENT, EventFlag
from seawall.core.keys import SigningKey, SourceKey
from seawall.ingestion.signatures import (
    LARGEST_BATCH,
    LARGEST_NUMBER,
    Batch,
    SignedFeed,
    Verifier,
    keys_of,
    sign,
)
from seawall.ingestion.tape import TapeWriter
from tests.ingestion.signed_batches import (
    CATALOG,
    FORGED,
    KEYS,
    MARKS,
    REORDERED,
    REPLAYED,
    SECRETS,
    SENDERS,
    SIGNED,
    Recorded,
    batch,
    changed,
    hand_signed,
    judged,
    marks_of,
    signing,
    verifier,
)
from tests.tapes import BUY, SELL, Rows, at, catalog_of, depth, snapshot, trade

# --- one batch ---


@pytest.mark.parametrize("source", [0, 1])
def test_a_signature_covers_what_the_format_says(source: int) -> None:
    one = batch(7, source=source, sent=123)
    name = one.source.encode()
    message = b"seawall batch 1\0" + struct.pack("<I", len(name)) + name
    message += struct.pack("<qq", 7, 123) + hashlib.sha256(one.payload).digest()
    if source == 0:
        expected = Ed25519PrivateKey.from_private_bytes(SECRETS[0]).sign(message)
    else:
        expected = hmac.digest(SECRETS[1], message, "sha256")
    assert one.signature == expected


@pytest.mark.parametrize("source", [0, 1])
def test_good_batches_are_marked_signed_and_keep_their_rows(source: int) -> None:
    book = (source, source)
    first = snapshot(0, 100, {99: 5}, {101: 5}, book=book)
    second = depth(0, 101, (BUY, 98, 1), (SELL, 103, 2), book=book)
    one = verifier()
    rows = one.verify([batch(1, first, second, source=source)])
    expected = np.concatenate([first, second])
    expected["flags"] |= np.uint16(SIGNED)
    expected["recv_ts"] = at(1)
    assert rows.tobytes() == expected.tobytes()
    assert one.counts()[f"v{source}"] == {
        "signed": 1,
        "unsigned": 0,
        "forged": 0,
        "replayed": 0,
        "reordered": 0,
        "missing": 0,
    }


@settings(max_examples=150, deadline=None)
@given(
    source=st.sampled_from([0, 1]),
    part=st.sampled_from(["payload", "signature", "number", "sent"]),
    bit=st.integers(0, 10_000),
)
def test_a_single_changed_bit_is_a_forgery(source: int, part: str, bit: int) -> None:
    one = batch(5, source=source)
    value = getattr(one, part)
    if isinstance(value, int):
        forged: Any = value ^ (1 << bit % 62)
    else:
        flipped = bytearray(value)
        flipped[bit // 8 % len(value)] ^= 1 << bit % 8
        forged = bytes(flipped)
    mine = verifier()
    bad = changed(one, **{part: forged})
    for row in mine.verify([bad]):
        assert row["flags"] & MARKS == FORGED
    assert mine.counts()[f"v{source}"]["forged"] == 1
    assert judged(mine, one) == [SIGNED], "the forgery has taken nothing from the honest one"


@pytest.mark.parametrize("source", [0, 1])
@pytest.mark.parametrize("cut", [1, 55, 56, 57])
def test_a_cut_or_lengthened_payload_or_signature_is_a_forgery(source: int, cut: int) -> None:
    trades = [trade(0, n, BUY, 100, 1, book=(source, source)) for n in (1, 2, 3)]
    one = batch(5, *trades, source=source)
    for bad in (
        changed(one, payload=one.payload[:-cut]),
        changed(one, payload=one.payload + one.payload[:cut]),
        changed(one, signature=one.signature[:-1]),
        changed(one, signature=one.signature + b"\0"),
    ):
        assert judged(verifier(), bad) == [FORGED]


def test_a_signature_says_nothing_for_another_source_even_with_the_same_key() -> None:
    catalog = signing(catalog_of(("USD",), ("USD",)), "hmac-sha256", "hmac-sha256")
    one = Verifier(catalog, {"v0": KEYS["v1"], "v1": KEYS["v1"]}, 0)
    mine = sign(changed(batch(1), source="v0"), SENDERS[1])
    assert judged(one, changed(mine, source="v1")) == [FORGED]
    assert judged(one, mine) == [SIGNED]


def test_the_key_of_one_source_forges_for_another() -> None:
    stolen = hand_signed(changed(batch(1), source="v1"), source=0)
    assert judged(verifier(), stolen) == [FORGED]


def test_an_unsigned_batch_is_marked_as_nothing_and_moves_no_number() -> None:
    one = verifier()
    assert judged(one, changed(batch(900), signature=b""), batch(1)) == [0, SIGNED]
    assert one.counts()["v0"]["unsigned"] == 1


def test_marks_that_came_over_the_wire_count_for_nothing() -> None:
    rows = trade(0, 1, BUY, 100, 1)
    rows["flags"] |= np.uint16(MARKS | EventFlag.RECORDED_LATE)
    good = batch(1, rows)
    one = verifier()
    assert one.verify([changed(good, signature=b"")])["flags"].tolist() == [3]
    assert one.verify([good])["flags"].tolist() == [3 | SIGNED]


@pytest.mark.parametrize("name", ["v2", "v9", "", "v0\0"])
def test_who_has_no_key_cannot_send_batches(name: str) -> None:
    one = verifier()
    stranger = hand_signed(changed(batch(1), source=name))
    assert judged(one, stranger, changed(stranger, signature=b"")) == [FORGED, FORGED]
    assert one.counts()["unknown"] == {"forged": 2}


def test_rows_that_speak_for_another_source_are_forged_and_the_others_stand() -> None:
    own, foreign = trade(0, 1, BUY, 100, 1), trade(0, 1, BUY, 100, 1, book=(1, 1))
    outsider = trade(0, 1, BUY, 100, 1, book=(2, 2))
    rows = verifier().verify([batch(1, own, foreign, outsider)])
    assert (rows["flags"] & MARKS).tolist() == [SIGNED, SIGNED | FORGED, SIGNED | FORGED]


def torn_batches() -> list[Rows]:
    whole = depth(0, 101, (BUY, 98, 1), (BUY, 97, 1), (BUY, 96, 1))
    mixed = whole.copy()
    mixed["instrument"][1] = 1
    other = whole.copy()
    other["source"][2] = 1
    twice = np.concatenate([whole[:2], whole])
    return [
        whole[1:],
        whole[:-1],
        whole[1:2],
        twice,
        np.concatenate([whole, whole[2:]]),
        mixed,
        other,
    ]


@pytest.mark.parametrize("rows", torn_batches())
def test_a_batch_that_cuts_a_message_is_refused_by_both_ends(rows: Rows) -> None:
    made = changed(batch(1), payload=rows.tobytes())
    with pytest.raises(DataError, match="cuts a message in two"):
        sign(made, SENDERS[0])
    assert all(m & FORGED for m in marks_of(verifier().verify([hand_signed(made)])))


def test_a_torn_batch_leaves_its_neighbours_alone() -> None:
    torn = hand_signed(changed(batch(2), payload=depth(0, 1, (0, 1, 1), (0, 2, 1))[:1].tobytes()))
    rows = verifier().verify([batch(1), torn, batch(3)])
    assert (rows["flags"] & MARKS).tolist() == [SIGNED, SIGNED | FORGED, SIGNED]


@pytest.mark.parametrize(
    ("name", "value"), [("instrument", 3), ("source", 60_000), ("kind", 200), ("side", 9)]
)
def test_rows_that_no_tape_holds_are_left_out_and_their_batch_is_forged(
    tmp_path: Path, name: str, value: int
) -> None:
    good, bad = trade(0, 1, BUY, 100, 1), trade(0, 2, BUY, 100, 1)
    bad[name] = value
    for one in (batch(1, good, bad), changed(batch(1, good, bad), signature=b"x" * 64)):
        mine = verifier()
        rows = mine.verify([one])
        assert len(rows) == mine.unfit == 1
        assert rows["flags"][0] & FORGED
        with TapeWriter(tmp_path / f"{name}-{one.signature[:1].hex()}", CATALOG) as tape:
            assert tape.append(rows)["flags"].tobytes() == rows["flags"].tobytes()


@settings(max_examples=100, deadline=None)
@given(payload=st.binary(max_size=400), number=st.integers(), sent=st.integers(), key=st.booleans())
def test_whatever_comes_can_be_judged_and_put_on_a_tape(
    tmp_path_factory: pytest.TempPathFactory, payload: bytes, number: int, sent: int, key: bool
) -> None:
    one = Batch(source="v0", number=number, sent=sent, payload=payload, signature=b"s" * 64)
    if key and abs(number) < 1 << 63 and abs(sent) < 1 << 63:
        one = hand_signed(one)
    rows = verifier().verify([one])
    with TapeWriter(tmp_path_factory.mktemp("tape"), CATALOG) as tape:
        tape.append(rows)


def test_a_batch_beyond_a_megabyte_is_forged_and_cut() -> None:
    rows = np.concatenate([trade(0, 1, BUY, 100, 1)] * (LARGEST_BATCH // EVENT.itemsize + 1))
    big = changed(batch(1), payload=rows.tobytes())
    with pytest.raises(DataError, match="send less"):
        sign(big, SENDERS[0])
    found = verifier().verify([hand_signed(big)])
    assert len(found) == len(rows) - 1
    assert marks_of(found) == {FORGED}


@pytest.mark.parametrize("number", [-1, LARGEST_NUMBER + 1])
def test_a_number_beyond_int64_is_refused_by_both_ends(number: int) -> None:
    out = changed(batch(1), number=number)
    with pytest.raises(DataError, match="not within int64"):
        sign(out, SENDERS[0])
    assert judged(verifier(), out, changed(batch(1), sent=1 << 70)) == [FORGED, FORGED]


def test_a_batch_may_be_empty_and_still_counts() -> None:
    one = verifier()
    assert len(one.verify([])) == 0
    heartbeat = sign(changed(batch(1), payload=b""), SENDERS[0])
    assert len(one.verify([heartbeat])) == 0
    assert judged(one, batch(1), batch(2)) == [SIGNED | REPLAYED, SIGNED]


# --- numbers ---


def test_a_batch_that_was_seen_is_a_replay_at_once_and_later() -> None:
    one = verifier()
    assert judged(one, batch(1), batch(1), batch(2), batch(3), batch(2), batch(1)) == [
        SIGNED,
        SIGNED | REPLAYED,
        SIGNED,
        SIGNED,
        SIGNED | REPLAYED,
        SIGNED | REPLAYED,
    ]
    assert one.counts()["v0"]["replayed"] == 3


def test_a_batch_that_was_overtaken_is_reordered_and_then_a_replay() -> None:
    one = verifier()
    assert judged(one, batch(1), batch(3), batch(2), batch(2), batch(4)) == [
        SIGNED,
        SIGNED,
        SIGNED | REORDERED,
        SIGNED | REPLAYED,
        SIGNED,
    ]
    counts = one.counts()["v0"]
    assert (counts["reordered"], counts["replayed"], counts["missing"]) == (1, 1, 1)


@pytest.mark.parametrize("window", [1, 2, 64, 1_024])
def test_below_the_window_all_are_replays(window: int) -> None:
    one = verifier(window=window)
    top = 5_000
    assert judged(one, batch(top)) == [SIGNED]
    assert judged(one, batch(top - window)) == [SIGNED | REPLAYED]
    if window > 1:
        assert judged(one, batch(top - window + 1)) == [SIGNED | REORDERED]
        assert judged(one, batch(top - window + 1)) == [SIGNED | REPLAYED]
    assert judged(one, batch(top)) == [SIGNED | REPLAYED]


def test_a_gap_upward_is_accepted_and_counted() -> None:
    one = verifier()
    assert judged(one, batch(10), batch(14), batch(15)) == [SIGNED] * 3
    assert one.counts()["v0"]["missing"] == 3


def test_the_greatest_number_costs_no_memory() -> None:
    one = verifier()
    last = batch(LARGEST_NUMBER, sent=1, received=1)
    assert judged(one, batch(0), last, last) == [SIGNED, SIGNED, SIGNED | REPLAYED]
    assert one.counts()["v0"]["missing"] == LARGEST_NUMBER - 1


def test_each_source_counts_for_itself() -> None:
    one = verifier()
    assert judged(one, batch(9), batch(1, source=1), batch(8)) == [
        SIGNED,
        SIGNED,
        SIGNED | REORDERED,
    ]


def test_a_forged_number_shuts_nobody_out() -> None:
    one = verifier()
    far = changed(batch(1), number=1 << 60)
    assert judged(one, far, batch(1), far, batch(2)) == [FORGED, SIGNED, FORGED, SIGNED]


def test_what_was_sent_before_the_run_is_a_replay() -> None:
    one = verifier(since=at(10))
    assert judged(one, batch(9), batch(10), batch(11)) == [SIGNED | REPLAYED, SIGNED, SIGNED]


@settings(max_examples=50, deadline=None)
@given(numbers=st.lists(st.integers(0, 80), max_size=40), cuts=st.lists(st.integers(0, 40)))
def test_the_window_agrees_with_a_set_however_batches_are_grouped(
    numbers: list[int], cuts: list[int]
) -> None:
    window, seen = 32, set[int]()
    expected = []
    for number in numbers:
        top = max(seen, default=-1)
        if number > top:
            expected.append(SIGNED)
        elif number in seen or number <= top - window:
            expected.append(SIGNED | REPLAYED)
        else:
            expected.append(SIGNED | REORDERED)
        seen.add(number)
    one = verifier(window=window)
    batches = [batch(number, source=1) for number in numbers]
    marks = sorted({0, *(cut for cut in cuts if cut < len(batches)), len(batches)})
    parts = [batches[a:b] for a, b in pairwise(marks)]
    found = [row["flags"] & MARKS for part in parts for row in one.verify(part)]
    assert found == expected


# --- the feed ---


def test_a_feed_gives_marked_rows_whose_time_never_goes_back() -> None:
    arrivals = Recorded(
        [batch(1), batch(2, received=at(1.5))],
        [],
        [changed(batch(3), received=at(1)), changed(batch(3), received=-5)],
    )
    feed = SignedFeed(CATALOG, arrivals, verifier())
    blocks = [feed.read(0.0) for _ in range(4)]
    assert [None if block is None else len(block) for block in blocks] == [2, 0, 2, None]
    rows = np.concatenate([block for block in blocks if block is not None])
    assert rows["recv_ts"].tolist() == [at(1), at(1.5), at(1.5), at(1.5)]
    assert (rows["flags"] & MARKS).tolist() == [SIGNED] * 3 + [SIGNED | REPLAYED]
    assert feed.counts()["v0"]["replayed"] == 1
    assert feed.catalog is CATALOG
    feed.close()
    assert arrivals.closed


# --- keys ---


class Kept(dict[str, str]):
    """Secrets in a dictionary."""


def test_keys_come_through_the_secrets_port() -> None:
    public = SigningKey(SECRETS[0]).verifying.public_bytes.hex()
    keys = keys_of(CATALOG, Kept({"source-v0": public, "source-v1": SECRETS[1].hex()}))
    one = Verifier(CATALOG, keys, 0)
    assert judged(one, batch(1), batch(1, source=1)) == [SIGNED, SIGNED]


def test_a_missing_or_a_bad_key_is_one_line_that_does_not_show_it() -> None:
    with pytest.raises(SettingError, match="no secret source-v0; keep its public key there"):
        keys_of(CATALOG, Kept())
    with pytest.raises(SettingError, match="the secret source-v0 has 3 bytes") as caught:
        keys_of(CATALOG, Kept({"source-v0": "5ec2e7"}))
    assert "5ec2e7" not in str(caught.value)


@pytest.mark.parametrize(
    ("keys", "window", "message"),
    [
        ({}, 9, "v0 signs with ed25519, but has no key"),
        ({"v0": KEYS["v1"]}, 9, "v0 signs with ed25519, but has a key for hmac-sha256"),
        (KEYS | {"v2": KEYS["v1"]}, 9, "key for v2, which is no source that signs"),
        (KEYS, 0, "window of signed batches is 0"),
    ],
)
def test_keys_that_do_not_fit_the_catalog_are_refused(
    keys: dict[str, SourceKey], window: int, message: str
) -> None:
    with pytest.raises(SettingError, match=message):
        Verifier(CATALOG, keys, 0, window)


def test_admission_and_events_mean_the_same_marks() -> None:
    assert [int(m) for m in (SIGNED, FORGED, REPLAYED, REORDERED)] == [
        kernels.IS_SIGNED,
        kernels.IS_FORGED,
        kernels.IS_REPLAYED,
        kernels.IS_REORDERED,
    ]
    assert kernels.MARKS == MARKS
