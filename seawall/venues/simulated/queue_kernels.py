"""Where a resting order of ours stands in the queue at its price: models behind four functions.

A public book shows totals, not places. What a model has to say is how much of a falling total had
stood before us. Places are whole lots, a share of one the nearest.

    arrive    our order joins the queue
    on_depth  the total at its price changed (books of levels)
    on_order  another's order at its price changed (books order by order)
    on_trade  somebody took lots at its price, of an order that is known or not

Lots before us are never below 0, and after `arrive` nothing adds to them.
"""

import numpy as np
from numba import njit

RISK_AVERSE = 0  # who leaves stood behind us; the shown total is the only bound
PROBABILISTIC = 1  # who leaves stood before or behind us, as likely as the two are long
ORDER_BY_ORDER = 2  # the feed tells every order, so the place is known

PARTS = 1 << 32  # of a lot

MODEL = np.dtype(
    [
        ("kind", "<i8"),
        ("power", "<i8"),  # PROBABILISTIC: n of f(x) = x^n, from 1 to 64
    ]
)

PLACE = np.dtype(
    [
        ("ahead", "<i8"),  # lots of others that stand before us
        ("traded", "<i8"),  # lots that trades took and the book has not shown as gone so far
        # ORDER_BY_ORDER: orders of smaller arrival number stand before us.
        # PROBABILISTIC: how far `ahead` was rounded, in parts of a lot.
        ("number", "<i8"),
    ]
)


@njit(cache=True)
def arrive(model, place, shown, number):
    """Our order joins the queue behind all that is shown.

    Args:
        model: MODEL. place: PLACE, written. shown: lots at the price, our own left out.
        number: arrival number that the next order would have in a book order by order, else 0.
    """
    place["ahead"] = max(np.int64(0), shown)
    place["traded"] = 0
    place["number"] = number if model["kind"] == ORDER_BY_ORDER else 0


@njit(cache=True)
def raised(base, power):
    """base ** power for whole powers, by multiplying: the same bits on every machine."""
    product = 1.0
    for _ in range(power):
        product *= base
    return product


@njit(cache=True)
def share_behind(power, ahead, behind):
    """Probability that one who leaves stood behind us: f(behind) / (f(ahead) + f(behind)).

    f(x) = x^power. With power 1 all lots are alike; the greater it is, the more do leavers come
    from the longer part (E. Rigtorp, Estimating order queue position, 2013, and hftbacktest's
    PowerProbQueueModel).
    """
    whole = ahead + behind
    if whole <= 0.0:
        return 1.0
    front = raised(ahead / whole, power)
    back = raised(behind / whole, power)
    return back / (front + back)


@njit(cache=True)
def on_depth(model, place, before, after):
    """The total at our price went from `before` to `after` lots, our own left out."""
    if model["kind"] == ORDER_BY_ORDER:
        return
    ahead = place["ahead"]
    if model["kind"] == PROBABILISTIC:
        # What trades took has been taken off already when they were reported.
        left = before - after - place["traded"]
        place["traded"] = 0
        if left > 0:
            front = max(0.0, ahead - place["number"] / PARTS)
            behind = max(0.0, before - front)
            share = share_behind(model["power"], front, behind)
            front = max(0.0, front - left + min(share * left, behind))
            ahead = np.int64(np.ceil(front - 0.5))
            place["number"] = np.int64((ahead - front) * PARTS)
    if ahead > after:
        ahead = max(np.int64(0), after)
        place["number"] = 0
    place["ahead"] = ahead


@njit(cache=True)
def on_order(model, place, number, before, after):
    """The order of arrival `number` at our price went from `before` to `after` lots.

    Its shrinking by a trade is to be told after that trade, and not at all where the trade named
    it. An order that grows has lost its place
    and comes with a new number. Models of levels learn nothing from it.
    """
    if model["kind"] != ORDER_BY_ORDER or number >= place["number"] or after >= before:
        return
    gone = before - after
    told = min(gone, place["traded"])
    place["traded"] -= told
    place["ahead"] = max(np.int64(0), place["ahead"] - (gone - told))


@njit(cache=True)
def on_trade(model, place, lots, number):
    """Somebody took `lots` at our price. Returns those that are left over when our turn comes.

    `number` is the arrival number of the order that they were taken of, -1 where nobody tells. If
    it stood behind us, all of them would have come to us first.
    """
    if number >= 0 and model["kind"] == ORDER_BY_ORDER:
        if number >= place["number"]:
            return lots
        place["ahead"] = max(np.int64(0), place["ahead"] - lots)
        return np.int64(0)
    eaten = min(place["ahead"], lots)
    place["ahead"] -= eaten
    place["traded"] += eaten if model["kind"] == ORDER_BY_ORDER else lots
    return lots - eaten
