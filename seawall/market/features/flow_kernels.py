"""What features need of every row, compiled: integers that a book's flow adds up between frames.

Ten levels a side are kept up to date from the rows themselves; the ladder is asked only where one
of them has gone. Formulas and sources: seawall/market/features/table.py.
"""

import numpy as np
from numba import njit

from seawall.core import ladder as ladders
from seawall.core.ladder import ASK, BID, NO_ASK, NO_BID
from seawall.market.kernels import BY_NOTHING, BY_QUOTE, DEPTH, DOWN, END, QUOTE, SNAPSHOT, TRADE

LEVELS = 10
VALID = 1
NOWHERE = 1 << 62  # the key of a level that is not there

# What is added up in a frame, and then over windows of frames. All integers: exact in any order, so
# a sum over a window never drifts (what is traded in one, in lots x 2 ticks, must fit in int64).
# The first eight are also kept one by one.
(
    OFI,  # lots, level 1
    OFI_5,  # levels 1 to 5 added up
    OFI_10,
    SPREAD,  # ticks, at the frame's end
    DISPLAYED,  # lots on ten levels of both sides, at the frame's end
    VOLUME,  # lots traded
    NET,  # lots bought - lots sold, by aggressor
    MOVE,  # change of MID_2 since the frame before
    TRADES,
    TRADED,  # lots x ticks
    SIGNS,  # of trades, added up
    BUYS,  # trades
    SELLS,
    MESSAGES,  # of the book
    BID_ADDED,  # lots at the best bid
    BID_REMOVED,
    ASK_ADDED,
    ASK_REMOVED,
    MARKED,  # signed lots of the trades that had a mid
    MARKED_MID,  # signed lots x twice the mid
    MARKED_VALUE,  # lots x twice the mid
    EFFECTIVE,  # signed lots x 2 (price - mid)
    IMPACT,  # signed lots x 2 (mid after the horizon - mid), of the frame HORIZON ago
    PAST_EFFECTIVE,  # EFFECTIVE and MARKED_VALUE of that frame
    PAST_VALUE,
    ROLL_N,  # pairs of successive price changes; their sums and the sum of their products
    ROLL_NEW,
    ROLL_OLD,
    ROLL_PRODUCT,
    SPLIT_N,  # triples of signed trades; sums of products of signs ...
    SPLIT_01,
    SPLIT_12,
    SPLIT_02,
    SPLIT_P0,  # ... and of the price change with each sign
    SPLIT_P1,
    SPLIT_P2,
    MID_2,  # twice the mid, ticks, at the frame's end
    DISTANCE,  # change of it since the frame before, without its sign
) = range(38)
SERIES = 38

FLOW = np.dtype(
    [
        # best levels, nearest first; a key is the price, negative for bids: less is nearer
        ("key", "<i8", (2, LEVELS)),
        ("size", "<i8", (2, LEVELS)),
        ("seen_key", "<i8", (2, LEVELS)),  # the same after the last whole message
        ("seen_size", "<i8", (2, LEVELS)),
        ("count", "<i8", (2,)),
        ("complete", "<i8", (2,)),  # the side has no level beyond these
        ("edge", "<i8", (2,)),  # a row with a greater key concerns none of them
        ("changed", "<i8", (2,)),
        ("displayed", "<i8"),  # lots on all of them
        ("linked", "<i8"),  # the message before is known, so that a change can be told
        ("heard", "<i8"),  # ns, the market's `message_ts`, NOWHERE while it has no book
        # trades before this one
        ("chain", "<i8"),  # how many are known, at most 2
        ("price", "<i8", (2,)),
        ("sign", "<i8", (2,)),
        ("direction", "<i8"),  # of the last change of the trade price
        # the frame under way
        ("level_ofi", "<i8", (LEVELS,)),
        ("displayed_sum", "<i8"),  # over messages
        ("sums", "<i8", (SERIES,)),
    ]
)

SAMPLE = np.dtype(
    [
        ("level_ofi", "<i8", (LEVELS,)),
        ("displayed_sum", "<i8"),
        ("depth", "<i8", (2, 3)),  # lots by side on 1, 5 and 10 levels, at the frame's end
        ("sums", "<i8", (SERIES,)),
    ]
)


@njit(cache=True)
def begin(flow):
    """Nothing is known of the book or its trades."""
    for side in range(2):
        forget(flow, side)
        flow["complete"][side] = 0
        flow["edge"][side] = -NOWHERE
    flow["heard"] = NOWHERE
    break_off(flow)


@njit(cache=True)
def forget(flow, side):
    """A side without levels, all of which will be told."""
    for m in range(LEVELS):
        flow["key"][side, m] = NOWHERE
        flow["size"][side, m] = 0
    flow["count"][side] = 0
    flow["complete"][side] = 1
    flow["edge"][side] = NOWHERE
    flow["changed"][side] = 1


@njit(cache=True)
def break_off(flow):
    """No change reaches across this point: not of the book, not from trade to trade."""
    flow["linked"] = 0
    flow["chain"] = 0
    flow["direction"] = 0
    clear_sums(flow)


