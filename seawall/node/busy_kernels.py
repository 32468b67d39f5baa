"""The action side compiled, for boundaries at which nothing is out of the ordinary.

What `Action.act` does one by one, over arrays: hear the venue, value, read the gauges, decide,
approve, aim, send. It stops before the first boundary that is not plain, which is then acted at in
Python. What is to be journaled goes into `events`, in order.
"""

from typing import Any, NamedTuple

import numpy as np
from numba import njit

from seawall.decision.kernels import LONG_AGO, wanted_of
from seawall.ledger import kernels as ledger
from seawall.node import busy_venue_kernels as exchanges
from seawall.node.busy_venue_kernels import (
    BUY,
    LEDGER,
    NARROW,
    SELL,
    SMALL,
    STRATEGY,
)
from seawall.node.quiet_kernels import mark, regular
from seawall.risk import kernels as gauges
from seawall.risk.limit_kernels import NO_CAP, capped

# what happened
WANTED, APPROVED, SENT, ACCEPTED, FILL, ENDED = range(6)

EVENT = np.dtype(
    [
        ("what", "<i8"),
        ("ts", "<i8"),  # ns UTC of the boundary
        ("instrument", "<i8"),
        ("number", "<i8"),  # of the order
        ("sequence", "<i8"),  # of the venue's report
        ("side", "<i8"),
        ("price", "<i8"),
        ("size", "<i8"),  # lots; of APPROVED the position, of WANTED the place of its words
        ("filled", "<i8"),
        ("fee", "<i8"),
        ("venue_ts", "<i8"),
        ("decided", "<i8"),  # ns UTC of the intent behind an order
        ("flag", "<i8"),  # reduce-only; of FILL 1 where it was the last one, of WANTED of a Close
        ("cap", "<i8"),
        ("tape", "<i8"),
        ("row", "<i8"),  # of the opinions
        ("exposure", "<f8"),
        ("strength", "<f8"),
    ]
)

GOAL = np.dtype(
    [
        ("position", "<i8"),
        ("reduce_only", "<i8"),
        ("decided", "<i8"),  # ns UTC
        ("expiry", "<i8"),
        ("close", "<i8"),  # 1: it does not expire
        ("aimed", "<i8"),  # number of the event that approved it, -1: one of before
    ]
)

COURSE = np.dtype(
    [
        ("trades", "<i8"),  # 0: it stops where anything is wanted
        ("position", "<f8"),  # limits
        ("leverage", "<f8"),
        ("expiry", "<i8"),  # ns that an intent stands
        ("accept", "<i8"),  # ns
        ("answer", "<i8"),  # ns
        ("slippage_bps", "<i8"),
        ("rows", "<i8"),  # journal rows before the next snapshot
        ("created", "<i8"),  # orders
        ("aims", "<i8"),  # goals
        ("accounts", "<i8"),  # instruments ever traded
        ("events", "<i8"),
        ("renewed", "<i8"),  # 1: fills were heard at this boundary
        ("held", "<i8"),  # rows of `held` and `cash` in use
        ("cash", "<i8"),
    ]
)


class Side(NamedTuple):
    """What the action side holds.

    goals: (instruments,) GOAL; aims: (instruments,) those that have one, in order. accounts:
    (instruments,) in the order in which they were first traded. held: (instruments,) HELD, packed;
    holding: the same by instrument. cash: (assets,) CASH, packed. divisors: (assets,) smallest
    units in one. wants: (traded,) exposures asked for at this boundary, NaN for none; answers,
    caps: (traded,) what of it is approved. worst: (instruments,) notional; values: of one lot.
    targets: (instruments,) approved notional. asked: (traded,) 1 where anything was in this pass.
    """

    goals: np.ndarray
    aims: np.ndarray
    accounts: np.ndarray
    held: np.ndarray
    holding: np.ndarray
    cash: np.ndarray
    divisors: np.ndarray
    wants: np.ndarray
    answers: np.ndarray
    caps: np.ndarray
    worst: np.ndarray
    values: np.ndarray
    targets: np.ndarray
    asked: np.ndarray
    events: np.ndarray
    course: np.ndarray  # (1,) COURSE


@njit(cache=True, _nrt=False)
def note(side: Any, what: int, ts: int, instrument: int) -> Any:
    """One event more."""
    course = side.course[0]
    event = side.events[course["events"]]
    course["events"] += 1
    course["rows"] -= 2 if what == SENT else 1
    event["what"] = what
    event["ts"] = ts
    event["instrument"] = instrument
    return event


