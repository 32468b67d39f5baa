"""Strategies at work in the node, in place of the agents: one or several, each of its own for every
asset.

What one wants goes the way of all intents: deadband and hold, risk's limits, the executor. A wish
where fewer than three sources price the asset is halved, as everybody's is.
"""

import math
import traceback
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.consensus import narrowed
from seawall.core.errors import SettingError
from seawall.core.frames import FrameFlag
from seawall.core.instruments import Catalog
from seawall.core.intents import Protection, Quotes
from seawall.core.parents import Pace
from seawall.core.sections import DecisionSettings
from seawall.decision.agents import AGENTS, features_of
from seawall.decision.orchestrator import Orchestrator, OrchestratorShape
from seawall.decision.quoting import Held, Ladders, Quoter
from seawall.decision.strategies import Strategy, kind_of, own_file, shape_of
from seawall.execution import schedules
from seawall.risk.limits import Holding

RULES = "rules"  # the agents and the orchestrator's blend of them: the node has them anyway
UNCORROBORATED = int(FrameFlag.UNCORROBORATED)


def parameters_of(given: Iterable[str]) -> dict[str, Any]:
    """``fast=10`` and the like as a mapping; SettingError for what is no such thing."""
    pairs = [text.partition("=") for text in given]
    for name, equals, value in pairs:
        if not (name and equals and value):
            raise SettingError(f"parameter {name + equals + value!r}: write NAME=VALUE")
    return {name.strip(): value.strip() for name, _, value in pairs}


def made(named: str, parameters: Sequence[str], cadence: int) -> Strategy | Quoter:
    """The strategy of this name, or in this file, with these parameters (``fast=10``).

    Args:
        cadence: ns between two rows.

    Raises:
        SettingError: there is no such strategy, or it does not take these parameters.
    """
    kind = kind_of(named)
    return kind.build(shape_of(kind, parameters_of(parameters)), cadence)


def features_wanted(decision: DecisionSettings) -> tuple[str, ...]:
    """The features that the strategies and agents of a node name, each once, sorted.

    Files of strategies are run for it.
    """
    wanted: set[str] = set()
    named = [sleeve.named for sleeve in sleeves_of(decision.strategies)] or [decision.strategy]
    for one in named:
        wanted.update(kind_of(one).features)
    if named == [RULES]:
        for agent in AGENTS.values():
            wanted.update(features_of(agent))
    return tuple(sorted(wanted))


class Sleeve(NamedTuple):
    """One of several strategies, as it is written: ``NAME [share=0.5] [name=OTHER] [fast=10 …]``.

    Attributes:
        named: of the strategy, or the path of its file. name: of its sub-ledger. share: of the
            capital that one strategy alone would have; 0: an equal part of what is left over.
        parameters: of the strategy, ``fast=10``.
    """

    named: str
    name: str
    share: float
    parameters: tuple[str, ...]


def sleeves_of(texts: Sequence[str]) -> list[Sleeve]:
    """The strategies that share an account; their shares add up to 1 at most.

    Raises:
        SettingError: a share that is none, shares above 1 together, or a name twice.
    """
    found = [_sleeve(text) for text in texts]
    names = [sleeve.name for sleeve in found]
    for name in names:
        if names.count(name) > 1:
            raise SettingError(
                f"decision.strategies: two are called {name}; give one of them another name, such "
                f'as "{name} name={name}_2"'
            )
    taken = math.fsum(sleeve.share for sleeve in found)
    equal = [sleeve for sleeve in found if not sleeve.share]
    if taken > 1.0 + 1e-9 or (equal and taken > 1.0 - 1e-9):
        raise SettingError(
            f"decision.strategies: the shares add up to {taken:g}, which leaves nothing for the "
            "others"
            if equal
            else f"decision.strategies: the shares add up to {taken:g}, above 1"
        )
    part = (1.0 - taken) / len(equal) if equal else 0.0
    return [sleeve._replace(share=sleeve.share or part) for sleeve in found]


