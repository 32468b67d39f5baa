"""The action side at one boundary: answers, breakers, opinions, intents, limits, orders.

Everything that changes state goes through `record`, which journals first; so what this holds can
be rebuilt from the journal, but for opinions and goals, which are formed anew.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seawall.core.consensus import narrowed
from seawall.core.errors import VenueUnreachableError
from seawall.core.frames import FrameFlag, Regime
from seawall.core.instruments import Catalog, Instrument, Kind
from seawall.core.intents import AnyIntent, Approved, Close, Refused, Target
from seawall.core.orders import OrderState
from seawall.core.ports import Venue
from seawall.core.records import (
    Fold,
    Halted,
    IntentApproved,
    IntentDecided,
    IntentRefused,
    OrderAdopted,
    StopOutEnded,
    StrategyStopped,
)
from seawall.decision.agents import Agent, features_of
from seawall.decision.orchestrator import Orchestrator
from seawall.execution import Baskets, Executor, Orders, Protections
from seawall.execution.goals import ACCOUNT
from seawall.execution.parents import Parents
from seawall.gating import Models, Sources
from seawall.ledger import Ledger
from seawall.ledger.portfolio import Portfolio
from seawall.node.foreign import Foreign
from seawall.node.perception import Perceived
from seawall.node.provenance import UpdateLog
from seawall.node.reconciliation import Doubt, adjustments, differences, in_words
from seawall.node.slippage import Watch
from seawall.node.strategy import AtWork, Chosen
from seawall.node.tally import Tally
from seawall.node.together import together
from seawall.risk.breakers import Action as BreakerAction
from seawall.risk.breakers import Breaker, Breakers
from seawall.risk.gauges import Gauges
from seawall.risk.limits import Holding, Limits, Stake, approve, deleverage
from seawall.storage.recorder import Recorder

GOOD, STALE, UNKNOWN = int(FrameFlag.VALID), int(FrameFlag.STALE), int(Regime.UNKNOWN)
_PRICES = ["votes", "mid", "quote_mark", "consensus", "bid", "ask"]
SAID = ["book", "flags", *_PRICES, "regime", "volatility"]  # what is read at each boundary
WIDENING = {int(Regime.HIGH_VOL): 1.5, int(Regime.EXTREME_VOL): 2.5}  # of stops
SILENT = "no frame: the market is silent"
REDUCTION_EXPIRY = 60_000_000_000  # ns
SAID_AGAIN = 3_600_000_000_000  # ns after which the same refusal is journaled again


class Books:
    """The folds of one journal, in the order in which they are applied."""

    def __init__(self, breakers: Mapping[str, Breaker]) -> None:
        self.ledger = Ledger()
        self.orders = Orders()
        self.parents = Parents()
        self.protections = Protections()
        self.baskets = Baskets()
        self.breakers = Breakers(breakers)
        self.tally = Tally()
        self.models = Models()
        self.sources = Sources()
        self.updates = UpdateLog()
        self.foreign = Foreign()

    @property
    def folds(self) -> list[Fold]:
        """All of them."""
        return [
            self.ledger,
            self.orders,
            self.parents,
            self.protections,
            self.baskets,
            self.breakers,
            self.tally,
            self.models,
            self.sources,
            self.updates,
            self.foreign,
        ]

    def entry(self, instrument: str, owner: str) -> float:
        """Average price in ticks of what a strategy, or the account (empty), holds; NaN: flat."""
        book = self.ledger.books(owner or None).get(instrument)
        return self.ledger.ticks(instrument, book) if book else math.nan


class Prices:
    """What perception said last of each instrument: marks, touches and whether it can be traded."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self.primary = {book: name for name, book in catalog.primary.items()}
        self.marks: dict[str, float] = {}
        self.asset_marks: dict[str, float] = {}
        self.touches: dict[str, tuple[int, int]] = {}
        self.trouble: dict[str, str] = dict.fromkeys(catalog.by_name, "no market data yet")
        self.consensus: dict[str, float] = {}
        self.volatility: dict[str, float] = {}
        self.regimes: dict[str, int] = {}
        self.frames: dict[str, NDArray[Any]] = {}  # instrument → its newest frame (a FRAME row)

    def update(self, frames: NDArray[Any]) -> None:
        """Take in the frames of one boundary."""
        seen = set()
        self.volatility.clear()
        for row, said in enumerate(frames[SAID].tolist()):  # plain numbers: an array's cost more
            name = self.primary.get(said[0])
            if name is not None:
                seen.add(name)
                self.frames[name] = frames[row]
                self._take(self.catalog.by_name[name], *said[1:])
        for name in self.trouble:
            if name not in seen:
                self.trouble[name] = SILENT
                self.touches.pop(name, None)
                self._mark_by_others(name, seen)

    def _take(
        self,
        instrument: Instrument,
        flags: int,
        votes: int,
        mid: float,
        quote: float,
        consensus: float,
        bid: int,
        ask: int,
        regime: int,
        volatility: float,
    ) -> None:
        name, group = instrument.name, instrument.consensus_group
        if quote > 0:
            self.asset_marks[instrument.quote] = quote
        else:
            self.asset_marks.pop(instrument.quote, None)
        if votes > 0 and quote > 0:
            self.consensus[group] = consensus
            self.asset_marks[instrument.base] = consensus
            self.marks[name] = consensus / quote
        elif mid > 0:
            self.marks[name] = mid
        if not flags & GOOD:
            stale = flags & STALE
            self.trouble[name] = "the market is stale" if stale else "the book is not valid"
            self.touches.pop(name, None)
            return
        self.trouble[name] = ""
        self.touches[name] = (bid, ask)
        self.regimes[name] = regime
        if regime != UNKNOWN:
            self.volatility[group] = max(self.volatility.get(group, 0.0), volatility)

    def volumes(self, now: int) -> dict[str, float]:
        """Instrument → lots that its market traded within the frame that closed now."""
        return {
            name: float(frame["buy_volume"] + frame["sell_volume"])
            / self.catalog.by_name[name].lot_float
            for name, frame in self.frames.items()
            if int(frame["ts"]) == now
        }

    def _mark_by_others(self, name: str, seen: set[str]) -> None:
        """What a silent market holds is worth what the consensus says, not what it said last."""
        for other in self.catalog.alike[name]:
            frame = self.frames[other] if other in seen else None
            if frame is not None and frame["votes"] > 0 and frame["quote_mark"] > 0:
                self.marks[name] = float(frame["consensus"] / frame["quote_mark"])

    def lot_value(self, instrument: Instrument) -> float:
        """Notional of one lot in the numeraire, NaN where unknown."""
        quote = self.asset_marks.get(instrument.quote, math.nan)
        if instrument.kind is Kind.INVERSE:
            return instrument.lot_float * quote
        return instrument.lot_float * self.marks.get(instrument.name, math.nan) * quote


