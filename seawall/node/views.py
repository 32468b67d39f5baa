"""What a person sees of the node: the page's view, the points of its charts, the summary."""

import math
from collections import deque
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import MILLISECOND, SECOND
from seawall.core.events import Raw, Side
from seawall.core.frames import Regime
from seawall.core.instruments import Kind
from seawall.core.money import text
from seawall.core.orders import Fill
from seawall.core.records import RunStarted
from seawall.execution import OrderEntry
from seawall.node import kernels
from seawall.node.hostile import shown
from seawall.node.naive import NaiveModel
from seawall.node.perception import Perception
from seawall.node.provenance_views import points_of, robust_of, source_of
from seawall.node.summary import Result, Summary
from seawall.storage.recorder import Recorder

if TYPE_CHECKING:
    from seawall.lab.attacks import Attack
    from seawall.node.accounts import AccountDesk
    from seawall.node.action import Action

FILLS = 50  # shown
GAPS = 16  # kept
RATE_S = 5  # seconds over which rates are taken
JUST_NOW = 5 * SECOND


class Run(Protocol):
    """What is shown of a node."""

    started: RunStarted
    perception: Perception
    action: "Action"
    window: "Window"
    recorder: Recorder
    status: str
    feed_name: str
    feed_detail: str
    first_ts: int
    attacks: "list[Attack]"
    naive: NaiveModel | None
    equity_start: float
    frames: int
    rows_before: int

    @property
    def now(self) -> int:
        """Ns UTC of the tape."""
        ...


class Window:
    """Bounded memory of what the page shows and no fold keeps: rates, points, gaps, fills."""

    def __init__(self, perception: Perception) -> None:
        self._sources = [s.name for s in perception.catalog.sources]
        self._rates: deque[tuple[int, NDArray[np.int64]]] = deque(maxlen=64)
        self._points: deque[dict[str, Any]] = deque(maxlen=3600)
        self._point_ts = 0
        self._last = np.zeros(len(self._sources), np.int64)
        self._silences = np.zeros((GAPS, 3), np.int64)
        self.gaps: deque[tuple[str, int, int]] = deque(maxlen=GAPS)
        self.gap_count = 0
        self._gap_ns = perception.market.shape.gap_ns
        self._gating = perception.gating
        self.beliefs: dict[str, Any] | None = None  # of the naive model, as of the last point

    def note(self, rows: Raw) -> None:
        """Count rows by source, find silences of each."""
        counts = np.zeros(len(self._sources), np.int64)
        found = kernels.count_rows(rows, counts, self._last, self._gap_ns, self._silences)
        self._rates.append((int(rows["recv_ts"][-1]), counts))
        if found:
            self.gap_count += found
            kept = len(self._silences)
            for at in range(max(0, found - kept), found):
                source, start, length = self._silences[at % kept].tolist()
                self.gaps.append((self._sources[source], start, length))

    def rates(self, now: int) -> list[float]:
        """Rows per second of each source over the last seconds."""
        recent = [counts for ts, counts in self._rates if now - ts < RATE_S * SECOND]
        if not recent:
            return [0.0] * len(self._sources)
        total: NDArray[np.int64] = np.sum(recent, axis=0)
        return [float(n) / RATE_S for n in total]

    def mark(self, now: int, action: "Action", naive: NaiveModel | None = None) -> None:
        """At a boundary: one point of the charts a second."""
        if now - self._point_ts < SECOND:
            return
        self._point_ts = now
        point = {
            "ts": now // MILLISECOND,
            "equity": action.equity,
            "drawdown": action.drawdown,
            "prices": dict(action.prices.marks),
            **points_of(self._gating),
        }
        if naive is not None:
            self.beliefs = naive.beliefs(self._gating.groups, action.prices.consensus)
            point["naive"] = {name: said["shift"] for name, said in self.beliefs.items()}
            point["naive_prices"] = {name: said["price"] for name, said in self.beliefs.items()}
        self._points.append(point)

    def points(self) -> list[dict[str, Any]]:
        """Points not handed out yet."""
        points = list(self._points)
        self._points.clear()
        return points