@njit(cache=True)
def clear_sums(flow):
    """A frame begins."""
    flow["displayed_sum"] = 0
    for m in range(LEVELS):
        flow["level_ofi"][m] = 0
    for k in range(SERIES):
        flow["sums"][k] = 0


@njit(cache=True)
def put(flow, side, key, size):
    """A row that concerns the levels kept; a level that is pushed out is left to the ladder."""
    keys, sizes = flow["key"][side], flow["size"][side]
    count = flow["count"][side]
    i = 0
    while i < count and keys[i] < key:
        i += 1
    found = i < count and keys[i] == key
    if found and size > 0:
        sizes[i] = size
        flow["changed"][side] = 1
        return
    if found:
        count -= 1
        for m in range(i, count):
            keys[m] = keys[m + 1]
            sizes[m] = sizes[m + 1]
        keys[count] = NOWHERE
        sizes[count] = 0
    elif size > 0:
        if count == LEVELS:
            flow["complete"][side] = 0
            count -= 1
        for m in range(count, i, -1):
            keys[m] = keys[m - 1]
            sizes[m] = sizes[m - 1]
        count += 1
        keys[i] = key
        sizes[i] = size
    else:
        return
    flow["count"][side] = count
    flow["changed"][side] = 1
    set_edge(flow, side)


@njit(cache=True)
def set_edge(flow, side):
    """Beyond the last level kept nothing is ours to know, unless there are no others."""
    count = flow["count"][side]
    if flow["complete"][side] == 1 and count < LEVELS:
        flow["edge"][side] = NOWHERE
    else:
        flow["edge"][side] = flow["key"][side, count - 1] if count > 0 else -NOWHERE


@njit(cache=True)
def refill(flow, ladder, side):
    """Levels that have come near because others went: from the ladder."""
    while flow["count"][side] < LEVELS and flow["complete"][side] == 0:
        count = flow["count"][side]
        if count == 0:
            price = ladder["best"][side]
        else:
            last = flow["key"][side, count - 1]
            price = ladders.next_price(ladder, side, -last if side == BID else last)
        if price == NO_BID or price == NO_ASK:
            flow["complete"][side] = 1
        else:
            flow["key"][side, count] = -price if side == BID else price
            flow["size"][side, count] = ladders.size_at(ladder, side, price)
            flow["count"][side] = count + 1
    set_edge(flow, side)


@njit(cache=True)
def settle(flow, side):
    """A message is whole: what it changed on a side, level by level (Cont et al. 2014, e_n)."""
    key, size = flow["key"][side], flow["size"][side]
    old_key, old_size = flow["seen_key"][side], flow["seen_size"][side]
    if flow["linked"]:
        ofi = flow["level_ofi"]
        way = 1 if side == BID else -1
        for m in range(LEVELS):
            ofi[m] += way * (
                (key[m] <= old_key[m]) * size[m] - (key[m] >= old_key[m]) * old_size[m]
            )
        change = (key[0] <= old_key[0]) * size[0] - (key[0] >= old_key[0]) * old_size[0]
        added = BID_ADDED if side == BID else ASK_ADDED
        flow["sums"][added if change > 0 else added + 1] += abs(change)
    shown = np.int64(0)
    for m in range(LEVELS):
        shown += size[m] - old_size[m]
        old_key[m] = key[m]
        old_size[m] = size[m]
    flow["displayed"] += shown
    flow["changed"][side] = 0


@njit(cache=True)
def end_message(flow, ladder, book, by_depth):
    """The last row of a book message that the market has applied."""
    if book["valid"] == 0:
        flow["linked"] = 0
        return
    for side in range(2):
        if flow["changed"][side]:
            if by_depth:
                refill(flow, ladder, side)
            settle(flow, side)
    if flow["linked"]:
        flow["sums"][MESSAGES] += 1
        flow["displayed_sum"] += flow["displayed"]
    flow["linked"] = 1


@njit(cache=True)
def note_quote(flow, ladder, book):
    """A book that is known by its touch alone has one level."""
    for side in range(2):
        forget(flow, side)
        price = book["bid"] if side == BID else book["ask"]
        flow["key"][side, 0] = -price if side == BID else price
        flow["size"][side, 0] = book["bid_size"] if side == BID else book["ask_size"]
        flow["count"][side] = 1
    end_message(flow, ladder, book, False)


@njit(cache=True)
def sign_of(flow, row, mid_2):
    """+1 where the buyer was the aggressor, -1 for the seller, 0 where nobody can say.

    By the venue's word, else Lee and Ready 1991: against the mid now, at it by the last change.
    """
    side = row["side"]
    if side == BID:
        return np.int64(1)
    if side == ASK:
        return np.int64(-1)
    if mid_2 > 0 and 2 * row["price"] > mid_2:
        return np.int64(1)
    if mid_2 > 0 and 2 * row["price"] < mid_2:
        return np.int64(-1)
    return np.int64(flow["direction"])


