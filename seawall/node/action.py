"""The action side at one boundary: answers, breakers, opinions, intents, limits, orders.

Everything that changes state goes through `record`, which journals first; so what this holds can
be rebuilt from the journal, but for opinions and goals, which are formed anew.
"""

import math
from collections.abc import Container, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from seawall.core.consensus import narrowed
from seawall.core.frames import Regime
from seawall.core.instruments import Kind
from seawall.core.intents import AnyIntent, Approved, Basket, Close, Refused, Target
from seawall.core.orders import OrderState
from seawall.core.records import (
    Halted,
    IntentApproved,
    IntentDecided,
    IntentRefused,
    StopOutEnded,
    StrategyStopped,
)
from seawall.decision.agents import Agent, features_of
from seawall.decision.orchestrator import Orchestrator
from seawall.execution import Executor
from seawall.execution.goals import ACCOUNT
from seawall.ledger.portfolio import Portfolio
from seawall.node.accounts import AccountDesk, Accounts
from seawall.node.books import Books
from seawall.node.perception import Perceived
from seawall.node.prices import UNKNOWN, Prices
from seawall.node.slippage import Watch
from seawall.node.strategy import AtWork, Chosen
from seawall.node.together import together
from seawall.risk.breakers import Action as BreakerAction
from seawall.risk.gauges import Gauges
from seawall.risk.limits import Holding, Limits, Stake, approve, close_all, deleverage
from seawall.storage.recorder import Recorder

WIDENING = {int(Regime.HIGH_VOL): 1.5, int(Regime.EXTREME_VOL): 2.5}  # of stops
REDUCTION_EXPIRY = 60_000_000_000  # ns
SAID_AGAIN = 3_600_000_000_000  # ns after which the same refusal is journaled again


