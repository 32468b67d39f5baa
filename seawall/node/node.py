"""The node: the one path from feed to venue, on one thread, the same live, on paper, in a backtest.

Only its ports differ. Time on the path is the tape's: a quiet market is told by TICK rows, which
are on the tape too.
"""

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import HOUR, MINUTE, SECOND, Clock, TapeClock
from seawall.core.collecting import collected_later
from seawall.core.errors import InvariantError
from seawall.core.events import EventKind, Raw, empty
from seawall.core.intents import Approved
from seawall.core.ports import Commands, Feed, Publisher, Venue
from seawall.core.records import (
    Digest,
    RunStarted,
    RunStopped,
    RunStopping,
)
from seawall.ingestion.tape import TapeWriter
from seawall.lab.attacks import Attack
from seawall.node.action import Action
from seawall.node.busy import Busy
from seawall.node.genuine import Genuine
from seawall.node.heartbeat import Heartbeat
from seawall.node.naive import NaiveModel
from seawall.node.operator import Operator
from seawall.node.perception import FramesHash, Perceived, Perception, boundary_of, edges_of
from seawall.node.provenance import Reviewed, long_lists
from seawall.node.provenance_views import model_measures
from seawall.node.quiet import Quiet
from seawall.node.summary import Summary
from seawall.node.views import Window, summary_of, view_of
from seawall.risk.limits import approve, close_all
from seawall.storage.recorder import Recorder

DIGEST_FRAMES = 64  # at least so many boundaries between two digests, at least 60 s
DIGEST_BARS = 24 * HOUR  # and at least so long where the frames are bars
VIEW_S = 0.5  # seconds of real time between two views
WAIT_S = 0.1  # longest wait for rows; then a TICK says that time has passed
WARM_ROWS = 1 << 16  # of the past at a time
AT_START = "command line"  # who releases breakers at a start
DRAIN = 10 * SECOND  # how long a stopping node waits for its orders


@dataclass(slots=True)
class Ports:
    """Everything that reaches outside.

    Attributes:
        venue: of the only account; of several, the first one's.
        now: the clock that the node moves along the tape; all decisions are stamped with it.
        clock: real time, for TICK rows where the feed is silent; None where the tape is a recorded
            one, whose time is not ours to pass.
    """

    feed: Feed
    venue: Venue
    recorder: Recorder
    publisher: Publisher
    now: TapeClock
    clock: Clock | None = None
    tape: TapeWriter | None = None
    commands: Commands | None = None