# --- what the venue said ---


@njit(cache=True, _nrt=False)
def audible(exchange: Any, now: int) -> int:
    """How many reports have reached the node."""
    stand = exchange.stand[0]
    last = stand["heard"]
    while last < stand["reported"] and exchange.reports[last]["due"] <= now:
        last += 1
    return int(last - stand["heard"])


@njit(cache=True, _nrt=False)
def listen(exchange: Any, side: Any, now: int, count: int) -> None:
    """`Executor.listen`: the next reports, into the books."""
    stand = exchange.stand[0]
    for at in range(stand["heard"], stand["heard"] + count):
        one = exchange.reports[at]
        instrument = one["instrument"]
        order = exchange.orders[instrument]
        if one["what"] == exchanges.TOLD:
            continue
        if one["what"] == exchanges.FILLED_LOTS:
            event = note(side, FILL, now, instrument)
            book_fill(exchange, side, one)
            event["side"], event["price"], event["size"] = one["side"], one["price"], one["size"]
            event["fee"], event["venue_ts"] = one["fee"], one["ts"]
            order["filled"] += one["size"]
            side.course[0]["renewed"] = 1
            event["flag"] = one["whole"]
            if one["whole"] == 1:
                order["number"] = 0
        elif one["what"] == exchanges.NEW:
            event = note(side, ACCEPTED, now, instrument)
        else:
            event = note(side, ENDED, now, instrument)
            order["number"] = 0
        event["number"], event["sequence"] = one["number"], one["sequence"]
        event["filled"] = order["filled"]
    stand["heard"] += count


@njit(cache=True, _nrt=False)
def book_fill(exchange: Any, side: Any, one: Any) -> None:
    """`Ledger.apply` of a fill."""
    instrument = one["instrument"]
    term, sign = exchange.terms[instrument], 1 if one["side"] == BUY else -1
    value = one["price"] * one["size"] * term["unit"]
    books, lots, cash = exchange.books, exchange.lots, exchange.cash[0]
    course = side.course[0]
    if books[LEDGER, instrument]["trades"] == -1:  # never traded before
        books[LEDGER, instrument]["trades"] = 0
        side.accounts[course["accounts"]] = instrument
        course["accounts"] += 1
    realised = 0
    for whose in (STRATEGY, LEDGER):
        book = books[whose, instrument]
        realised = exchanges.trade(book, lots[whose, instrument], sign, one["size"], value)
        book["fees"] += one["fee"]
    if term["spot"] == 1:
        cash[term["settle"]] -= sign * value
        cash[term["base"]] += sign * one["size"] * term["base_unit"]
    else:
        cash[term["settle"]] += realised
    cash[term["settle"]] -= one["fee"]


@njit(cache=True, _nrt=False)
def pack(exchange: Any, side: Any) -> None:
    """Cash and positions, as the account is valued by."""
    course, books = side.course[0], exchange.books
    course["cash"] = course["held"] = 0
    for asset in range(exchange.cash.shape[1]):
        amount = exchange.cash[0, asset]
        if amount != 0:
            row = side.cash[course["cash"]]
            row["asset"] = asset
            row["units"] = float(amount) / side.divisors[asset]
            course["cash"] += 1
    for at in range(course["accounts"]):
        instrument = side.accounts[at]
        book, one = books[LEDGER, instrument], side.holding[instrument]
        if one["inverse"] == 0:
            term = exchange.terms[instrument]
            one["size"] = book["position"] * term["lot"]
            one["unit"] = float(abs(book["position"]) * term["unit"])
            one["cost"] = float(book["cost"])
            one["gain"] = 1.0 if book["position"] > 0 else -1.0
        if one["size"] != 0.0:
            side.held[course["held"]] = one
            course["held"] += 1


# --- what is wanted, and what of it risk allows ---