class Action:
    """Decides and trades at each boundary.

    Args:
        accounts: that are traded in.
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
        accounts: Sequence[AccountDesk],
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
        self.accounts = Accounts(accounts, books, recorder.record, self.halt)
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
        self._recorder = recorder
        self._record = recorder.record
        self._aims: dict[tuple[str, str], float] = {}
        self._ground: object = None  # what risk went by at the last boundary
        self._refusals: dict[tuple[str, str], int] = {}
        self.reasons: list[str] = []  # why no new risk was allowed at the last boundary
        self.troubles: dict[str, str] = {}  # account → why none was allowed in it alone

    def think(
        self, rows: NDArray[Any], told: NDArray[Any]
    ) -> tuple[dict[str, NDArray[Any]], NDArray[np.float64]]:
        """Every agent's opinions on a block of CONSENSUS rows, row for row, and what they come to:
        `Orchestrator.strengths`. A strategy in their place has no opinions, just wishes; several
        have theirs side by side, three columns each. told: the rows with all features that
        somebody has named; each is shown its own."""
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
        with together(self._recorder, self.accounts):
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
        self.accounts.listen(now)
        self.accounts.reconcile_due(now)
        self.accounts.settle(self.prices.touches, now)
        self.value()
        self._check_breakers(now)
        self._tell_stopped(now)
        blocks = self.reasons = self.blocks()
        self.troubles = self.accounts.troubles()
        holdings = self.holdings()
        self._look_for_changes(blocks, holdings)
        intents = self._intents(seen.rows, opinions, holdings, now, strengths)
        barred = self._barred(intents, strengths, now) if self.books.protections.barred else []
        barred += self._divided(intents)
        asked = [intent for intent in intents if all(intent is not r.intent for r in barred)]
        approved, refused = approve(asked, holdings, self.equity, self.limits, blocks, now)
        refused += barred
        self._journal(intents, approved, refused, now)
        self.accounts.aim(approved)
        if self.books.parents.open:
            self.accounts.heard(self.prices.volumes(now))
        self.accounts.work(self.prices.touches, now, self._blocked(blocks))

    @property
    def executor(self) -> Executor:
        """Of the only account, or of the first."""
        return self.accounts.desks[0].executor

    @property
    def compare_due(self) -> bool:
        """With the venue, at the next boundary with nothing under way."""
        return any(desk.compare_due for desk in self.accounts)

    @compare_due.setter
    def compare_due(self, due: bool) -> None:
        for desk in self.accounts:
            desk.compare_due = due

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
        reasons = [self.books.tally.halted]
        if not self.accounts.several:  # else these are of one account: see holdings
            (desk,) = self.accounts
            reasons += [self.books.foreign.reason, desk.silence]
        # freezes of one asset: see holdings
        return [r for r in reasons if r] + self.books.breakers.blocking("")

    def _frozen(self) -> dict[str, str]:
        """Consensus groups in which a breaker lets nothing grow, and why."""
        breakers = self.books.breakers
        if not breakers.restrains(BreakerAction.FREEZE):
            return {}
        groups = sorted({i.consensus_group for i in self.prices.catalog.instruments})
        reasons = {group: breakers.blocking(group) for group in groups}
        return {group: why[0] for group, why in reasons.items() if why}

    def _blocked(self, blocks: list[str]) -> Container[str]:
        """The instruments in which nothing may grow, whatever was approved before."""
        instruments, frozen = self.prices.catalog.by_name, self._frozen()
        return {n for n, one in instruments.items() if blocks or one.consensus_group in frozen}

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
        frozen, found = self._frozen(), {}
        goals, ladders = self.accounts.goals, self.accounts.ladders
        for name, instrument in self.prices.catalog.by_name.items():
            lots = self.books.ledger.position(name)
            buys, sells = self.books.orders.worst(name)
            goal = goals.get((name, ACCOUNT))  # approved, and still to be ordered
            aimed = goal.position if goal else lots
            ladder = ladders.get((name, ACCOUNT))
            high, low = (ladder.high, ladder.low) if ladder else (aimed, aimed)
            reason, share = self.prices.trouble[name], self.books.share_of(name)
            if name in uncertain:
                reason = "an order's fate is unknown"
            elif share is None:
                reason = reason or "it belongs to no account"
            elif not reason and self.books.account_of(name) in self.troubles:
                reason = self.troubles[self.books.account_of(name)]
            elif not reason and not share.ledger.deposits.get(instrument.settle_asset):
                # coins bought on a spot market are a position, not collateral for another one
                reason = f"no {instrument.settle_asset} deposited to settle in"
            elif not reason:
                reason = frozen.get(instrument.consensus_group, "")
            found[name] = Holding(
                asset=instrument.consensus_group,
                lots=lots,
                worst_long=max(lots + buys, high),
                worst_short=min(lots - sells, low),
                mark=self.prices.marks.get(name, math.nan),
                value=self.prices.lot_value(instrument),
                tradable=not reason,
                reason=reason,
                shortable=instrument.kind is not Kind.SPOT,
                widening=WIDENING.get(self.prices.regimes.get(name, UNKNOWN), 1.0),
                stakes={who: Stake(*lots) for who, lots in self.accounts.reach(name).items()},
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
        expiry = now + REDUCTION_EXPIRY
        if self.books.breakers.acts(BreakerAction.CLOSE):
            closing = {n for n, goal in self.accounts.goals.items() if goal.position == 0}
            left = {n: h for n, h in holdings.items() if (n, ACCOUNT) not in closing}
            return [*close_all(left, now, tape, expiry, "emergency close")]
        if self.books.breakers.acts(BreakerAction.REDUCE):
            return [*deleverage(holdings, self.equity, self.limits, now, tape, expiry)]
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

    def _divided(self, intents: list[AnyIntent]) -> list[Refused]:
        """Baskets whose legs are traded in different accounts: nobody could undo them together."""
        if not self.accounts.several:
            return []
        return [
            Refused(intent=intent, reason="its legs are traded in different accounts")
            for intent in intents
            if isinstance(intent, Basket) and len(self.books.accounts_of(intent)) > 1
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
        """See Accounts."""
        self.accounts.reconcile(now)

    def disagreements(self) -> list[str]:
        """See Accounts."""
        return self.accounts.disagreements()

    def adopt(self, who: str, now: int, account: str = "") -> list[str]:
        """See Accounts."""
        return self.accounts.adopt(who, now, self.prices.marks, account)

    def halt(self, reason: str, now: int, account: str = "") -> None:
        """No new risk from here on, or none in one account of several; empty: trading goes on."""
        tally = self.books.tally
        standing = tally.halts.get(account, "") if account else tally.halted
        if standing != reason:
            self._record(Halted(ts=now, reason=reason, account=account))


def _instrument_of(intent: AnyIntent) -> str:
    return getattr(intent, "instrument", "")