class Node:
    """Runs until its feed ends or `stop` is called.

    Args:
        started: the record that opens the run; its `ts` is set when the first row comes.
        deposits: account → cash to be booked where it is new in the journal.
        feed_detail: why this feed, for the page.
        strict: a defect ends the run instead of halting it (backtests).
        say: tells the user when trading stops and goes on.
        releases: breakers that the operator releases at the start.
        watch: shown each boundary after it was acted on (measurements; it must change nothing).
        attacks: what the feed's hostile source does. naive: shown beside ours.
        eager: act at every boundary, for those who look on; else only where something may be due,
            which gives the same journal.
    """

    def __init__(
        self,
        ports: Ports,
        perception: Perception,
        action: Action,
        started: RunStarted,
        deposits: Mapping[str, Mapping[str, int]],
        feed_name: str = "replay",
        feed_detail: str = "",
        progress: Callable[[int], None] | None = None,
        strict: bool = False,
        say: Callable[[str], None] | None = None,
        releases: Sequence[str] = (),
        watch: "Callable[[Node, Perceived], None] | None" = None,
        attacks: Sequence[Attack] = (),
        naive: NaiveModel | None = None,
        eager: bool = True,
    ) -> None:
        self.ports = ports
        self.recorder = ports.recorder
        self.perception = perception
        self.action = action
        self.started = started
        self.feed_name = feed_name
        self.feed_detail = feed_detail
        self.attacks = list(attacks)
        self.naive = naive
        self.window = Window(perception)
        self.reviewed = Reviewed()
        self._genuine = Genuine(perception.catalog)
        self.status = "recovering"
        self.first_ts = 0
        self.equity_start = float("nan")
        self.frames = 0
        self._deposits = deposits
        self._progress = progress
        self._strict = strict
        self._say = say
        self._said: str | None = None  # why nothing is traded, as the user was last told
        self._releases = releases
        self._operator = Operator(perception, action, ports.recorder, say)
        self._watch = watch
        self._eager = eager or watch is not None
        self._quiet = Quiet(action, perception.catalog)
        self._busy = Busy(action, self._quiet, perception.catalog, ports.venue, ports.recorder)
        self._heart = Heartbeat(action, perception.cadence_ns)
        self._unseen: Perceived | None = None  # the last boundary, where nothing was to be done
        self.rows_before = 0  # rows of the tape from before this run
        self._hash = FramesHash()  # of what has been dealt with
        perception.hash = None
        self._digest_every = MINUTE if perception.cadence_ns < MINUTE else DIGEST_BARS
        self._digest_ts = 0
        self._digest_frames = 0
        self._boundaries = 0
        self._stop = threading.Event()
        self._stop_reason = "the feed has ended"
        self._flatten = False
        self._published = 0.0
        self._began = time.monotonic()
        self._lists_due = True
        self._measured = model_measures(perception.gating)

    @property
    def now(self) -> int:
        """Ns UTC, where the tape stands."""
        return self.ports.now.now()

    @property
    def frames_hash(self) -> str:
        """Digits of all frames and rows that have been dealt with."""
        return self._hash.digits()

    def stop(self, reason: str, flatten: bool = False) -> None:
        """Ask the node to stop in order; from any thread."""
        self._stop_reason = reason
        self._flatten = self._flatten or flatten
        self._stop.set()

    def run(self) -> Summary:
        """Trade until stopped; then cancel, reconcile and say what it came to."""
        self.rows_before = self.perception.rows
        try:
            while not self._stop.is_set():
                rows = self.ports.feed.read(WAIT_S)
                if rows is None:
                    break
                rows = rows if len(rows) else self._tick()
                if len(rows):
                    self.take(rows)
            self._close_down()
        finally:
            self.ports.feed.close()
            if self.ports.tape is not None:
                self.ports.tape.close()
        return self.summary()

    # --- the path ---

    def take(self, rows: Raw) -> None:
        """Rows into the tape, perception, the simulated venue and, at each boundary, action."""
        if self.ports.tape is not None:
            rows = self.ports.tape.append(rows)
        if not self.first_ts:
            self._begin(int(rows["recv_ts"][0]))
        with collected_later():
            self._pass(rows)
        self.window.note(rows)
        self._publish()
        if self._progress is not None:
            self._progress(self.perception.rows)

    def _pass(self, rows: Raw) -> None:
        """Rows as recorded, on to the orders that they lead to."""
        self._command()
        if self.naive is not None:
            self.naive.observe(rows)
        at, genuine = 0, self._genuine.of(rows)
        self._heart.look(rows["recv_ts"], self.perception.last_ts)
        for seen in self.perception.spans(rows):
            self._journal_gates()
            if len(seen.frames):
                at = self._through(seen, genuine, at)
            at = self._beat(self.perception.passed, genuine, at)
        self._journal_gates()
        at = self._beat(self.perception.passed, genuine, at)
        self._observe(Raw(genuine[at:]), int(rows["recv_ts"][-1]))

    def _through(self, seen: Perceived, rows: Raw, at: int) -> int:
        """A block of boundaries; the venue has lived up to row `at`. Returns up to which it has."""
        edges = edges_of(seen)
        times = seen.frames["ts"][edges[:-1]]
        boundary, groups = 0, len(seen.rows) // (len(edges) - 1)
        past = self._heart.unbroken(times, boundary)
        at = self._beat(int(times[0]) - 1, rows, at)
        if self._eager:  # a venue of its own process lives on and answers while we think
            at = self._live_to(int(times[0]), rows, at)
        opinions, strengths = self._think(seen)
        self.action.model_measures = self._measures()
        while boundary < len(edges) - 1:
            if boundary >= past:
                past = self._heart.unbroken(times, boundary)
                at = self._beat(int(times[boundary]) - 1, rows, at)
            if not self._eager:
                left = DIGEST_FRAMES - 1 - (self._boundaries - self._digest_frames)
                digest = (self._digest_ts, self._digest_every, left)
                reached, at = self._busy.go_through(
                    seen.frames,
                    edges[: past + 1],
                    strengths[: past * groups],
                    opinions,
                    boundary,
                    digest,
                    rows,
                    at,
                )
                if reached == boundary:
                    reached = self._quiet.pass_over(
                        seen.frames, edges[: past + 1], strengths, groups, boundary, digest
                    )
                if reached > boundary:
                    self._count(seen, edges, boundary, reached)
                    self._unseen = boundary_of(seen, edges, reached - 1)[0]
                    self.action.prices.update(self._unseen.frames)
                    boundary = reached
                    continue
            one, part = boundary_of(seen, edges, boundary)
            now = int(one.frames["ts"][0])
            if boundary or not self._eager:
                at = self._live_to(now, rows, at)
            self._count(seen, edges, boundary, boundary + 1)
            said = {name: opinion[part] for name, opinion in opinions.items()}
            self._act(one, said, now, strengths[part])
            boundary += 1
        return at

    def _beat(self, until: int, rows: Raw, at: int) -> int:
        """Beats up to `until`; the row up to which the venue has lived, before (`at`) and after."""
        for now in self._heart.due(until):
            at = self._live_to(now, rows, at)
            try:
                self._heart.beat(now)
            except Exception as error:  # noqa: BLE001  as at a boundary
                self._halt(error, now)
            self._tell()
        return at

    def _live_to(self, now: int, rows: Raw, at: int) -> int:
        """Let the venue live from row `at` to `now`; the row up to which it has."""
        to = int(np.searchsorted(rows["recv_ts"], now, side="right"))
        rebuilt = self._observe(Raw(rows[at:to]), now)
        return len(rows) if rebuilt else max(at, to)

    def _count(self, seen: Perceived, edges: NDArray[np.int64], first: int, past: int) -> None:
        """Boundaries that have been dealt with."""
        self.frames += int(edges[past] - edges[first])
        self._boundaries += past - first
        groups = len(seen.rows) // (len(edges) - 1)
        self._heart.acted(int(seen.frames["ts"][edges[past] - 1]))
        rows = seen.rows[first * groups : past * groups]
        self._hash.add(seen.frames[edges[first] : edges[past]], rows)

    def warm(self, rows: Raw) -> None:
        """Rows from before the run: perception and the agents learn from them, nothing is decided.

        They go on the tape like all others.
        """
        for first in range(0, len(rows), WARM_ROWS):
            part = Raw(rows[first : first + WARM_ROWS])
            if self.ports.tape is not None:
                part = self.ports.tape.append(part)
            if self.naive is not None:
                self.naive.observe(part)
            for seen in self.perception.observe(part):
                self.action.think(seen.rows, seen.told)
            self.window.note(part)

    def _begin(self, ts: int) -> None:
        """The first row: the run starts at its time."""
        self.first_ts = ts
        self.ports.now.wait(ts)
        self._heart.acted(ts)
        books, accounts = self.action.books, self.action.accounts
        self.ports.recorder.record(  # at once: a run without its deposits must not be found later
            _at(self.started, ts), *accounts.opening(self._deposits, ts)
        )
        past = self.perception.market.snapshot(ts)
        if len(past):  # from `warm`; the venue has not seen it
            self._observe(Raw(past), ts)
        if books.tally.halted:
            self.action.halt("", ts)  # what halted the last run is checked again from here on
        for account in list(books.tally.halts):
            self.action.halt("", ts, account)
        for name in self._releases:
            self._operator.release(name, AT_START, ts)
        try:
            accounts.recover(ts)
            self.action.reconcile(ts)
        except InvariantError as error:
            self._halt(error, ts)

    def _observe(self, rows: Raw, now: int) -> bool:
        """Let the simulated venues live to `now`; the node's own time moves with them.

        Returns:
            Whether the only one was given whole books because it had lost its own; they hold
            everything that perception has taken in.
        """
        self.ports.now.wait(now)
        last, snapshot = self.perception.last_ts, self.perception.market.snapshot
        return self.action.accounts.observe(self._genuine.of(rows), now, last, snapshot)

    def _command(self) -> None:
        """What the operator has asked for since the last rows, at this place in time."""
        commands = self.ports.commands.poll() if self.ports.commands is not None else []
        for command in commands:
            self._journal_gates()
            self._lists_due |= self._operator.obey(command, self.now)

    def _think(self, seen: Perceived) -> tuple[dict[str, NDArray[Any]], NDArray[np.float64]]:
        """The opinions and what they come to; nothing where one of them fails, which halts."""
        try:
            return self.action.think(seen.rows, seen.told)
        except Exception as error:  # noqa: BLE001  a defect here must stop the risk, not the watch
            self._halt(error, int(seen.frames["ts"][0]))
            return {}, np.full((len(seen.rows), 3 * len(self.action.orchestrators)), np.nan)

    def _journal_gates(self) -> None:
        """What the gates have decided since the last time."""
        records = self.perception.gating.records
        if records and self.first_ts:
            self.recorder.record(*records)
            records.clear()
            self._lists_due = True

    def _halt(self, error: Exception, now: int) -> None:
        if self._strict:
            raise error
        self.action.halt(f"{type(error).__name__}: {error}", now)

    def _act(
        self,
        seen: Perceived,
        opinions: dict[str, NDArray[Any]],
        now: int,
        strengths: NDArray[np.float64],
    ) -> None:
        self._unseen = None
        try:
            self.action.act(seen, opinions, now, strengths)
        except Exception as error:  # noqa: BLE001  a defect here must stop the risk, not the watch
            self._halt(error, now)
        if self.status != "stopping":
            self.status = "recovering" if self.action.accounts.behind else "trading"
        self._tell()
        if math.isnan(self.equity_start):
            self.equity_start = self.action.equity
        self.window.mark(now, self.action, self.naive)
        if self._watch is not None:
            self._watch(self, seen)
        due = now - self._digest_ts >= self._digest_every
        if due and self._boundaries - self._digest_frames >= DIGEST_FRAMES:
            self._digest(seen.frames, now)

    def _measures(self) -> dict[str, dict[str, float]]:
        """What the breakers of the models see: figures of the last review."""
        gating = self.perception.gating
        if self.reviewed.note(gating.groups, gating.reviewed):
            self._measured = model_measures(gating)
        return self._measured

    def _tell(self) -> None:
        """One line where trading begins, where it stops, and where it goes on."""
        reason = next(iter(self.action.reasons), "")
        known = reason or self._said is not None or self.status == "trading"
        if self._say is not None and reason != self._said and known:
            again = "trading again" if self._said else "trading"
            self._say(f"not trading: {reason}" if reason else again)
            self._said = reason
        if self._say is not None:
            self.action.accounts.tell(self.action.troubles, self._say)

    def _digest(self, frames: NDArray[Any], now: int) -> None:
        """Every minute (64 boundaries; of bars a day): where perception stands, and a comparison
        with the venue is due."""
        self._digest_ts, self._digest_frames = now, self._boundaries
        self.ports.recorder.record(
            Digest(
                ts=now,
                tape=int(frames["tape"][-1]),
                frames=self.frames_hash,
                marks=dict(sorted(self.action.prices.marks.items())),
                equity=self.action.equity,
                peak=self.action.peak,
            )
        )
        self.action.compare_due = True

    def _tick(self) -> Raw:
        """Nothing came: a row that says so, at the clock's time."""
        if self.ports.clock is None:
            return Raw(empty(0))
        rows = empty(1)
        rows["kind"] = EventKind.TICK
        rows["recv_ts"] = max(self.perception.last_ts, self.ports.clock.now())
        return Raw(rows)

    # --- the end ---

    def _close_down(self) -> None:
        """Cancel what adds risk, flatten if asked, wait for the answers, say what stays."""
        self.status = "stopping"
        now = self.ports.now.now()
        if self.first_ts:
            for seen in self.perception.flush():  # the last boundary is traded before the stop
                self._through(seen, Raw(empty(0)), 0)
            self.recorder.record(
                RunStopping(ts=now, reason=self._stop_reason, flatten=self._flatten)
            )
            if self._unseen is not None:
                self.action.look(self._unseen)
            self.action.accounts.abandon()
            self.action.accounts.cancel_risk(now)
            if self._flatten:
                self._close_positions(now)
            try:
                self._drain(now + DRAIN)
            except InvariantError as error:
                self._halt(error, self.ports.now.now())
            now = self.ports.now.now()
            self.action.reconcile(now)
            stays = tuple(self.action.books.orders.open)
            self.ports.recorder.record(
                RunStopped(ts=now, reason=self._stop_reason, open_orders=stays)
            )
        self._publish(force=True)

    def _close_positions(self, now: int) -> None:
        holdings, why = self.action.holdings(), "stopped with --flatten"
        intents = close_all(holdings, now, self.perception.rows, now + DRAIN, why, "operator")
        approved: list[Approved]
        approved, _ = approve(intents, holdings, self.action.equity, self.action.limits, [], now)
        self.action.accounts.aim(approved)

    def _drain(self, until: int) -> None:
        """Let the venue answer: time goes on, nothing new is decided."""
        accounts = self.action.accounts
        while self.ports.now.now() < until:
            now = self.ports.now.now()
            accounts.listen(now)
            accounts.reconcile_behind(now)
            accounts.cancel_risk(now)  # also what was still on its way before
            accounts.work(self.action.prices.touches, now, self.perception.catalog.by_name)
            if accounts.settled:
                break
            rows = self.ports.feed.read(WAIT_S)
            if rows is None:
                step = Raw(empty(0))
                self._observe(step, now + SECOND // 10)
                continue
            rows = rows if len(rows) else self._tick()
            if not len(rows):
                continue
            if self.ports.tape is not None:
                rows = self.ports.tape.append(rows)
            for _ in self.perception.observe(rows):
                pass
            self._observe(rows, int(rows["recv_ts"][-1]))

    def _publish(self, force: bool = False) -> None:
        real = time.monotonic()
        if not force and real - self._published < VIEW_S:
            return
        self._published = real
        self.ports.publisher.publish("view", view_of(self, real - self._began))
        for point in self.window.points():
            self.ports.publisher.publish("point", point)
        if self._lists_due or force:
            self._lists_due = False
            lists = long_lists(self.action.books.updates, self.reviewed, self.now)
            self.ports.publisher.publish("provenance", lists)

    def summary(self) -> Summary:
        """What it came to so far."""
        return summary_of(self)


def _at(record: RunStarted, ts: int) -> RunStarted:
    return msgspec.structs.replace(record, ts=ts)