@njit(cache=True, _nrt=False)
def decide(
    strengths: Any,
    row: int,
    wishes: Any,
    plan: Any,
    scratch: Any,
    exchange: Any,
    side: Any,
    equity: float,
    now: int,
) -> int:
    """`Orchestrator.decide`: how many intents there are; they are in `side.wants`, by traded."""
    limits, count = plan.limits[0], 0
    cap = limits["cap_fraction"] * equity
    for at in range(len(plan.traded)):
        one = plan.traded[at]
        side.wants[at] = np.nan
        strength = strengths[row + one["group"], 0]
        if one["ready"] == 0 or np.isnan(strength):
            continue
        held = 0.0
        lots = exchange.books[LEDGER, one["instrument"]]["position"]
        if one["inverse"] == 1:
            lots = np.int64(one["lots"])
        if lots != 0:
            held = lots * value_of(one, scratch)
        band, hold = limits["deadband"], limits["hold"]
        side.wants[at] = wanted_of(wishes[at], strength, cap, held, band, hold, now)
        if not np.isnan(side.wants[at]):
            count += 1
    return count


@njit(cache=True, _nrt=False)
def value_of(one: Any, scratch: Any) -> float:
    """`Prices.lot_value` of a TRADED."""
    price = scratch.asset_marks[one["quote"]]
    if one["inverse"] == 1:
        return float(one["lot"] * price)
    return float(one["lot"] * scratch.marks[one["instrument"]] * price)


@njit(cache=True, _nrt=False)
def worst_of(exchange: Any, instrument: int) -> int:
    """`Holding.worst`: most lots, either way, that it can come to."""
    order, lots = exchange.orders[instrument], exchange.books[LEDGER, instrument]["position"]
    if order["number"] == 0:
        return int(abs(lots))
    left = order["size"] - order["filled"]
    return int(max(abs(lots), lots + left if order["side"] == BUY else left - lots))


@njit(cache=True, _nrt=False)
def reach_of(exchange: Any, side: Any, instrument: int) -> int:
    """The same with what is approved and still to be ordered."""
    most, goal = worst_of(exchange, instrument), side.goals[instrument]
    return most if goal["expiry"] == 0 else max(most, int(abs(goal["position"])))


@njit(cache=True, _nrt=False)
def approve(plan: Any, scratch: Any, exchange: Any, side: Any, equity: float) -> bool:
    """`risk.limits.approve` of `side.wants`, into `side.answers` and `side.caps`.

    False where something is refused, or may not fit in 64 bits; nothing has changed then.
    """
    course = side.course[0]
    values = side.values
    side.worst[:] = 0.0
    for at in range(len(plan.traded)):
        one = plan.traded[at]
        instrument = one["instrument"]
        values[instrument] = value_of(one, scratch) if one["ready"] == 1 else np.nan
        worst = reach_of(exchange, side, instrument)
        if worst != 0:
            side.worst[instrument] = worst * values[instrument]
    for k in range(len(exchange.terms)):
        worst = reach_of(exchange, side, k)
        if worst != 0 and not 0.0 < side.worst[k] < np.inf:
            return False  # held, but not traded by the strategy, or without a mark
    for at in range(len(plan.traded)):
        one, wanted = plan.traded[at], side.wants[at]
        if np.isnan(wanted):
            continue
        instrument = one["instrument"]
        term, value = exchange.terms[instrument], values[instrument]
        held = exchange.books[LEDGER, instrument]["position"]
        if one["inverse"] == 1:
            return False
        if wanted == 0.0:
            side.answers[at], side.caps[at] = 0, NO_CAP
            continue
        if term["deposited"] == 0 or not 0.0 < value < np.inf:
            return False
        same = gross = 0.0
        for k in range(len(exchange.terms)):
            if k != instrument:
                gross += side.worst[k]
                if exchange.terms[k]["group"] == term["group"]:
                    same += side.worst[k]
        lots, cap = capped(
            wanted,
            value,
            course["position"] * equity - same,
            course["leverage"] * equity - gross,
            term["spot"] == 0,
        )
        if lots == 0 and held == 0:
            return False
        if lots + abs(held) >= NARROW:
            return False
        price = 2.0 * scratch.marks[instrument] / side.holding[instrument]["tick"]
        if (lots + abs(held)) * price * term["unit"] > SMALL:
            return False
        side.answers[at], side.caps[at] = lots if wanted > 0.0 else -lots, cap
        if lots > reach_of(exchange, side, instrument):
            side.worst[instrument] = max(side.worst[instrument], lots * value)
    return True


@njit(cache=True, _nrt=False)
def reduces(position: int, held: int) -> bool:
    """Whether going from `held` lots to `position` neither grows nor turns."""
    return min(0, held) <= position <= max(0, held)