class Action:
    """Decides and trades at each boundary.

    Args:
        strategy: decides in place of the agents.
        several: strategies that share the account, in place of one.
    """

    def __init__(
        self,
        books: Books,
        prices: Prices,
        agents: Mapping[str, Agent],
        orchestrator: Orchestrator,
        gauges: Gauges,
        limits: Limits,
        executor: Executor,
        venue: Venue,
        recorder: Recorder,
        strategy: Chosen | None = None,
        several: Sequence[AtWork] = (),
        watch: Watch | None = None,
    ) -> None:
        self.books = books
        self.strategy = strategy
        self.several = several
        self._watch = watch
        self.prices = prices
        self.executor = executor
        self.portfolio: Portfolio | None = None
        self.max_drawdown = 0.0
        self.targets: dict[str, float] = {}
        self.model_measures: Mapping[str, Mapping[str, float]] = {}  # breaker → group → measure
        self._agents = agents
        self._states = {name: agent.start() for name, agent in agents.items()}
        self.orchestrator = orchestrator
        self.gauges = gauges
        self.limits = limits
        self.orchestrators = [each.orchestrator for each in several] or [orchestrator]
        self._venue = venue
        self._recorder = recorder
        self._record = recorder.record
        self._aims: dict[tuple[str, str], float] = {}
        self._ground: object = None  # what risk went by at the last boundary
        self._refusals: dict[tuple[str, str], int] = {}
        self.reasons: list[str] = []  # why no new risk was allowed at the last boundary
        self.compare_due = False  # with the venue, at the next boundary with nothing under way
        self.doubt = Doubt()

    def think(
        self, rows: NDArray[Any], told: NDArray[Any]
    ) -> tuple[dict[str, NDArray[Any]], NDArray[np.float64]]:
        """Every agent's opinions on a block of CONSENSUS rows, row for row, and what they come to:
        `Orchestrator.strengths`. A strategy in their place has no opinions, just wishes; several
        have theirs side by side, three columns each.

        Args:
            told: the rows with all features that somebody has named; each is shown its own."""
        if self.several:
            return {}, np.concatenate([each.strengths(told) for each in self.several], axis=1)
        if self.strategy is not None:
            return {}, self.strategy.strengths(told)
        said = {
            name: agent.opine(narrowed(told, features_of(agent)), self._states[name])
            for name, agent in self._agents.items()
        }
        return said, self.orchestrator.strengths(rows, said)

    def act(
        self,
        seen: Perceived,
        opinions: Mapping[str, NDArray[Any]],
        now: int,
        strengths: NDArray[np.float64] | None = None,
    ) -> None:
        """One boundary: its frames and rows, the opinions on the rows and what they come to."""
        with together(self._recorder, self.executor):
            self._act(seen, opinions, now, strengths)

    def _act(
        self,
        seen: Perceived,
        opinions: Mapping[str, NDArray[Any]],
        now: int,
        strengths: NDArray[np.float64] | None,
    ) -> None:
        self.prices.update(seen.frames)
        if self._watch is not None:
            self._watch.look(self.prices.frames, self.prices.touches, now)
        self.executor.listen(now)
        if self.executor.behind or (self.compare_due and self.executor.settled):
            self.reconcile(now)
        self.value()
        self._check_breakers(now)
        self._tell_stopped(now)
        blocks = self.reasons = self.blocks()
        holdings = self.holdings()
        self._look_for_changes(blocks, holdings)
        intents = self._intents(seen.rows, opinions, holdings, now, strengths)
        barred = self._barred(intents, strengths, now) if self.books.protections.barred else []
        asked = [intent for intent in intents if all(intent is not r.intent for r in barred)]
        approved, refused = approve(asked, holdings, self.equity, self.limits, blocks, now)
        refused += barred
        self._journal(intents, approved, refused, now)
        self.executor.aim(approved)
        if self.books.parents.open:
            self.executor.heard(self.prices.volumes(now))
        self.executor.work(self.prices.touches, now, bool(blocks))

    def _tell_stopped(self, now: int) -> None:
        """Journal which strategies have failed."""
        for each in self.several:
            if each.stopped and not each.told:
                each.told = True
                self._record(StrategyStopped(ts=now, strategy=each.name, reason=each.stopped))

    def _look_for_changes(self, blocks: list[str], holdings: Mapping[str, Holding]) -> None:
        """What risk refused may be asked for again where what it goes by has changed."""
        ground = (self.books.tally.counts[2], blocks, [h.reason for h in holdings.values()])
        if ground != self._ground:
            self._ground = ground
            idle = {name for name, holding in holdings.items() if blocks or not holding.tradable}
            for orchestrator in self.orchestrators:
                orchestrator.again(idle)
            for each in self.several:
                if each.ladders is not None:
                    each.ladders.again()

    def look(self, seen: Perceived) -> None:
        """Take in a boundary at which there was nothing to do."""
        self.prices.update(seen.frames)
        self.value()

    def value(self) -> None:
        """Value the account at the newest marks."""
        self.portfolio = self.books.ledger.portfolio(self.prices.marks, self.prices.asset_marks)

    @property
    def equity(self) -> float:
        """Numeraire; NaN where a mark that it needs is missing."""
        return self.portfolio.equity if self.portfolio else math.nan

    @property
    def drawdown(self) -> float:
        """Fall from the peak, as a fraction of it; NaN where unknown."""
        peak = self.peak
        return (peak - self.equity) / peak if peak > 0 else math.nan

    @property
    def peak(self) -> float:
        """Highest equity seen."""
        return self.gauges.peak(self.books.breakers)

    def blocks(self) -> list[str]:
        """Why no new risk may be taken anywhere; empty while trading."""
        reasons = [r for r in (self.books.tally.halted, self.books.foreign.reason) if r]
        if self.executor.unreachable:
            reasons.append(f"the venue does not answer: {self.executor.unreachable}")
        elif self.doubt.what:
            reasons.append(f"{self.doubt.what}; looking again")
        elif self.executor.behind:
            reasons.append("the books have not been compared with the venue yet")
        return reasons + self.books.breakers.blocking("")  # freezes of one asset: see holdings

    def _check_breakers(self, now: int) -> None:
        leverage = self.portfolio.leverage if self.portfolio else math.nan
        measures = self.gauges.read(
            now,
            self.prices.consensus,
            self.prices.volatility,
            self.equity,
            leverage,
            self.books.breakers,
            self._watch.measures(self.model_measures) if self._watch else self.model_measures,
        )
        changes = self.books.breakers.check(measures, now)
        if changes:
            self._record(*changes)
        if math.isfinite(self.drawdown):
            self.max_drawdown = max(self.max_drawdown, self.drawdown)

    def holdings(self) -> dict[str, Holding]:
        """Every instrument as risk sees it."""
        uncertain = {
            entry.order.instrument
            for entry in self.books.orders.open.values()
            if entry.state is OrderState.UNKNOWN
        }
        frozen = {}
        if self.books.breakers.acts(BreakerAction.FREEZE):
            groups = {i.consensus_group for i in self.prices.catalog.instruments}
            frozen = {group: self.books.breakers.blocking(group) for group in sorted(groups)}
        found = {}
        for name, instrument in self.prices.catalog.by_name.items():
            lots = self.books.ledger.position(name)
            buys, sells = self.books.orders.worst(name)
            goal = self.executor.goals.get((name, ACCOUNT))  # approved, and still to be ordered
            aimed = goal.position if goal else lots
            reason = self.prices.trouble[name]
            if name in uncertain:
                reason = "an order's fate is unknown"
            elif not reason and not self.books.ledger.deposits.get(instrument.settle_asset):
                # coins bought on a spot market are a position, not collateral for another one
                reason = f"no {instrument.settle_asset} deposited to settle in"
            elif not reason and frozen.get(instrument.consensus_group):
                reason = frozen[instrument.consensus_group][0]
            found[name] = Holding(
                asset=instrument.consensus_group,
                lots=lots,
                worst_long=max(lots + buys, aimed),
                worst_short=min(lots - sells, aimed),
                mark=self.prices.marks.get(name, math.nan),
                value=self.prices.lot_value(instrument),
                tradable=not reason,
                reason=reason,
                shortable=instrument.kind is not Kind.SPOT,
                widening=WIDENING.get(self.prices.regimes.get(name, UNKNOWN), 1.0),
                stakes={who: Stake(*lots) for who, lots in self.executor.reach(name).items()},
            )
        return found

    def _intents(
        self,
        rows: NDArray[Any],
        opinions: Mapping[str, NDArray[Any]],
        holdings: Mapping[str, Holding],
        now: int,
        strengths: NDArray[np.float64] | None,
    ) -> list[AnyIntent]:
        tape = int(rows["tape"][-1])
        if self.books.breakers.acts(BreakerAction.REDUCE):
            expiry = now + REDUCTION_EXPIRY
            return list(deleverage(holdings, self.equity, self.limits, now, tape, expiry))
        intents: list[AnyIntent] = []
        for place, orchestrator in enumerate(self.orchestrators):
            who = orchestrator.strategy
            own = holdings
            if self.several:
                own = {name: holding.seen_by(who) for name, holding in holdings.items()}
                each = self.several[place]
                if each.ladders is not None and strengths is not None and not each.stopped:
                    said = strengths[:, 3 * place : 3 * place + 3]
                    intents += each.quotes(said, own, self.prices.touches, self.equity, now, tape)
                    continue
            positions = {
                name: holding.lots * holding.value if holding.lots else 0.0
                for name, holding in own.items()
            }
            wanted = strengths
            if self.several and strengths is not None:
                wanted = strengths[:, 3 * place : 3 * place + 3]
            decided = orchestrator.decide(
                rows, opinions, self.equity, positions, self.prices.touches, now, tape, wanted
            )
            intents += [
                intent
                for intent in decided
                if not isinstance(intent, Close) or own[intent.instrument].lots
            ]
        return intents

    def _barred(
        self, intents: list[AnyIntent], strengths: NDArray[np.float64] | None, now: int
    ) -> list[Refused]:
        """What would go back to where a stop has just led out.

        A strategy may, once it has wanted to be flat or on the other side since.
        """
        barred = self.books.protections.barred
        for place, orchestrator in enumerate(self.orchestrators):
            column = 3 * place if self.several else 0
            for name, group in orchestrator.traded:
                who = orchestrator.strategy
                side = barred.get((name, who), 0)
                wish = math.nan if strengths is None else float(strengths[group, column])
                if side and wish * side <= orchestrator.shape.deadband:
                    self._record(StopOutEnded(ts=now, instrument=name, strategy=who))
        return [
            Refused(intent=intent, reason="it was stopped out and has not changed its mind since")
            for intent in intents
            if isinstance(intent, Target)
            and intent.exposure * barred.get((intent.instrument, intent.strategy), 0) > 0.0
        ]

    def _journal(
        self,
        intents: list[AnyIntent],
        approved: list[Approved],
        refused: list[Refused],
        now: int,
    ) -> None:
        """Journal what was decided; a refusal that stands is not told every second."""
        muted = set()
        for refusal in refused:
            key = (_instrument_of(refusal.intent), refusal.reason)
            for orchestrator in self.orchestrators:
                asked = isinstance(refusal.intent, Target | Close)
                if asked and refusal.intent.strategy == orchestrator.strategy:
                    orchestrator.refused(key[0], now + SAID_AGAIN)
            if now - self._refusals.get(key, -SAID_AGAIN) < SAID_AGAIN:
                muted.add(id(refusal.intent))
            else:
                self._refusals[key] = now
        records: list[Any] = [
            IntentDecided(ts=now, intent=i) for i in intents if id(i) not in muted
        ]
        records += [IntentApproved(ts=now, approved=a) for a in approved]
        records += [IntentRefused(ts=now, refused=r) for r in refused if id(r.intent) not in muted]
        for approval in [each for each in approved if each.instrument]:  # a basket names none
            value = self.prices.lot_value(self.prices.catalog.by_name[approval.instrument])
            self._aim_of(approval, approval.position * value)
        if records:
            self._record(*records)

    def _aim_of(self, approval: Approved, exposure: float) -> None:
        """What all strategies together are on their way to hold of the instrument."""
        name = approval.instrument
        if self.several and approval.intent.strategy in self.executor.strategies.names:
            self._aims[name, approval.intent.strategy] = exposure
            exposure = math.fsum(e for (of, _), e in self._aims.items() if of == name)
        self.targets[name] = exposure

    # --- agreement with the venue ---

    def reconcile(self, now: int) -> None:
        """Compare with the venue where no order is in doubt; halt where the two go on differing."""
        if self.executor.unreachable or self.executor.doubtful or now < self.doubt.again:
            return
        try:
            self.executor.sync_fills(now)
            strangers = [
                name for name in self.executor.strangers() if name not in self.books.foreign.orders
            ]
            found = differences(self.books.ledger, self._venue, self.prices.catalog)
            if self.executor.sync_fills(now):
                return  # the account moved while we looked: look again
        except VenueUnreachableError as error:
            self.executor.lost(str(error))
            return
        what = in_words(strangers, found)
        stands = self.doubt.stands(what, now)
        self.compare_due = bool(what) and not stands
        if self.compare_due:
            return
        self.executor.behind = False
        if stands:
            self.halt(what, now)
        else:
            self.books.ledger.conservation()

    def disagreements(self) -> list[str]:
        """Where ledger and venue differ, in words. Raises VenueUnreachableError."""
        return [
            str(one) for one in differences(self.books.ledger, self._venue, self.prices.catalog)
        ]

    def adopt(self, who: str, now: int) -> list[str]:
        """Take the account as the venue has it: journal what differs, and go on from there.

        Positions come first, since they move cash by their own; a second time finds nothing.

        Returns:
            What was adopted, a line each.

        Raises:
            VenueUnreachableError: it does not answer, or something cannot be adopted.
        """
        if self.executor.doubtful:
            raise VenueUnreachableError("an order's fate is unknown; adopt when that is settled")
        self.executor.sync_fills(now)
        adopted = []
        known = {*self.books.orders.open, *self.books.foreign.orders}
        for report in self._venue.account.orders():
            if report.client_id in known:
                continue
            adopted.append(f"order {report.client_id} of {report.instrument}")
            self._record(
                OrderAdopted(
                    ts=now, client_id=report.client_id, instrument=report.instrument, who=who
                )
            )
        for lots in (True, False):
            found = differences(self.books.ledger, self._venue, self.prices.catalog)
            chosen = [one for one in found if one.lots is lots]
            made = adjustments(chosen, self.prices.catalog, self.prices.marks, who, now)
            if made:
                self._record(*made)
            adopted += [f"{one.kind} {one.reason}" for one in made]
        self.halt("", now)
        self.compare_due = True
        return adopted

    def halt(self, reason: str, now: int) -> None:
        """No new risk from here on; empty: trading goes on."""
        if self.books.tally.halted != reason:
            self._record(Halted(ts=now, reason=reason))


def _instrument_of(intent: AnyIntent) -> str:
    return getattr(intent, "instrument", "")