def view_of(run: Run, uptime_s: float) -> dict[str, Any]:
    """The page's view; times in ms of the tape, money in the numeraire."""
    now = run.now
    action = run.action
    reasons = action.blocks()
    status = run.status
    if status == "trading" and reasons:
        status = "halted"
    journal = run.recorder.journal
    return {
        "now": now // MILLISECOND,
        "mode": run.started.mode,
        "status": status,
        "reasons": [*reasons, *action.accounts.troubles().values()],
        "feed": {"name": run.feed_name, "detail": run.feed_detail},
        "numeraire": run.started.numeraire,
        "uptime_s": uptime_s,
        "equity": _equity(action, now),
        "positions": _positions(action, now),
        "accounts": [_account(action, desk, now) for desk in action.accounts],
        "orders": [_order(action, entry) for entry in _orders(action)],
        "fills": [_fill(action, fill) for fill in _fills(action)],
        "breakers": [
            {
                "name": s.name + (f" {s.key}" if s.key else ""),
                "scope": s.scope,
                "state": s.state,
                "measure": s.measure,
                "threshold": s.threshold,
                "unit": s.unit,
                "reason": s.reason,
                "since": s.since // MILLISECOND if s.since else None,
                "ts": s.ts // MILLISECOND,
            }
            for s in action.books.breakers.status()
        ],
        "sources": _sources(run, now),
        "gates": [
            {
                "name": report.name,
                "decision": report.decision.name.lower(),
                "detail": report.detail,
                "ts": report.ts // MILLISECOND,
            }
            for report in run.perception.gating.reports.values()
        ],
        "instruments": _instruments(action),
        "robust": robust_of(run.perception.gating, action, run.perception.market.review_ns),
        "hostile": shown(run.attacks, now),
        "naive": run.window.beliefs,
        "journal": {"rows": journal.rows, "hash": journal.head},
    }


