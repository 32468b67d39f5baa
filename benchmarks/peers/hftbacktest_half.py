"""hftbacktest's half of the comparison. Runs in an environment of its own and knows no Seawall.

    python hftbacktest_half.py JOB.json

The job names the events (hftbacktest's own layout, before its corrections), the runs to make of
them and where the fills go. For each line on stdin one run is made and printed as a line of JSON.
"""

import json
import os
import sys
import time

import numpy as np
from hftbacktest import (
    BUY,
    GTX,
    LIMIT,
    BacktestAsset,
    HashMapMarketDepthBacktest,
    ROIVectorMarketDepthBacktest,
)
from hftbacktest.data import correct_event_order, correct_local_timestamp, validate_event_order
from hftbacktest.order import FILLED
from hftbacktest.types import event_dtype
from numba import njit
from talking import job, most_memory

FILL = np.dtype([("ts", "<i8"), ("side", "<i8"), ("price", "<i8"), ("order", "<i8")])


@njit
def collect(orders, fills, count):
    """Note the orders that have been filled since the last look; returns the new count."""
    values = orders.values()
    while values.has_next():
        order = values.get()
        if order.status == FILLED:
            fills[count]["ts"] = order.exch_timestamp
            fills[count]["side"] = 0 if order.side == BUY else 1
            fills[count]["price"] = order.exec_price_tick
            fills[count]["order"] = order.order_id
            count += 1
    return count


@njit
def touch(hbt, cadence, size, most, fills):
    """One post-only order a side at the best price; moved when the best price moves.

    Buys while the position is below `most` lots, sells while it is above -most.
    """
    count = 0
    number = 0
    frames = 0
    ours = np.zeros(2, np.int64)  # number of the order of each side, 0 where there is none
    while hbt.elapse(cadence) == 0:
        frames += 1
        depth = hbt.depth(0)
        orders = hbt.orders(0)
        count = collect(orders, fills, count)
        hbt.clear_inactive_orders(0)
        position = np.int64(round(hbt.position(0) / depth.lot_size))
        bid, ask = depth.best_bid_tick, depth.best_ask_tick
        if bid <= 0 or ask >= 1 << 60:
            continue
        for side in range(2):
            wanted = bid if side == 0 else ask
            allowed = position < most if side == 0 else position > -most
            if ours[side] and ours[side] not in orders:
                ours[side] = 0
            if ours[side]:
                order = orders.get(ours[side])
                if order.cancellable and (order.price_tick != wanted or not allowed):
                    hbt.cancel(0, ours[side], False)
            elif allowed:
                number += 1
                ours[side] = number
                price = wanted * depth.tick_size
                quantity = size * depth.lot_size
                if side == 0:
                    hbt.submit_buy_order(0, number, price, quantity, GTX, LIMIT, False)
                else:
                    hbt.submit_sell_order(0, number, price, quantity, GTX, LIMIT, False)
    return collect(hbt.orders(0), fills, count), frames


