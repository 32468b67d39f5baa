"""Orchestrator: turns the agents' opinions into intents, seldom and in measure.

It remembers only what it last asked for, and falls back on the positions held once that has
expired; so a fresh one after a restart goes on from the positions alone.
"""

import math
from collections.abc import Collection, Container, Mapping, Sequence
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import SECOND
from seawall.core.errors import SettingError
from seawall.core.frames import Regime
from seawall.core.instruments import Catalog, Kind
from seawall.core.intents import Close, Protection, Target
from seawall.core.parents import Pace
from seawall.core.verdicts import OPINION
from seawall.decision.kernels import LONG_AGO, WISH, Blend, blend_run, wanted_of

STRATEGY = "rules"  # the sub-ledger of what the orchestrator trades for the agents
LEAST_EXPIRY = 60 * SECOND


class OrchestratorShape(msgspec.Struct, frozen=True, kw_only=True):
    """How opinions become exposure.

    Attributes:
        cap_fraction: exposure of one instrument at full strength, share of equity.
        deadband: share of the cap that the wanted exposure must move before it is asked for.
        hold: seconds after an intent in which exposure may shrink but not grow or turn.
        expiry: cadences that an intent stays in force, at least 60 s.
        most_age: seconds; an older opinion does not count.
        least_confidence: where no agent is as confident as this, nothing is decided.
        volatility: annualised volatility from which NORMAL, HIGH and EXTREME begin, as analysis
            names them. high_volatility, extreme_volatility: scale of exposure in these regimes,
            reached in a ramp over the last fifth of the way to them.
        uncorroborated: scale of exposure where fewer than three sources voted.
    """

    cap_fraction: float = 0.1
    deadband: float = 0.25
    hold: float = 60.0
    expiry: int = 2
    most_age: float = 60.0
    least_confidence: float = 0.5
    volatility: tuple[float, float, float] = (0.15, 0.50, 0.60)
    high_volatility: float = 0.5
    extreme_volatility: float = 0.25
    uncorroborated: float = 0.5

    def __post_init__(self) -> None:
        shares = (
            self.cap_fraction,
            self.deadband,
            self.least_confidence,
            self.high_volatility,
            self.extreme_volatility,
            self.uncorroborated,
        )
        if not all(0.0 <= share <= 1.0 for share in shares):
            raise SettingError("orchestrator: shares, scales and confidence must lie in [0, 1]")
        if self.extreme_volatility > self.high_volatility:
            raise SettingError(
                "orchestrator: the scale at extreme volatility must not be above that at high"
            )
        if not (self.hold >= 0.0 and self.most_age >= 0.0 and self.expiry >= 1):
            raise SettingError(
                "orchestrator: hold and most_age must be >= 0 s, expiry >= 1 cadence"
            )


class Standing(msgspec.Struct, frozen=True):
    """What was last asked for: numeraire exposure, when (ns UTC), and until when it is in force."""

    exposure: float
    ts: int
    expiry: int


class Exposure(msgspec.Struct, frozen=True):
    """Wanted exposure of an instrument as a share of its cap, in [-1, 1], at `ts` (ns UTC).

    Whatever the hostile sources did, without them it lies in [low, high]. NaN: nothing is decided.
    """

    wanted: float
    low: float
    high: float
    ts: int

    @property
    def bound(self) -> float:
        """How far an attacker can have moved it, a share of the cap; at most 2."""
        return max(self.high - self.wanted, self.wanted - self.low)


