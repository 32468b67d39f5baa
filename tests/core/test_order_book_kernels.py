"""Books order by order, against plain lists and by hand."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core import ladder as ladders
from seawall.core import order_book_kernels as orders
from seawall.core.events import EventFlag, EventKind, Side, empty
from seawall.core.order_book import new_order_book

ONE = int(EventFlag.BEGIN | EventFlag.END)
KINDS = {
    "add": EventKind.ADD,
    "modify": EventKind.MODIFY,
    "cancel": EventKind.CANCEL,
    "execute": EventKind.EXECUTE,
}
ACTS = st.lists(
    st.tuples(
        st.sampled_from(sorted(KINDS)),
        st.integers(1, 12),  # id
        st.integers(0, 1),
        st.integers(0, 3),  # price: bids 100 to 103, asks 101 to 104
        st.integers(0, 9),
    ),
    max_size=60,
)


def rows_of(acts):
    """Rows of (kind, id, side, ticks, lots), 1 ms apart."""
    rows = empty(len(acts))
    for at, (row, (kind, number, side, price, lots)) in enumerate(zip(rows, acts, strict=True)):
        row["recv_ts"] = 1_000_000 * at
        row["kind"], row["previous"], row["side"] = KINDS[kind], number, side
        row["price"], row["size"], row["flags"] = price, lots, ONE
    return rows


def all_changes(rows, cuts=()):
    book = new_order_book()
    room = np.zeros(2 * len(rows) + 2 * orders.MOST_CHANGES, orders.CHANGE)
    parts = []
    for start, stop in zip((0, *cuts), (*cuts, len(rows)), strict=True):
        taken, count = orders.run(book, rows[start:stop], room, 0)
        assert taken == stop - start
        part = room[:count].copy()
        part["row"] += start
        parts.append(part)
    return book, np.concatenate(parts)


def standing(book):
    """id → (side, price, left, number) of the orders that are in the book."""
    kept = book.orders[book.orders["left"] > 0]
    names = ("side", "price", "left", "number")
    return {int(one["id"]): tuple(int(one[n]) for n in names) for one in kept}


@settings(deadline=None, max_examples=200)
@given(acts=ACTS, data=st.data())
def test_a_book_is_what_a_plain_dictionary_of_orders_is(acts, data):
    """Prices that never cross: bids at 100 - p, asks at 101 + p."""
    acts = [(k, n, s, 100 - p if s == 0 else 101 + p, q) for k, n, s, p, q in acts]
    plain, joined, unknown, bad = {}, 0, 0, 0
    for kind, number, side, price, lots in acts:
        known = plain.get(number)
        if kind == "add":
            if lots == 0:
                bad += 1
            elif known is None:
                plain[number] = (side, price, lots, joined)
                joined += 1
        elif known is None:
            unknown += 1
        elif kind == "cancel":
            del plain[number]
        elif (kind == "modify" and lots == 0) or (kind == "execute" and lots > known[2]):
            bad += 1
        elif lots == 0:
            del plain[number]
        elif lots > known[2]:
            plain[number] = (*known[:2], lots, joined)
            joined += 1
        else:
            plain[number] = (*known[:2], lots, known[3])
    rows = rows_of(acts)
    book, changes = all_changes(rows)
    counts = book.counts[0]
    assert standing(book) == plain
    assert counts["orders"] == len(plain)
    assert (counts["unknown"], counts["malformed"] + counts["grown"]) == (unknown, bad)
    for side in (Side.BUY, Side.SELL):
        for price in range(95, 106):
            total = sum(q for s, p, q, _ in plain.values() if (s, p) == (side, price))
            assert ladders.size_at(book.ladders[0], side, price) == total
    cuts = sorted(data.draw(st.lists(st.integers(0, len(acts)), max_size=3)))
    again, split = all_changes(rows, cuts)
    assert split.tobytes() == changes.tobytes()
    assert again.counts.tobytes() == book.counts.tobytes()


@settings(deadline=None, max_examples=200)
@given(acts=ACTS)
def test_whatever_comes_the_levels_are_the_sum_of_their_changes_and_never_negative(acts):
    """Prices on both sides of one another, so that orders are held back."""
    acts = [(k, n, s, 100 + p + s, q) for k, n, s, p, q in acts]
    book, changes = all_changes(rows_of(acts))
    totals, lots = {}, {}
    for one in changes:
        key = (int(one["side"]), int(one["price"]))
        totals[key] = totals.get(key, 0) + int(one["after"] - one["before"])
        assert one["total"] == totals[key] >= 0
        assert lots.get(int(one["number"]), 0) == one["before"]
        lots[int(one["number"])] = int(one["after"])
    shown = {
        key: ladders.size_at(book.ladders[0], *key) for key, total in totals.items() if total >= 0
    }
    assert shown == totals
    best = book.ladders[0]["best"]
    assert book.counts[0]["stale"] > 0 or best[0] < best[1]  # nothing crosses that is not late


def test_one_that_takes_is_held_back_until_it_has_told_what_it_took():
    """As Bitstamp tells it: the order, then what it took and whom it took it of, in any order."""
    for first, second in (
        (("execute", 2, 0, 101, 3), ("execute", 1, 1, 101, 0)),
        (("execute", 1, 1, 101, 0), ("execute", 2, 0, 101, 3)),
    ):
        rows = rows_of([("add", 1, 1, 101, 2), ("add", 2, 0, 101, 5), first, second])
        book, changes = all_changes(rows)
        told = [(int(c["what"]), int(c["id"]), int(c["before"]), int(c["after"])) for c in changes]
        assert told == [
            (orders.JOINED, 1, 0, 2),
            (orders.TAKEN, 1, 2, 0),
            (orders.JOINED, 2, 0, 3),  # what is left of it rests
        ]
        assert book.counts[0]["takers"] == 1


def test_one_that_takes_and_of_whom_nothing_comes_is_shown_after_a_second():
    rows = rows_of([("add", 1, 1, 101, 2), ("add", 2, 0, 101, 5), ("add", 3, 0, 90, 1)])
    rows["recv_ts"][2] = orders.HOLD_NS + 2_000_000
    book, _ = all_changes(rows)
    assert book.counts[0]["stale"] == book.counts[0]["crossed"] == 1
    assert ladders.size_at(book.ladders[0], 0, 101) == 5


def test_a_book_has_room_for_so_many_orders_and_counts_the_rest():
    count = orders.CAPACITY + 5
    rows = empty(count)
    rows["kind"], rows["flags"], rows["price"], rows["size"] = EventKind.ADD, ONE, 100, 1
    rows["previous"] = np.arange(count) * 7919
    book, changes = all_changes(rows)
    assert len(changes) == book.counts[0]["orders"] == orders.CAPACITY
    assert book.counts[0]["dropped"] == 5


def test_a_snapshot_forgets_what_stood_and_may_cross_nothing_back():
    rows = rows_of([("add", 1, 0, 100, 2), ("add", 1, 0, 99, 4), ("add", 5, 1, 101, 1)])
    rows["kind"][1] = EventKind.SNAPSHOT
    rows["flags"] = [ONE, EventFlag.BEGIN, EventFlag.END]
    book, changes = all_changes(rows)
    assert [int(c["what"]) for c in changes] == [
        orders.JOINED,
        orders.CLEARED,
        orders.JOINED,
        orders.COMPLETED,
    ]
    assert standing(book) == {5: (1, 101, 1, 1)}