def _sleeve(text: str) -> Sleeve:
    words = text.split()
    first = next((at for at, word in enumerate(words) if "=" in word), len(words))
    named, given = " ".join(words[:first]), words[first:]
    if not named:
        raise SettingError(f"decision.strategies has {text!r}: begin with a strategy's name")
    own = parameters_of(word for word in given if word.startswith(("share=", "name=")))
    name = str(own.get("name", Path(named).stem if own_file(named) else named))
    try:
        share = float(own.get("share", 0.0))
    except ValueError:
        share = math.nan
    if not 0.0 <= share <= 1.0 or ("share" in own and not share):
        raise SettingError(
            f"decision.strategies: the share of {name} is {own['share']!r}, allowed is more than 0 "
            "to 1"
        )
    return Sleeve(
        named, name, share, tuple(w for w in given if not w.startswith(("share=", "name=")))
    )


class Chosen:
    """One strategy on every consensus group of a node.

    Args:
        named: its name, or the path of its file. parameters: in place of its defaults.
        groups: how many there are. cadence: ns between two rows of one.
        uncorroborated: scale of what it wants where fewer than three sources voted.

    Raises:
        SettingError: there is no such strategy, or it does not take these parameters.
    """

    def __init__(
        self,
        named: str,
        parameters: Sequence[str],
        groups: int,
        cadence: int,
        uncorroborated: float,
    ) -> None:
        self._each = [made(named, parameters, cadence) for _ in range(groups)]
        self.name = self._each[0].name if self._each else named
        self._taking = [each for each in self._each if isinstance(each, Strategy)]
        self._quoting = [each for each in self._each if not isinstance(each, Strategy)]
        self._states = [strategy.start() for strategy in self._each]
        self._features = kind_of(named).features
        self._uncorroborated = uncorroborated

    def strengths(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """(n, 3) wanted exposure of each row and its bounds, as the orchestrator's.

        Rows are CONSENSUS and all features that somebody has named; the strategy sees its own.

        Nothing is certified of a strategy that gives no bounds: they are -1 and 1.

        Raises:
            SettingError: it failed, or did not say one number in [-1, 1], or NaN, for each row.
        """
        groups = len(self._each)
        found = np.empty((len(rows), 3))
        for at, state in enumerate(self._states):
            own = narrowed(rows[at::groups], self._features).copy()
            own["group"] = 0
            if self._quoting:
                found[at::groups] = self._quotes(self._quoting[at], own, state)
            else:
                found[at::groups, 0] = self._exposures(self._taking[at], own, state)
        scale = np.where(rows["flags"] & UNCORROBORATED, self._uncorroborated, 1.0)
        if self._quoting:
            found[:, 2] *= scale
            return found
        nothing = np.isnan(found[:, 0])
        found[:, 0] *= scale
        found[:, 1] = np.where(nothing, np.nan, -1.0)
        found[:, 2] = np.where(nothing, np.nan, 1.0)
        return found

    def _exposures(self, strategy: Strategy, rows: NDArray[Any], state: Any) -> NDArray[np.float64]:
        """(n,) what one that takes positions wants."""
        try:
            wanted = np.asarray(strategy.exposures(rows, state), np.float64)
        except Exception as error:  # somebody else's code may raise anything
            raise self._failed(error) from error
        if wanted.shape != (len(rows),) or bool((np.abs(wanted) > 1.0).any()):
            raise SettingError(
                f"strategy {self.name}: exposures must be one number in [-1, 1] for each of "
                f"{len(rows)} rows, or NaN; it gave shape {wanted.shape}"
                + (f", up to {np.nanmax(np.abs(wanted)):g}" if wanted.size else "")
            )
        return wanted

    @property
    def protection(self) -> Protection | None:
        """What the strategy says of itself, if it does: an attribute `protection`."""
        given = getattr(self._each[0], "protection", None) if self._each else None
        return given if isinstance(given, Protection) else None

    @property
    def pace(self) -> Pace | None:
        """How it wants its targets worked, if it says: an attribute `pace`.

        Raises:
            SettingError: a value of it is out of its range.
        """
        given = getattr(self._each[0], "pace", None) if self._each else None
        if not isinstance(given, Pace):
            return None
        # how much of an iceberg is shown is decided for each parent where it is left at 0
        seen = msgspec.structs.replace(given, visible=given.visible or 1)
        schedules.check(seen, f"strategy {self.name}: pace")
        return given

    @property
    def quoter(self) -> Quoter | None:
        """The strategy, where it quotes."""
        first = self._each[0] if self._each else None
        return None if first is None or isinstance(first, Strategy) else first

    def _quotes(self, strategy: Quoter, rows: NDArray[Any], state: Any) -> NDArray[np.float64]:
        """(n, 3) half, skew and size of a strategy that quotes."""
        try:
            said = strategy.quotes(rows, state)
            found = np.stack([said[name] for name in ("half", "skew", "size")], axis=1)
        except Exception as error:
            raise self._failed(error) from error
        if found.shape != (len(rows), 3) or bool((found[:, 0] <= 0.0).any()):
            raise SettingError(
                f"strategy {self.name}: quotes must be one QUOTE with a half above 0, or NaN, for "
                f"each of {len(rows)} rows"
            )
        return np.asarray(found, np.float64)

    def _failed(self, error: Exception) -> SettingError:
        last = traceback.extract_tb(error.__traceback__)[-1]
        return SettingError(
            f"strategy {self.name}, {last.filename}, line {last.lineno}: "
            f"{type(error).__name__}: {error}"
        )


class AtWork:
    """One of several strategies: what it wants, and the orchestrator that asks for it.

    One that fails is stopped: from there on it wants to hold nothing, and the others go on.

    Args:
        strict: a failure ends the run instead (backtests).

    Attributes:
        stopped: why, empty while it works. told: the journal knows.
    """

    def __init__(self, chosen: Chosen, orchestrator: Orchestrator, strict: bool) -> None:
        self.orchestrator = orchestrator
        self.name = orchestrator.strategy
        self.stopped = ""
        self.told = False
        quoter = chosen.quoter
        self.ladders = (
            Ladders(self.name, orchestrator.traded, quoter.rungs, quoter.step) if quoter else None
        )
        self._chosen = chosen
        self._strict = strict

    def quotes(
        self,
        said: NDArray[np.float64],
        holdings: Mapping[str, Holding],
        touches: Mapping[str, tuple[int, int]],
        equity: float,
        now: int,
        tape: int,
    ) -> list[Quotes]:
        """What one that quotes asks for at a boundary, where its markets can be traded on."""
        cap = self.orchestrator.shape.cap_fraction * equity
        held = {
            name: Held(holding.lots, int(cap / holding.value), touch, not holding.shortable)
            for name, touch in touches.items()
            if (holding := holdings[name]).tradable and holding.known and cap > 0.0
        }
        return self.ladders.decide(said, held, now, tape) if self.ladders else []

    def strengths(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """As Chosen.strengths; zeros where it was stopped."""
        if not self.stopped:
            try:
                return self._chosen.strengths(rows)
            except SettingError as error:
                if self._strict:
                    raise
                self.stopped = str(error)
        return np.zeros((len(rows), 3))


def protection_of(decision: DecisionSettings) -> Protection | None:
    """What the settings say of every position."""
    if not decision.stop_loss:
        return None
    return Protection(
        stop=decision.stop_loss,
        take_profit=decision.take_profit,
        trailing=decision.trailing_stop == "on",
    )


def at_work(
    texts: Sequence[str],
    alone: Chosen | None,
    market: tuple[Catalog, Sequence[str], int, OrchestratorShape, Sequence[str]],
    protection: Protection | None,
    strict: bool,
) -> list[AtWork]:
    """The strategies that share the account, each with its part of the capital; or the only one,
    where it quotes.

    Args:
        market: catalog, groups, ns between two rows, how wishes become intents, what to trade.
        protection: of the positions of those that have none of their own.
        strict: a strategy that fails ends the run.
    """
    catalog, groups, cadence, shape, traded = market
    chosen = [(alone, alone.name, 1.0)] if alone and alone.quoter else []
    for each in sleeves_of(texts):
        made_of = Chosen(each.named, each.parameters, len(groups), cadence, shape.uncorroborated)
        chosen.append((made_of, each.name, each.share))
    found = []
    for strategy, name, share in chosen:
        own = msgspec.structs.replace(shape, cap_fraction=shape.cap_fraction * share)
        orchestrator = Orchestrator(
            catalog,
            groups,
            {},
            cadence,
            own,
            traded,
            name,
            strategy.protection or protection,
            strategy.pace,
        )
        found.append(AtWork(strategy, orchestrator, strict))
    return found