@njit
def grid(hbt, cadence, size, most, fills):
    """Three post-only orders a side, one to three ticks apart, leaning against the position.

    The centre moves down by one tick for each `most` / 4 lots held; an order whose price is no
    longer wanted is cancelled, a price that has none gets one.
    """
    levels = 3
    count = 0
    number = 0
    frames = 0
    ours = np.zeros((2, levels), np.int64)
    prices = np.zeros((2, levels), np.int64)
    while hbt.elapse(cadence) == 0:
        frames += 1
        depth = hbt.depth(0)
        orders = hbt.orders(0)
        count = collect(orders, fills, count)
        hbt.clear_inactive_orders(0)
        position = np.int64(round(hbt.position(0) / depth.lot_size))
        bid, ask = depth.best_bid_tick, depth.best_ask_tick
        if bid <= 0 or ask >= 1 << 60:
            continue
        lean = np.int64(4 * position // most)
        for side in range(2):
            sign = 1 if side == 0 else -1
            first = min(bid, bid - lean) if side == 0 else max(ask, ask - lean)
            allowed = sign * position < most
            for k in range(levels):
                if ours[side, k] and ours[side, k] not in orders:
                    ours[side, k] = 0
                if ours[side, k]:
                    away = sign * (first - prices[side, k])
                    order = orders.get(ours[side, k])
                    if order.cancellable and (not allowed or away < 0 or away >= levels):
                        hbt.cancel(0, ours[side, k], False)
            if not allowed:
                continue
            for step in range(levels):
                wanted = first - sign * step
                free = -1
                taken = False
                for k in range(levels):
                    if ours[side, k] == 0:
                        free = k
                    elif prices[side, k] == wanted:
                        taken = True
                if taken or free < 0:
                    continue
                number += 1
                ours[side, free] = number
                prices[side, free] = wanted
                price = wanted * depth.tick_size
                quantity = size * depth.lot_size
                if side == 0:
                    hbt.submit_buy_order(0, number, price, quantity, GTX, LIMIT, False)
                else:
                    hbt.submit_sell_order(0, number, price, quantity, GTX, LIMIT, False)
    return collect(hbt.orders(0), fills, count), frames


STRATEGIES = {"touch": touch, "grid": grid}


def corrected(events, base_latency):
    """The events after hftbacktest's own corrections of clocks and order."""
    events = correct_local_timestamp(events, base_latency)
    by_exchange = np.argsort(events["exch_ts"], kind="mergesort")
    by_receipt = np.argsort(events["local_ts"], kind="mergesort")
    events = correct_event_order(events, by_exchange, by_receipt)
    validate_event_order(events)
    return events


def built(events, tape, run):
    """A backtest over the events, ready to go."""
    asset = (
        BacktestAsset()
        .data([events])
        .linear_asset(1.0)
        .constant_order_latency(run["entry"], run["response"])
        .no_partial_fill_exchange()
        .trading_value_fee_model(0.0, 0.0)
        .tick_size(tape["tick"])
        .lot_size(tape["lot"])
        .last_trades_capacity(0)
    )
    if run["queue"] == "risk-averse":
        asset = asset.risk_adverse_queue_model()
    elif run["queue"] == "order-by-order":
        asset = asset.l3_fifo_queue_model()
    else:
        asset = asset.power_prob_queue_model(float(run["queue"]))
    if run["depth"] == "roi":
        asset = asset.roi_lb(tape["roi"][0]).roi_ub(tape["roi"][1])
        return ROIVectorMarketDepthBacktest([asset])
    return HashMapMarketDepthBacktest([asset])


def measured(events, tape, run, most_fills):
    """One run: its fills, and what it took. The first repetition compiles and is not counted."""
    fills = np.zeros(most_fills, FILL)
    strategy = STRATEGIES[run["strategy"]]
    seconds, cpu = [], []
    for _ in range(run["repeat"] + 1):
        hbt = built(events, tape, run)
        cpu_began, began = time.process_time(), time.perf_counter()
        count, frames = strategy(hbt, run["cadence"], run["size"], run["most"], fills)
        seconds.append(time.perf_counter() - began)
        cpu.append(time.process_time() - cpu_began)
        hbt.close()
    return fills[:count], {
        "tape": tape["name"],
        "run": run["name"],
        "frames": frames,
        "fills": int(count),
        "seconds": seconds[1:],
        "cpu": cpu[1:],
        "rows": len(events),
        "bytes": events.nbytes,
        "peak": most_memory(),
    }


def main():
    task = job()
    out = sys.stdout
    sys.stdout = sys.stderr  # the corrections print what they do
    for tape in task["tapes"]:
        given = np.load(tape["events"])
        events = np.zeros(len(given), event_dtype)
        for field in given.dtype.names:
            events[field] = given[field]
        events = corrected(events, task["base_latency"])
        for run in task["runs"]:
            sys.stdin.readline()  # our turn
            fills, told = measured(events, tape, run, task["most_fills"])
            np.save(os.path.join(task["out"], f"{tape['name']}-{run['name']}.npy"), fills)
            print(json.dumps(told), file=out, flush=True)


if __name__ == "__main__":
    main()