@njit(cache=True, _nrt=False)
def commit(
    frame: Any,
    strengths: Any,
    row: int,
    wishes: Any,
    plan: Any,
    exchange: Any,
    side: Any,
) -> None:
    """Write down what was decided and approved, and aim at it."""
    course, now = side.course[0], frame["ts"]
    for at in range(len(plan.traded)):
        wanted = side.wants[at]
        if np.isnan(wanted):
            continue
        wish, instrument = wishes[at], plan.traded[at]["instrument"]
        wish["exposure"], wish["ts"], wish["expiry"] = wanted, now, now + course["expiry"]
        side.asked[at] = 1
        if wanted == 0.0 and exchange.books[LEDGER, instrument]["position"] == 0:
            side.wants[at] = np.nan  # a Close of nothing
            continue
        group = plan.traded[at]["group"]
        event = note(side, WANTED, now, instrument)
        event["exposure"], event["strength"] = wanted, strengths[row + group, 0]
        event["tape"], event["row"] = frame["tape"], row + group
        event["flag"] = 1 if wanted == 0.0 else 0
    for at in range(len(plan.traded)):
        wanted = side.wants[at]
        if np.isnan(wanted):
            continue
        instrument, position = plan.traded[at]["instrument"], side.answers[at]
        held = exchange.books[LEDGER, instrument]["position"]
        number = course["events"]
        event = note(side, APPROVED, now, instrument)
        event["size"], event["cap"] = position, side.caps[at]
        event["flag"] = 1 if wanted == 0.0 or reduces(position, held) else 0
        side.targets[instrument] = position * side.values[instrument]
        goal = side.goals[instrument]
        if goal["expiry"] == 0:
            side.aims[course["aims"]] = instrument
            course["aims"] += 1
        goal["position"], goal["reduce_only"] = position, event["flag"]
        goal["decided"], goal["expiry"] = now, now + course["expiry"]
        goal["close"] = 1 if wanted == 0.0 else 0
        goal["aimed"] = number


# --- orders ---


@njit(cache=True, _nrt=False)
def drop(side: Any, at: int) -> None:
    """A goal is reached, or void."""
    course = side.course[0]
    side.goals[side.aims[at]]["expiry"] = 0
    course["aims"] -= 1
    for k in range(at, course["aims"]):
        side.aims[k] = side.aims[k + 1]


@njit(cache=True, _nrt=False)
def work(frames: Any, first: int, plan: Any, exchange: Any, side: Any, now: int) -> None:
    """`Executor.work`: send what the goals call for."""
    course, at = side.course[0], 0
    while at < course["aims"]:
        goal = side.goals[side.aims[at]]
        if goal["close"] == 0 and now >= goal["expiry"]:
            drop(side, at)
        else:
            at += 1
    at = 0
    while at < course["aims"]:
        instrument = side.aims[at]
        goal = side.goals[instrument]
        if exchange.orders[instrument]["number"] != 0:
            at += 1
            continue
        position, wanted = exchange.books[LEDGER, instrument]["position"], goal["position"]
        if exchange.terms[instrument]["spot"] == 1:
            wanted = max(np.int64(0), wanted)
        reducing = reduces(wanted, position)
        if wanted == position or (goal["reduce_only"] == 1 and not reducing):
            drop(side, at)
            continue
        at += 1
        frame = frames[first + plan.primary[instrument]["slot"]]
        send(exchange, side, instrument, wanted - position, reducing, frame, now)


@njit(cache=True, _nrt=False)
def send(
    exchange: Any, side: Any, instrument: int, delta: int, reducing: bool, frame: Any, now: int
) -> None:
    """One IOC limit order on its way."""
    course, stand, order = side.course[0], exchange.stand[0], exchange.orders[instrument]
    buys = delta > 0
    touched = frame["ask"] if buys else frame["bid"]
    away = touched * course["slippage_bps"] // 10_000
    course["created"] += 1
    order["number"] = course["created"]
    order["side"] = BUY if buys else SELL
    order["price"] = touched + away if buys else touched - away
    order["size"] = abs(delta)
    order["filled"] = 0
    order["reduce_only"] = 1 if reducing and exchange.terms[instrument]["spot"] == 0 else 0
    order["sent"] = now
    order["accept_until"] = now + course["accept"]
    order["arrival"] = max(now + stand["entry"], stand["last_arrival"])
    stand["last_arrival"] = order["arrival"]
    exchange.flight[stand["flying"]] = instrument
    stand["flying"] += 1
    event = note(side, SENT, now, instrument)
    event["number"], event["side"] = order["number"], order["side"]
    event["price"], event["size"] = order["price"], order["size"]
    event["flag"], event["decided"] = order["reduce_only"], side.goals[instrument]["decided"]