class Orchestrator:
    """Decides each instrument by the opinions on its consensus group.

    Args:
        groups: names of the consensus groups, in the order of a boundary's rows.
        weights: agent → weight >= 0; agents that are not named do not count.
        cadence: ns between two rows of a group.
        traded: instruments to decide on; None for all.
        strategy: the sub-ledger of what it trades. protection: of every position.
        pace: at which its wishes are worked; None: as the settings say.

    Attributes:
        wishes: (traded,) WISH, what was last asked for, in the order of `traded`: pairs of an
            instrument and its group's place.
    """

    def __init__(
        self,
        catalog: Catalog,
        groups: Sequence[str],
        weights: Mapping[str, float],
        cadence: int,
        shape: OrchestratorShape | None = None,
        traded: Collection[str] | None = None,
        strategy: str = STRATEGY,
        protection: Protection | None = None,
        pace: Pace | None = None,
    ) -> None:
        if not all(math.isfinite(weight) and weight >= 0.0 for weight in weights.values()):
            raise SettingError(f"agents' weights are {dict(weights)}; each must be zero or more")
        self.strategy = strategy
        self.protection = protection
        self.pace = pace
        self.standing: dict[str, Standing] = {}
        self.bounds: dict[str, Exposure] = {}
        self.shape = shape or OrchestratorShape()
        self.hold = round(self.shape.hold * SECOND)  # ns
        self._agents = tuple(weights)
        self._traded: list[list[str]] = [[] for _ in groups]
        places = {name: place for place, name in enumerate(groups)}
        for instrument in catalog.instruments:
            if traded is None or instrument.name in traded:
                self._traded[places[instrument.consensus_group]].append(instrument.name)
        self.traded = [(name, at) for at, names in enumerate(self._traded) for name in names]
        self._wish = {name: at for at, (name, _) in enumerate(self.traded)}
        self.wishes = np.zeros(len(self.traded), WISH)
        for column in ("ts", "expiry", "refused_until"):
            self.wishes[column] = LONG_AGO
        for at, (name, _) in enumerate(self.traded):
            self.wishes["long_only"][at] = catalog.by_name[name].kind is Kind.SPOT
        self.expiry = max(LEAST_EXPIRY, cadence * self.shape.expiry)
        regime = np.ones(len(Regime))
        regime[Regime.HIGH_VOL] = self.shape.high_volatility
        regime[Regime.EXTREME_VOL] = self.shape.extreme_volatility
        self._blend = Blend(
            np.array([weights[agent] for agent in self._agents], dtype=np.float64),
            self.shape.most_age,
            self.shape.least_confidence,
            regime,
            np.array(self.shape.volatility),
            self.shape.uncorroborated,
        )

    def strengths(
        self, rows: NDArray[Any], opinions: Mapping[str, NDArray[Any]]
    ) -> NDArray[np.float64]:
        """(rows, 3): wanted exposure of each CONSENSUS row as a share of the cap, in [-1, 1], and
        the interval that the run without the attack has it in.

        NaN where nothing may be decided: nobody votes, or nobody is confident.

        Args:
            opinions: agent → OPINION rows, one per row; an agent that is missing is silent.
        """
        said = np.zeros((len(rows), len(self._agents)), OPINION)
        for column, agent in enumerate(self._agents):
            if agent in opinions:
                said[:, column] = opinions[agent]
        strengths = np.empty((len(rows), 3))
        blend_run(rows, said, self._blend, strengths)
        return strengths

    def decide(
        self,
        rows: NDArray[Any],
        opinions: Mapping[str, NDArray[Any]],
        equity: float,
        positions: Mapping[str, float],
        ready: Container[str],
        now: int,
        tape: int,
        strengths: NDArray[np.float64] | None = None,
    ) -> list[Target | Close]:
        """Intents at one boundary, group by group.

        Args:
            rows: CONSENSUS rows of one boundary.
            opinions: agent → OPINION rows, one per row.
            equity: numeraire; where it is unknown or not positive nothing is decided.
            positions: instrument → signed notional in the numeraire; NaN where unknown.
            ready: instruments whose own market can be traded on now.
            now: ns UTC. tape: rows of the tape seen.
            strengths: what `strengths` makes of these rows, where that is known already.
        """
        intents: list[Target | Close] = []
        if strengths is None:
            strengths = self.strengths(rows, opinions)
        found = strengths.tolist()
        for row, group in enumerate(rows["group"].tolist()):
            strength, low, high = found[row]
            for name in self._traded[group]:
                self.bounds[name] = Exposure(strength, low, high, now)
                if name not in ready or math.isnan(strength) or not 0.0 < equity < math.inf:
                    continue
                cap = self.shape.cap_fraction * equity
                wanted = self._wanted(name, strength, cap, positions.get(name, 0.0), now)
                if wanted is None:
                    continue
                expiry = now + self.expiry
                self.standing[name] = Standing(wanted, now, expiry)
                wish = self.wishes[self._wish[name]]
                wish["exposure"], wish["ts"], wish["expiry"] = wanted, now, expiry
                words = self.rationale(strength, opinions, row)
                about = self.strategy, name, wanted, now, tape, expiry, words
                intents.append(_intent(*about, self.protection, self.pace))
        return intents

    def stood(self, asked: NDArray[np.int64]) -> None:
        """What was asked for elsewhere, as `wishes` has it. asked: (traded,) 1 where it was."""
        for at in np.flatnonzero(asked).tolist():
            wish = self.wishes[at]
            standing = Standing(float(wish["exposure"]), int(wish["ts"]), int(wish["expiry"]))
            self.standing[self.traded[at][0]] = standing

    def refused(self, instrument: str, until: int) -> None:
        """Risk refused what was asked for: nothing more is asked until then (ns UTC), or `again`.

        What would make the position smaller is asked for all the same.
        """
        wish = self.wishes[self._wish[instrument]]
        wish["expiry"], wish["refused_until"] = LONG_AGO, until

    def again(self, frozen: Container[str]) -> None:
        """What risk goes by has changed: what it refused may be asked for again.

        Args:
            frozen: the instruments in which no new risk may be taken now.
        """
        self.wishes["refused_until"] = LONG_AGO
        self.wishes["frozen"] = [name in frozen for name, _ in self.traded]

    def _wanted(
        self, name: str, strength: float, cap: float, held: float, now: int
    ) -> float | None:
        """The exposure to ask for now, None where what stands is good enough."""
        wish = self.wishes[self._wish[name]]
        wanted = wanted_of(wish, strength, cap, held, self.shape.deadband, self.hold, now)
        return None if math.isnan(wanted) else wanted

    def rationale(self, strength: float, opinions: Mapping[str, NDArray[Any]], row: int) -> str:
        """Who said what, for people; opinions[agent][row] is what led to it."""
        votes = []
        for agent in self._agents:
            if agent in opinions:
                opinion = opinions[agent][row]
                votes.append(f"{agent} {opinion['score']:+.2f} ({opinion['confidence']:.2f})")
        return f"strength {strength:+.2f}" + (f": {', '.join(votes)}" if votes else "")

    def rationales(
        self,
        strengths: NDArray[np.float64],
        opinions: Mapping[str, NDArray[Any]],
        rows: NDArray[np.int64],
    ) -> tuple[list[str], NDArray[np.int64]]:
        """The rationales of many intents, and the place of each one's among them."""
        if any(agent in opinions for agent in self._agents):
            pairs = zip(strengths.tolist(), rows.tolist(), strict=True)
            words = [self.rationale(strength, opinions, row) for strength, row in pairs]
            return words, np.arange(len(words))
        bits = np.ascontiguousarray(strengths, np.float64).view(
            np.int64
        )  # 0 and -0 read differently
        distinct, places = np.unique(bits, return_inverse=True)
        words = [self.rationale(one, opinions, 0) for one in distinct.view(np.float64).tolist()]
        return words, places


def _intent(
    strategy: str,
    name: str,
    wanted: float,
    now: int,
    tape: int,
    expiry: int,
    words: str,
    protection: Protection | None,
    pace: Pace | None,
) -> Target | Close:
    """A Close where nothing is wanted, else a Target."""
    if wanted == 0.0:
        return Close(
            strategy=strategy,
            ts=now,
            tape=tape,
            expiry=expiry,
            rationale=words,
            pace=pace,
            instrument=name,
        )
    return Target(
        strategy=strategy,
        ts=now,
        tape=tape,
        expiry=expiry,
        rationale=words,
        pace=pace,
        instrument=name,
        exposure=wanted,
        protection=protection,
    )
