"""One consensus group under review: its reference, its model, what it may learn, its
certificate.
"""

import math
from collections.abc import Collection
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import HOUR, MINUTE
from seawall.core.consensus import FEATURES, LEVEL, WIDTH
from seawall.core.records import AnyRecord, ModelRolledBack, ModelUpdated, ReferenceMade
from seawall.core.verdicts import GateDecision
from seawall.estimation.scatter_kernels import warm_mrcd
from seawall.gating import certificate as certificates
from seawall.gating import figures, golden, market
from seawall.gating import reference as references
from seawall.gating.certificate import Bound, Certificate
from seawall.gating.corridor import Bounded, corridor
from seawall.gating.figures import Figures, Review
from seawall.gating.model import DAY, Model, Models, Past, Shelf, matrix, plain, start, vector
from seawall.gating.reference import LEAST_ROWS, LOOK, Reference, Rule
from seawall.gating.relearning import Step, Steps
from seawall.gating.residuals import Residuals

Array = NDArray[np.float64]
COOLDOWN = 10 * MINUTE  # of anchor_anomaly and kl_divergence (S0)
MARKET_WIDE = 0.5  # corroboration from which a move is the market's
ANCHOR_LEVEL = 1e-4  # of the exact binomial test
DRIFT_ROWS = 256  # of the whole window are enough to show a drift
LEAST_WINDOW = 120  # rows of the window, after a restart, before anything is learned of it
SHORT = 0.2  # share of rows with too few sources beyond which nothing is learned


class GroupShape(msgspec.Struct, frozen=True, kw_only=True):
    """How a model learns.

    Attributes:
        window: rows of the sample.
        rate: share of the way to the sample's location that one update goes (S0: at most 0.05).
        walk_hour, walk_day: how far the reference may follow, reference standard deviations.
        shape_hours: half-life with which the reference's covariance follows the market's.
        explain: tell for each update how much each source moved it.
        concentration: normalised Herfindahl index of the sources' votes that freezes.
        toxicity: VPIN that skips learning. divergence: KL of the window, nats,
            that opens a breaker, if it is also twice the gate's own limit.
    """

    rule: Rule = Rule()
    window: int = 1000
    rate: float = 0.05
    walk_hour: float = 0.02
    walk_day: float = 0.25
    shape_hours: float = 12.0
    explain: bool = True
    concentration: float = 0.15
    toxicity: float = 0.75
    divergence: float = 0.2


class _Look(NamedTuple):
    """What a review sees before it decides anything."""

    member: NDArray[np.uint8]
    window: Bounded
    rows: Array
    short: float
    verdict: market.MarketVerdict
    corroboration: float