# --- the boundaries ---


@njit(cache=True, _nrt=False)
def full(exchange: Any, count: int) -> bool:
    """Whether so many fills might open more lots than there is room for."""
    room = exchange.lots.shape[2] - count - 1
    for k in range(len(exchange.terms)):
        for whose in (LEDGER, STRATEGY):
            if exchange.books[whose, k]["count"] > room:
                return True
    return False


@njit(cache=True, _nrt=False)
def unanswered(exchange: Any, side: Any, now: int) -> bool:
    """Whether an order has waited too long."""
    for k in range(len(exchange.orders)):
        order = exchange.orders[k]
        if order["number"] != 0 and now - order["sent"] > side.course[0]["answer"]:
            return True
    return False


@njit(cache=True, _nrt=False)
def priced(frames: Any, first: int, plan: Any) -> bool:
    """Whether every market that is traded has prices that an order can be sent to."""
    for at in range(len(plan.traded)):
        one = plan.traded[at]
        if one["ready"] == 1:
            frame = frames[first + plan.primary[one["instrument"]]["slot"]]
            if frame["bid"] <= 0 or not 0 < frame["ask"] < NARROW // 2:
                return False
    return True


@njit(cache=True, _nrt=False)
def go(
    frames: Any,
    edges: Any,
    strengths: Any,
    groups: int,
    boundary: int,
    plan: Any,
    scratch: Any,
    wishes: Any,
    gauge: Any,
    falls: Any,
    ranges: Any,
    measures: Any,
    models: Any,
    rows: Any,
    floor: Any,
    exchange: Any,
    side: Any,
) -> int:
    """The first boundary from `boundary` on that is not plain; len(edges) - 1: none.

    frames, edges, strengths, ...: as for `quiet_kernels.pass_over`. rows: of the tape, for the
    venue, which has taken in `stand["at"]` of them.
    """
    limits, course = plan.limits[0], side.course[0]
    stand = exchange.stand[0]
    start, traded = boundary, len(plan.traded)
    pack(exchange, side)
    while boundary < len(edges) - 1:
        first = edges[boundary]
        now, row = frames[first]["ts"], boundary * groups
        late = now - limits["digest_ts"] >= limits["digest_span"]
        if late and boundary - start >= limits["digest_left"]:
            break
        if not regular(frames, first, edges[boundary + 1], plan):
            break
        # a call counts every array that it is given: none where there is nothing to do
        if stand["flying"] > 0 and not exchanges.advance(floor, rows, exchange, now):
            break
        count = audible(exchange, now) if stand["heard"] < stand["reported"] else 0
        most = count + 4 * traded
        if course["rows"] <= most or course["events"] + most > len(side.events):
            break
        course["renewed"] = 0
        if count > 0:
            if full(exchange, count):
                break
            listen(exchange, side, now, count)
            pack(exchange, side)
        under_way = stand["flying"] > 0 or stand["heard"] < stand["reported"]
        if under_way and unanswered(exchange, side, now):
            break
        mark(frames, first, plan, scratch)
        cash, held = side.cash[: course["cash"]], side.held[: course["held"]]
        equity, gross = ledger.value(cash, held, scratch.marks, scratch.asset_marks, scratch.sums)
        if not 0.0 < equity < np.inf:
            break
        if course["renewed"] == 1:
            wishes["refused_until"][:] = LONG_AGO
        wants = decide(strengths, row, wishes, plan, scratch, exchange, side, equity, now)
        if wants > 0 and (
            course["trades"] == 0 or not approve(plan, scratch, exchange, side, equity)
        ):
            break
        if wants + course["aims"] > 0 and not priced(frames, first, plan):
            break
        share = ledger.leverage(gross, equity)
        if gauges.read(
            gauge,
            falls,
            ranges,
            measures,
            models,
            scratch.asked,
            now,
            scratch.prices,
            scratch.volatilities,
            equity,
            share,
        ):
            break
        limits["drawdown"] = max(limits["drawdown"], measures[1]["value"])
        if wants > 0:
            commit(frames[first], strengths, row, wishes, plan, exchange, side)
        if course["aims"] > 0:
            work(frames, first, plan, exchange, side, now)
        boundary += 1
    return boundary