def _equity(action: "Action", now: int) -> dict[str, Any]:
    portfolio = action.portfolio
    if portfolio is None:
        names = ("value", "cash", "unrealised", "realised", "fees", "peak", "drawdown", "leverage")
        return {**dict.fromkeys(names), "ts": now // MILLISECOND}
    return {
        "value": portfolio.equity,
        "cash": portfolio.cash,
        "unrealised": portfolio.unrealised,
        "realised": portfolio.realised,
        "fees": portfolio.fees,
        "peak": action.peak,
        "drawdown": action.drawdown,
        "leverage": portfolio.leverage,
        "ts": now // MILLISECOND,
    }


def _account(action: "Action", desk: "AccountDesk", now: int) -> dict[str, Any]:
    """One of them; `state`: halted until somebody has looked, or waiting for its venue."""
    ledger, prices = desk.share.ledger, action.prices
    portfolio = ledger.portfolio(prices.marks, prices.asset_marks)
    halted = action.accounts.halted(desk)
    reason = halted or desk.silence
    decimals = {i.settle_asset: i.settle_decimals for i in prices.catalog.instruments}
    decimals |= {i.base: i.base_decimals for i in prices.catalog.instruments}
    return {
        "name": desk.name,
        "state": "halted" if halted else "waiting" if reason else "trading",
        "reason": reason or None,
        "equity": portfolio.equity,
        "cash": portfolio.cash,
        "unrealised": portfolio.unrealised,
        "realised": portfolio.realised,
        "fees": portfolio.fees,
        "balances": {
            asset: text(units, decimals[asset])
            for asset, units in sorted(ledger.cash.items())
            if units and asset in decimals
        },
        "positions": {
            name: " ".join(quantity(action, name, lots))
            for name, lots in ledger.positions.items()
            if lots
        },
        "orders": len(desk.share.orders.open),
        "compared": desk.compared // MILLISECOND if desk.compared else None,
        "ts": now // MILLISECOND,
    }


def quantity(action: "Action", name: str, lots: int) -> tuple[str, str]:
    """Lots in words: (exact plain decimal, unit)."""
    instrument = action.prices.catalog.by_name[name]
    unit = "contracts" if instrument.kind is Kind.INVERSE else instrument.base
    value = Decimal(instrument.lot) * lots
    return format(value.normalize(), "f"), unit


def _positions(action: "Action", now: int) -> list[dict[str, Any]]:
    rows = []
    for holding in action.portfolio.holdings if action.portfolio else ():
        amount, unit = quantity(action, holding.instrument, holding.lots)
        frame = action.prices.frames.get(holding.instrument)
        rows.append(
            {
                "instrument": holding.instrument,
                "quantity": amount,
                "unit": unit,
                "average_price": holding.average_price,
                "mark": holding.mark,
                "notional": holding.notional,
                "unrealised": holding.unrealised,
                "realised": holding.realised,
                "target": action.targets.get(holding.instrument, 0.0),
                "ts": (int(frame["ts"]) if frame is not None else now) // MILLISECOND,
            }
        )
    return rows


def _orders(action: "Action") -> list[OrderEntry]:
    orders = action.books.orders
    return [*orders.open.values(), *reversed(list(orders.done)[-20:])]


def _fills(action: "Action") -> list[Fill]:
    known = action.prices.catalog.by_name
    return [f for f in reversed(action.books.orders.fills) if f.instrument in known][:FILLS]


def _order(action: "Action", entry: OrderEntry) -> dict[str, Any]:
    order = entry.order
    instrument = action.prices.catalog.by_name.get(order.instrument)
    tick = instrument.tick_float if instrument else math.nan
    return {
        "client_id": order.client_id,
        "instrument": order.instrument,
        "side": order.side.name.lower(),
        "type": order.type,
        "price": None if order.price is None else order.price * tick,
        "quantity": quantity(action, order.instrument, order.size)[0] if instrument else "",
        "filled": quantity(action, order.instrument, entry.filled)[0] if instrument else "",
        "state": entry.state,
        "ts": entry.changed // MILLISECOND,
    }


def _fill(action: "Action", fill: Fill) -> dict[str, Any]:
    instrument = action.prices.catalog.by_name[fill.instrument]
    return {
        "id": fill.fill_id,
        "ts": fill.ts // MILLISECOND,
        "instrument": fill.instrument,
        "side": Side(fill.side).name.lower(),
        "price": fill.price * instrument.tick_float,
        "quantity": quantity(action, fill.instrument, fill.size)[0],
        "fee": text(fill.fee, instrument.settle_decimals),
        "fee_asset": fill.fee_asset,
    }


def _sources(run: Run, now: int) -> list[dict[str, Any]]:
    admission = run.perception.admission
    counts = admission.counts()
    rates = run.window.rates(now)
    verdict = admission.state.verdict
    rows = []
    for i, source in enumerate(run.perception.catalog.sources):
        last = int(admission.state.sources["last_ts"][i])
        counted = counts[source.name]
        mine = verdict["source"] == i
        quiet = now - last > max(JUST_NOW, 2 * source.bar_span)
        rows.append(
            {
                "name": source.name,
                "state": "down" if not last else ("stale" if quiet else "live"),
                "rate": rates[i],
                "admitted": counted["admitted"],
                "refused": sum(n for reason, n in counted.items() if reason != "admitted"),
                "refusals": {r: n for r, n in counted.items() if r != "admitted"},
                "trust": float(verdict["trust"][mine].min()) if mine.any() else 0.0,
                "last": last // MILLISECOND if last else None,
                **source_of(run.perception.gating.sources.get(source.name)),
            }
        )
    return rows


def _instruments(action: "Action") -> list[dict[str, Any]]:
    rows = []
    for name, frame in action.prices.frames.items():
        instrument = action.prices.catalog.by_name[name]
        tick = instrument.tick_float
        rows.append(
            {
                "name": name,
                "group": instrument.consensus_group,
                "bid": int(frame["bid"]) * tick,
                "ask": int(frame["ask"]) * tick,
                "mid": float(frame["mid"]),
                "spread_bps": float(frame["spread_bps"]),
                "volatility": float(frame["volatility"]),
                "regime": Regime(int(frame["regime"])).name,
                "consensus": float(frame["consensus"]) or None,
                "deviation_bps": float(frame["deviation_bps"]),
                "sources": int(frame["votes"]),
                "ts": int(frame["ts"]) // MILLISECOND,
            }
        )
    return rows


def summary_of(run: Run) -> Summary:
    """The end of a run in figures."""
    action = run.action
    intents, orders, fills = action.books.tally.counts
    portfolio = action.portfolio
    refused: dict[str, int] = {}
    for counted in run.perception.admission.counts().values():
        for reason, count in counted.items():
            if reason != "admitted":
                refused[reason] = refused.get(reason, 0) + count
    journal = run.recorder.journal
    held = {
        name: " ".join(quantity(action, name, lots))
        for name, lots in action.books.ledger.positions.items()
        if lots
    }
    return Summary(
        run=run.started.run,
        mode=run.started.mode,
        started=run.first_ts,
        ended=run.perception.last_ts,
        rows=run.perception.rows - run.rows_before,
        frames=run.frames,
        intents=intents,
        orders=orders,
        fills=fills,
        refused=refused,
        equity_start=run.equity_start,
        equity_end=action.equity,
        realised=portfolio.realised if portfolio else math.nan,
        fees=portfolio.fees if portfolio else math.nan,
        max_drawdown=action.max_drawdown,
        numeraire=run.started.numeraire,
        journal_rows=journal.rows,
        journal_hash=journal.head,
        open_orders=tuple(action.books.orders.open),
        breakers=tuple(f"{name}: {n} times" for name, n in action.books.tally.opened.items()),
        notes=tuple(_notes(run)),
        positions=held,
        strategies=_results(action),
    )


def _results(action: "Action") -> dict[str, Result]:
    ledger, prices = action.books.ledger, action.prices
    names = dict.fromkeys([*(each.name for each in action.several), *ledger.strategies])
    if len(names) < 2:
        return {}
    earned = ledger.earned(prices.marks, prices.asset_marks)
    return {
        name: Result(pnl=earned[name].net, fees=earned[name].fees, fills=earned[name].trades)
        if name in earned
        else Result(pnl=0.0, fees=0.0, fills=0)
        for name in names
    }


def _notes(run: Run) -> list[str]:
    """What is worth a line: halts, gaps, clocks, and how the books agreed with the venue's word."""
    notes = [f"not trading: {reason}" for reason in run.action.blocks()]
    notes += [f"not trading in {reason}" for reason in run.action.accounts.troubles().values()]
    notes += [
        f"the stop of {name} is watched here and not at the venue: {why}"
        for (name, _), why in run.action.accounts.watched.items()
    ]
    notes += [
        f"stopped, all of it to be closed: {each.stopped}"
        for each in run.action.several
        if each.stopped
    ]
    window = run.window
    notes += [
        f"gap: {name} was silent for {_span(length)} from {np.datetime64(start, 's')}"
        for name, start, length in ((n, s // SECOND, ns) for n, s, ns in window.gaps)
    ]
    if window.gap_count > len(window.gaps):
        notes.append(f"{window.gap_count - len(window.gaps)} earlier gaps are not listed")
    sources = run.perception.admission.state.sources
    for i, source in enumerate(run.perception.catalog.sources):
        behind = int(sources["envelope"][i])
        if sources["seen"][i] and behind < -250 * MILLISECOND:
            notes.append(
                f"clock: {source.name}'s receive clock is {-behind / SECOND:.2f} s behind the "
                "venue's; ages are measured from its least delay"
            )
    checks = run.perception.market.checks().values()
    total = {key: sum(c[key] for c in checks) for key in ("coincidences", "mismatches")}
    if total["coincidences"]:
        notes.append(
            f"book: top equals the venue's own best bid and ask in "
            f"{total['coincidences'] - total['mismatches']:,} of {total['coincidences']:,} "
            "coincidences of update id"
        )
    crossed = sum(c["crossings"] for c in checks)
    if crossed:
        notes.append(f"book: crossed {crossed} times; each waited for a snapshot")
    return notes


def _span(ns: int) -> str:
    seconds = ns / SECOND
    for unit, size in (("days", 86_400), ("hours", 3_600), ("minutes", 60)):
        if seconds >= size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.1f} s"