class Group:
    """A group's reference, model and certificate.

    Args:
        trusted: its golden reference; without one the first LEAST_ROWS rows of three or more
        sources
            make a provisional one.
    """

    def __init__(
        self,
        name: str,
        sources: tuple[str, ...],
        shape: GroupShape,
        trusted: Reference | None,
        seed: int,
    ) -> None:
        self.name = name
        self.sources = sources
        self.shape = shape
        self.reference: Reference | None = None
        self.model: Model | None = None
        self.shelf = Shelf()
        self.steps = Steps()
        self.bound = Bound(np.zeros(WIDTH))
        self.residuals: Residuals | None = None
        self.figures = Figures()
        self.certificate: Certificate | None = None
        self.decision = GateDecision.FREEZE
        self.reason = "no reference yet"
        if not self.comparable:
            self.reason = "fewer than three sources: learning is off"
        self.outcome = "waiting"  # of the last review, in the words of `counts`
        self.counts = dict.fromkeys(("learned", "frozen", "rejected", "held"), 0)
        self.rolled_back = 0
        self.taught = 0  # ns UTC up to which the model came from the journal
        self._learned: frozenset[int] = frozenset()  # reviews of before then
        self._seed = seed
        self._held_until = 0
        self._held_for = ""
        if trusted is not None:
            self._adopt(trusted)

    @property
    def comparable(self) -> bool:
        """Whether there are enough sources for a review; with fewer learning is off."""
        return len(self.sources) >= 3

    @property
    def based_on(self) -> tuple[object, ...]:
        """What `raw_mean`, `raw_bound` and `decision` go by; each is replaced where it changes."""
        return self.model, self.reference, self.certificate, self.bound.axes, self.decision

    @property
    def needed(self) -> int:
        """Sources that a certificate takes."""
        return 4 * self.shape.rule.faulty + 1

    def raw_mean(self) -> Array:
        """(WIDTH,) model's mean in the features' own units; zeros where there is none."""
        if self.model is None or self.reference is None:
            return np.zeros(WIDTH)
        return self.reference.centre + self.reference.scale * vector(self.model.mean)

    def raw_bound(self) -> Array:
        """(WIDTH,) how far an attacker can have moved it; infinite where nothing is certified."""
        if self.reference is None or self.certificate is None:
            return np.full(WIDTH, math.inf)
        if self.certificate.standing is certificates.Standing.NONE:
            return np.full(WIDTH, math.inf)
        return self.reference.scale * self.bound.axes

    def scores(
        self, panel: Array, member: NDArray[np.uint8], judged: NDArray[np.uint8]
    ) -> list[tuple[float, str]]:
        """Each source's largest test statistic over its limit, and in words which one.

        The last LOOK rows show what is going on; the whole window shows a slow drift.
        """
        reference = self._known()
        usual = self.residuals.usual if self.residuals else reference.usual
        noise = reference.noise
        known = (usual, noise, reference.spread, reference.weight, member)
        now = references.compare(panel[-LOOK:], member, judged, usual, noise)
        tests = references.scores(now, *known)
        if len(panel) >= 2 * LOOK:
            thin = np.ascontiguousarray(panel[:: max(1, len(panel) // DRIFT_ROWS)])
            whole = references.compare(thin, member, judged, usual, noise)
            tests["drift"] = references.scores(whole, *known)["location"]
        young = references.youth(reference.rows / LOOK)
        results = [(0.0, "")] * len(self.sources)
        for name, values in tests.items():
            limit = young * reference.judged[name]
            ratios = values / limit
            for slot, at in enumerate(ratios.argmax(axis=1).tolist()):
                if ratios[slot, at] > results[slot][0]:
                    what = "price" if name == "level" else FEATURES[at]
                    words = f"{name} of {what} {values[slot, at]:.3g} over {limit:.3g}"
                    results[slot] = (float(ratios[slot, at]), words)
        return results

    def learn_residuals(
        self, panel: Array, ts: NDArray[np.int64], member: NDArray[np.uint8], trust: Array
    ) -> None:
        """New rows (scaled) into what is usual for each source; it walks as the reference may."""
        if self.residuals is None:
            return
        minutes = len(ts) and (ts[-1] - ts[0]) / MINUTE
        walk = self.shape.walk_hour * min(float(minutes), 60.0) / 60.0
        self.residuals.learn(panel, ts, member, trust, walk)

    # --- a review ---

    def review(self, seen: Review, enforce: bool) -> list[AnyRecord]:
        """Judge the window and learn from it, or not; the records that say so."""
        made: list[AnyRecord] = []
        if self.reference is None:
            if not self._found(seen):
                return []
            made = [self._made(seen.now)]
        if len(seen.panel) < LEAST_WINDOW:
            self.reason = f"the window has {len(seen.panel)} of {LEAST_WINDOW} rows"
            return made
        member, window, rows, short, verdict, corroboration = self._look(seen, enforce)
        records = made + (self._after_accusation(seen, member, corroboration) if enforce else [])
        model = self._model()
        decision, reason = self._decide(seen, verdict, short)
        learned = decision == "learned"
        alike = verdict.alike and not seen.accused and decision != "held"
        step = np.abs(window.mean - vector(model.mean))
        self.bound.advance(self.shape.rate, window.mean, window.reach, step, learned, alike)
        self.model = self._next(seen, model, window, rows, learned)
        if learned:
            self.steps.keep(self._step(seen, member, window.mean))
        inside = self._inside(seen.now)
        self.bound.hold(vector(self.model.mean), inside)
        self.model = self._bounded(self.model)
        self.counts[decision] += 1
        self.decision, self.reason, self.outcome = _gate(decision), reason, decision
        self._measure(seen, verdict, window, corroboration, rows)
        self._certify(seen, window, float(np.linalg.norm(inside)))
        records.append(
            ModelUpdated(
                ts=seen.now,
                group=self.name,
                decision=decision,
                reason=reason,
                rows=len(seen.panel),
                shift=self.figures.shift,
                corroboration=corroboration,
                influence=self._influences(seen, member, window.mean),
                model=self.model.encoded(),
                reference=self._known().name,
                certificate=msgspec.msgpack.encode(self.certificate),
            )
        )
        self.shelf.keep(self.model)
        if enforce:
            self._breakers(seen.now)
        return records

    def remember(self, seen: Review, enforce: bool) -> None:
        """A review that the journal has had: what it measured, without what it did."""
        if self.reference is None or len(seen.panel) < LEAST_WINDOW:
            return
        look = self._look(seen, enforce)
        if seen.now in self._learned:
            self.steps.keep(self._step(seen, look.member, look.window.mean))
        self._measure(seen, look.verdict, look.window, look.corroboration, look.rows)
        if enforce:
            self._breakers(seen.now)

    def _look(self, seen: Review, enforce: bool) -> _Look:
        reference, model = self._known(), self._model()
        member = seen.member if enforce else np.ones(len(self.sources), np.uint8)
        window, rows, short = figures.summarised(seen, member, reference)
        anchor = Bounded(
            mean=vector(model.anchor),
            reach=vector(model.anchor_bound),
            covariance=matrix(model.scatter),
            bound=matrix(model.scatter_bound),
        )
        width = int(reference.active.sum())
        limits = reference.limits.at(len(seen.panel), reference.rows, width)
        verdict = market.judge(window, anchor, limits, reference.active, reference.ridge)
        share = figures.corroboration(seen, reference, window.mean, anchor.mean)
        return _Look(member, window, rows, short, verdict, share)

    def _known(self) -> Reference:
        assert self.reference is not None  # review and scores ask only where there is one
        return self.reference

    def _model(self) -> Model:
        assert self.model is not None
        return self.model

    def _found(self, seen: Review) -> bool:
        """Make a provisional reference of the window, if it is long and wide enough."""
        live = np.isfinite(seen.panel[:, :, LEVEL]).sum(axis=1)
        if len(seen.panel) < LEAST_ROWS or float((live >= 3).mean()) < 1.0 - SHORT:
            self.reason = f"waiting for a reference: {len(seen.panel)} of {LEAST_ROWS} rows"
            return False
        fitted = references.fit(
            self.name, self.sources, seen.panel, seen.factor, self.shape.rule, True, self._seed
        )
        self._adopt(fitted, seen.now)
        return True

    def _made(self, now: int) -> ReferenceMade:
        reference = self._known()
        return ReferenceMade(
            ts=now, group=self.name, name=reference.name, reference=golden.pack(reference)
        )

    def _adopt(self, reference: Reference, now: int = 0) -> None:
        self.reference = reference
        self.model = start(reference, now)
        self.shelf = Shelf()  # empty, as the journal has it: behind all is the reference itself
        self.steps = Steps()
        self.bound = Bound(reference.mean)
        self.residuals = Residuals(reference, self._seed)

    def _decide(self, seen: Review, verdict: market.MarketVerdict, short: float) -> tuple[str, str]:
        """(learned, frozen, rejected or held; why)."""
        if seen.accused:
            return "rejected", f"under suspicion: {', '.join(sorted(seen.accused))}"
        if seen.now < self._held_until:
            return "held", self._held_for
        if short > SHORT:
            return "frozen", f"{short:.0%} of the rows have too few sources"
        if int(seen.member.sum()) < 3:
            return "frozen", "fewer than three sources have a vote"
        if seen.vpin > self.shape.toxicity:
            return "held", f"vpin_toxicity: {seen.vpin:.2f} over {self.shape.toxicity:g}"
        if not self._known().active.any():
            return "frozen", "nothing has moved in the reference, so there is no scale to learn on"
        if figures.concentration(seen)[0] > self.shape.concentration:
            return "frozen", "provenance_concentration: one source has too large a share"
        if not verdict.passes:
            return "frozen", verdict.reason
        return "learned", ""

    def _next(
        self, seen: Review, model: Model, window: Bounded, rows: Array, learned: bool
    ) -> Model:
        """The model after a review: it learns, or only its reference walks."""
        mean, covariance = vector(model.mean), matrix(model.covariance)
        if learned:
            reference = self._known()
            keep = np.ix_(reference.active, reference.active)
            rate = self.shape.rate
            fitted = covariance.copy()
            _, found, objective, _ = warm_mrcd(
                np.ascontiguousarray(rows[:, reference.active]),
                0.75,
                0.0,
                np.ascontiguousarray(window.mean[reference.active]),
                np.ascontiguousarray(covariance[keep]),
                4,
            )
            if math.isfinite(objective):  # an exact fit says nothing of the scatter
                fitted[keep] = found
            mean = (1.0 - rate) * mean + rate * window.mean
            covariance = (1.0 - rate) * covariance + rate * fitted
        return msgspec.structs.replace(
            self._walk(seen, model, window),
            ts=seen.now,
            updates=model.updates + learned,
            mean=plain(mean),
            covariance=plain(covariance),
        )

    def _bounded(self, model: Model) -> Model:
        """The model with the bound as it stands now."""
        return msgspec.structs.replace(
            model,
            bound=plain(self.bound.axes),
            envelope=plain(self.bound.envelope),
            decisions=self.bound.decisions,
        )

    def _walk(self, seen: Review, model: Model, window: Bounded) -> Model:
        """The reference follows the consensus at a metered rate; so do the bounds on where it is.

        x + clip(m - x, -c, c) is nondecreasing in x and m and moves with a common shift of both, so
        two such walks never part by more than the larger of their present distance and that of
        their aims, nor by more than 2 c a step.
        """
        minutes = max(0.0, (seen.now - model.ts) / MINUTE) if model.ts else 1.0
        minutes = min(minutes, 60.0)
        day = seen.now // DAY
        walked = vector(model.walked) if day == model.day else np.zeros(WIDTH)
        most = self.shape.walk_hour * minutes / 60.0
        allowed = np.minimum(most, np.maximum(0.0, self.shape.walk_day - walked))
        live = np.isfinite(seen.panel[-LOOK:, :, LEVEL]).sum(axis=1)
        enough = int(np.median(live)) >= self.needed and not seen.accused
        anchor, bound = vector(model.anchor), vector(model.anchor_bound)
        step = np.clip(window.mean - anchor, -allowed, allowed) if enough else np.zeros(WIDTH)
        apart = np.minimum(bound + 2.0 * most, np.maximum(bound, window.reach))
        follow = -math.expm1(-math.log(2.0) * minutes / (60.0 * self.shape.shape_hours))
        scatter, scatter_bound = matrix(model.scatter), matrix(model.scatter_bound)
        return msgspec.structs.replace(
            model,
            anchor=plain(anchor + step),
            anchor_bound=plain(apart if enough else bound + most),
            walked=plain(walked + np.abs(step)),
            day=day,
            scatter=plain(scatter + follow * (window.covariance - scatter)),
            scatter_bound=plain(scatter_bound + follow * (window.bound - scatter_bound)),
        )

    def _inside(self, now: int) -> Array:
        """How far apart the means can be at most because the market gate lets neither stray.

        Each mean is an average of locations that passed, so per axis it lies within limit x scale
        of where the reference can have walked; ours is where it is.
        """
        reference, model = self._known(), self._model()
        width = int(reference.active.sum())
        most, _, _ = reference.limits.at(LEAST_ROWS, reference.rows, width)
        scatter = np.maximum(
            np.diag(reference.covariance),
            np.diag(matrix(model.scatter) + matrix(model.scatter_bound)),
        )
        hours = (now - model.origin) / HOUR
        walk = min(
            self.shape.walk_hour * hours, self.shape.walk_day * math.ceil(hours / 24.0 + 1.0)
        )
        away = np.abs(vector(model.mean) - reference.mean)
        found: Array = away + most * np.sqrt(scatter) + walk
        return np.where(reference.active, found, 0.0)

    # --- rollback and breakers ---

    def roll_back(
        self,
        now: int,
        suspicion: int,
        reason: str,
        corroboration: float,
        honest: Array | None = None,
        accused: Collection[str] = (),
    ) -> list[AnyRecord]:
        """Back to the newest checkpoint before `suspicion`, or to the reference itself.

        Where `honest` is given, the window's location without the accused, the updates made since
        are made again without them: what the others said is not lost.
        """
        reference, model = self._known(), self._model()
        earlier = self.shelf.before(suspicion)
        target = earlier or start(reference, 0)
        mean = vector(target.mean)
        if honest is not None:
            made = model.updates - target.updates
            mean = self.steps.again(mean, target.ts, made, self.shape.rate, accused, honest)
        else:
            self.steps.forget(target.ts)
        self.bound.roll_back(vector(model.mean) - mean)
        self.bound.hold(mean, np.full(WIDTH, math.inf))
        self.model = self._bounded(
            msgspec.structs.replace(model, ts=now, mean=plain(mean), covariance=target.covariance)
        )
        self.rolled_back += 1
        return [
            ModelRolledBack(
                ts=now,
                group=self.name,
                to=earlier.ts if earlier else 0,
                reason=reason,
                corroboration=corroboration,
                model=self.model.encoded(),
            )
        ]

    def _after_accusation(
        self, seen: Review, member: NDArray[np.uint8], corroboration: float
    ) -> list[AnyRecord]:
        """Roll back to before the suspicion, where enough sources stand behind the accusation."""
        if not seen.accused:
            return []
        since = min(seen.accused.values())
        kept = member.copy()
        voted = 0
        for slot, name in enumerate(self.sources):
            voted += bool(member[slot]) or name in seen.accused
            if name in seen.accused:
                kept[slot] = 0
        if voted < self.needed or not self._model().ts >= since > 0:
            return []
        words = f"{', '.join(sorted(seen.accused))} rejected"
        honest = figures.located(seen, kept, self._known())
        return self.roll_back(seen.now, since, words, corroboration, honest, seen.accused)

    def _step(self, seen: Review, member: NDArray[np.uint8], location: Array) -> Step:
        """What is learned now, and what it would be without those in doubt."""
        kept = member.copy()
        for slot, name in enumerate(self.sources):
            if name in seen.doubted:
                kept[slot] = 0
        without = None
        if int(member.sum()) > int(kept.sum()) >= 3:
            without = figures.located(seen, kept, self._known())
        return Step(seen.now, location, seen.doubted, without)

    def _breakers(self, now: int) -> None:
        """anchor_anomaly and kl_divergence: hold learning until it is known whose move it is.

        A rollback follows where the authenticity gate finds somebody; a market that has moved is
        waited for.
        """
        seen = self.figures
        tripped = ""
        if seen.anchor_surprise > -math.log10(ANCHOR_LEVEL):
            tripped = f"anchor_anomaly: {seen.anchor_rate:.2%} of the golden rows"
        elif seen.window.divergence > max(self.shape.divergence, 2.0 * seen.limits[2]):
            tripped = f"kl_divergence: {seen.window.divergence:.3g} nats"
        if tripped and now >= self._held_until:
            self._held_until, self._held_for = now + COOLDOWN, tripped

    # --- figures ---

    def _influences(
        self, seen: Review, member: NDArray[np.uint8], location: Array
    ) -> dict[str, float]:
        if not self.shape.explain:
            return {}
        return figures.influences(seen, self._known(), self.sources, member, location)

    def _measure(
        self,
        seen: Review,
        verdict: market.MarketVerdict,
        window: Bounded,
        corroboration: float,
        rows: Array,
    ) -> None:
        reference, model = self._known(), self._model()
        mean, covariance = vector(model.mean), matrix(model.covariance)
        far = references.distances(reference.golden, mean, covariance)
        beyond, surprise = figures.exceedances(far, reference.tail)
        concentration, herfindahl, entropy = figures.concentration(seen)
        self.figures = Figures(
            ts=seen.now,
            rows=len(rows),
            shift=float(np.linalg.norm(window.mean - mean)),
            window=verdict.figures,
            limits=verdict.limits,
            model=corridor(mean, covariance, reference.mean, reference.shape, reference.active),
            anchor_rate=beyond / len(far),
            anchor_surprise=surprise,
            concentration=concentration,
            herfindahl=herfindahl,
            entropy=entropy,
            vpin=seen.vpin,
            corroboration=corroboration,
            naive=plain(figures.naive(seen, reference)),
        )

    def _certify(self, seen: Review, window: Bounded, inside: float) -> None:
        reference, model = self._known(), self._model()
        excluded = int((seen.member == 0).sum())
        past = float(np.linalg.norm(self.bound.axes))
        ahead = self.bound.ahead(60, self.shape.rate)
        faulty = reference.rule.faulty
        self.certificate = Certificate(
            group=self.name,
            ts=seen.now,
            standing=certificates.standing(len(self.sources), faulty, excluded, past),
            past=past,
            axes=plain(self.bound.axes),
            next_hour=min(inside, ahead),
            conditional=ahead < inside,
            sample=float(np.linalg.norm(window.reach)),
            decisions=self.bound.decisions,
            reference=inside,
            sources=len(self.sources),
            faulty=faulty,
            excluded=excluded,
            updates=model.updates,
        )

    def restore(self, models: Models, past: Past | None) -> None:
        """Take over the model that the journal holds, where it is measured by the same
        reference, and what its last review came to.
        """
        data = models.made.get(self.name)
        if self.reference is None and data is not None:
            reference = golden.unpack(data, f"reference of {self.name} in the journal")
            if reference.sources == self.sources and reference.rule == self.shape.rule:
                self._adopt(reference)
        kept = models.current.get(self.name)
        if kept is None or self.reference is None:
            return
        if models.references.get(self.name) != self.reference.name:
            return
        self.model = kept
        self.bound.axes = vector(kept.bound)
        self.bound.envelope = np.array(kept.envelope).reshape(2, WIDTH)
        self.bound.decisions = kept.decisions
        self.shelf = models.shelf(self.name)
        self.taught = kept.ts
        if past is None:
            return
        self._learned = past.learned
        self.decision, self.reason, self.outcome = _gate(past.decision), past.reason, past.decision
        if past.certificate:
            self.certificate = msgspec.msgpack.decode(past.certificate, type=Certificate)


def _gate(decision: str) -> GateDecision:
    if decision == "learned":
        return GateDecision.PASS
    return GateDecision.REJECT if decision == "rejected" else GateDecision.FREEZE