@njit(cache=True)
def note_trade(flow, book, row):
    """A public trade."""
    price, size = row["price"], row["size"]
    sums = flow["sums"]
    if flow["chain"] > 0 and price != flow["price"][0]:
        flow["direction"] = 1 if price > flow["price"][0] else -1
    mid_2 = book["mid_2"] if book["valid"] else np.int64(0)
    sign = sign_of(flow, row, mid_2)
    sums[TRADES] += 1
    sums[VOLUME] += size
    sums[TRADED] += size * price
    sums[SIGNS] += sign
    sums[BUYS] += sign > 0
    sums[SELLS] += sign < 0
    sums[NET] += sign * size
    if sign != 0 and mid_2 > 0:
        sums[MARKED] += sign * size
        sums[MARKED_MID] += sign * size * mid_2
        sums[MARKED_VALUE] += size * mid_2
        sums[EFFECTIVE] += sign * size * (2 * price - mid_2)
    if flow["chain"] == 2:
        new, old = price - flow["price"][0], flow["price"][0] - flow["price"][1]
        sums[ROLL_N] += 1
        sums[ROLL_NEW] += new
        sums[ROLL_OLD] += old
        sums[ROLL_PRODUCT] += new * old
        first, second = flow["sign"][0], flow["sign"][1]
        if sign != 0 and first != 0 and second != 0:
            sums[SPLIT_N] += 1
            sums[SPLIT_01] += sign * first
            sums[SPLIT_12] += first * second
            sums[SPLIT_02] += sign * second
            sums[SPLIT_P0] += new * sign
            sums[SPLIT_P1] += new * first
            sums[SPLIT_P2] += new * second
    flow["price"][1], flow["sign"][1] = flow["price"][0], flow["sign"][0]
    flow["price"][0], flow["sign"][0] = price, sign
    flow["chain"] = min(2, flow["chain"] + 1)


@njit(cache=True)
def step(flow, ladder, book, row, reason, gap):
    """One row, right after `market.kernels.apply` has taken it; `gap` as in the market's clock."""
    if reason != 0:
        if book["valid"] == 0:
            flow["linked"] = 0
        return
    kind = row["kind"]
    if row["recv_ts"] - flow["heard"] > gap:
        break_off(flow)
        flow["heard"] = book["message_ts"]
    last = row["flags"] & END
    if kind == DEPTH:
        side = np.int64(row["side"])
        key = -row["price"] if side == BID else row["price"]
        if key <= flow["edge"][side]:
            put(flow, side, key, row["size"])
        elif row["size"] > 0:
            flow["complete"][side] = 0
        if last and book["whole"]:
            end_message(flow, ladder, book, True)
        elif last:  # it has crossed, and waits for a snapshot
            flow["linked"] = 0
    elif kind == TRADE:
        note_trade(flow, book, row)
    elif kind == SNAPSHOT:
        forget(flow, BID)
        forget(flow, ASK)
        if last:
            end_message(flow, ladder, book, True)
    elif kind == QUOTE:
        if last and book["made_of"] == BY_QUOTE:
            note_quote(flow, ladder, book)
    elif kind == DOWN:
        begin(flow)
    if last or flow["heard"] == NOWHERE:
        flow["heard"] = book["message_ts"] if book["made_of"] != BY_NOTHING else NOWHERE


@njit(cache=True)
def run(flow, ladder, book, rows, reasons, start, stop, gap):
    """rows[start:stop] of one message of a book, after the market has taken them all.

    For loops that take the rows of a depth message in one go: what is asked of the ladder is asked
    at the message's end, so that it may be told late.
    """
    for i in range(start, stop):
        step(flow, ladder, book, rows[i], reasons[i], gap)


@njit(cache=True)
def take(flow, frame, sample):
    """A frame of the book has closed: its sums, and the next frame begins."""
    sums = flow["sums"]
    total = np.int64(0)
    for m in range(LEVELS):
        total += flow["level_ofi"][m]
        sample["level_ofi"][m] = flow["level_ofi"][m]
        if m == 0:
            sums[OFI] = total
        elif m == 4:
            sums[OFI_5] = total
    sums[OFI_10] = total
    for side in range(2):
        depth = np.int64(0)
        for m in range(LEVELS):
            depth += flow["seen_size"][side, m]
            if m == 0:
                sample["depth"][side, 0] = depth
            elif m == 4:
                sample["depth"][side, 1] = depth
        sample["depth"][side, 2] = depth
    sample["displayed_sum"] = flow["displayed_sum"]
    for k in range(SERIES):
        sample["sums"][k] = sums[k]
    clear_sums(flow)
    if not frame["flags"] & VALID:
        flow["chain"] = 0
        flow["direction"] = 0


@njit(cache=True)
def take_all(flows, frames, start, stop, samples):
    """The samples of frames[start:stop], which have just closed."""
    for i in range(start, stop):
        take(flows[frames[i]["book"]], frames[i], samples[i])
