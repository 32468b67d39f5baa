"""What a strategy is, the register of all strategies, and the ones that come along.

A strategy's parameters are a msgspec Struct; their ranges, which a search reads, stand in the
fields' annotations.
"""

import importlib.util
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from seawall.core.errors import SettingError
from seawall.core.frames import Regime
from seawall.core.verdicts import OPINION
from seawall.decision.agents import Agent
from seawall.decision.agents import build as build_agent
from seawall.decision.kernels import Blend, blend_run
from seawall.decision.market_making import MarketMaking, MarketMakingShape
from seawall.decision.orchestrator import OrchestratorShape
from seawall.decision.order_flow import OrderFlowShape
from seawall.decision.quoting import Quoter
from seawall.decision.strategy_kernels import CrossState, cross_run
from seawall.decision.trend import TrendShape

Array = NDArray[np.float64]
LOG = {"log": True}  # of a range: a search goes through it by ratio


@runtime_checkable
class Strategy(Protocol):
    """Says after each row what it wants to hold, from this row and earlier ones only."""

    @property
    def name(self) -> str: ...

    def start(self) -> Any:
        """The state before the first row."""
        ...

    def exposures(self, rows: NDArray[Any], state: Any) -> Array:
        """(n,) wanted exposure as a share of the cap, in [-1, 1], one per CONSENSUS row.

        NaN: nothing is decided, what is held stays. `state` is moved on in place, so that any
        split of the rows into blocks gives the same bits.
        """
        ...


class Kind(NamedTuple):
    """A strategy that can be built, of exposures or of quotes: `shape` is its parameters' type,
    with defaults and ranges; `build` makes one of a shape and of the ns between two rows;
    `features` are names of columns (docs/features.md) that it finds on its rows."""

    shape: type[msgspec.Struct]
    build: Callable[[Any, int], Strategy | Quoter]
    features: tuple[str, ...] = ()


class CrossShape(msgspec.Struct, frozen=True, kw_only=True):
    """Attributes: fast, slow: rows that the means go over; band: fraction by which they must stand
    apart; short: what is wanted while the fast one is below, a share of the cap, 0 or negative."""

    fast: Annotated[int, Meta(ge=2, le=200, extra=LOG)] = 20
    slow: Annotated[int, Meta(ge=5, le=1000, extra=LOG)] = 100
    band: Annotated[float, Meta(ge=0.0, le=0.02)] = 0.0
    short: float = -1.0

    def __post_init__(self) -> None:
        if not 0 < self.fast < self.slow:
            raise SettingError(
                f"moving-average cross: fast ({self.fast} rows) must be shorter than slow "
                f"({self.slow} rows)"
            )
        if not (self.band >= 0.0 and -1.0 <= self.short <= 0.0):
            raise SettingError("moving-average cross: band must be >= 0 and short in [-1, 0]")


class MovingAverageCross:
    """Long while the fast simple moving average is above the slow one, else short (or flat)."""

    name: ClassVar[str] = "moving_average_cross"

    def __init__(self, shape: CrossShape, cadence: int) -> None:
        self._shape = shape

    def start(self) -> CrossState:
        """The state before the first row."""
        return CrossState(
            np.zeros(1, np.int64), np.zeros((1, self._shape.slow)), np.zeros(1), np.zeros(1)
        )

    def exposures(self, rows: NDArray[Any], state: CrossState) -> Array:
        """See Strategy."""
        wanted, shape = np.empty(len(rows)), self._shape
        cross_run(rows, shape.fast, shape.slow, shape.band, shape.short, state, wanted)
        return wanted


class TrendRowsShape(msgspec.Struct, frozen=True, kw_only=True):
    """Attributes: fast, slow: half-lives of the trend agent's averages, in rows; gain: score per
    standard deviation of its signal."""

    fast: Annotated[float, Meta(ge=2.0, le=200.0, extra=LOG)] = 4.0
    slow: Annotated[float, Meta(ge=4.0, le=1000.0, extra=LOG)] = 16.0
    gain: Annotated[float, Meta(ge=0.1, le=2.0, extra=LOG)] = 0.5

    def __post_init__(self) -> None:
        if not 0.0 < self.fast < self.slow:
            raise SettingError(
                f"trend: fast ({self.fast} rows) must be shorter than slow ({self.slow} rows)"
            )


class OrderFlowRowsShape(msgspec.Struct, frozen=True, kw_only=True):
    """Attributes: half_life: of the order-flow agent's pressure, rows; gain: score per unit."""

    half_life: Annotated[float, Meta(ge=2.0, le=1000.0, extra=LOG)] = 30.0
    gain: Annotated[float, Meta(ge=0.5, le=20.0, extra=LOG)] = 4.0


class AgentAlone:
    """One agent as a strategy: its score, weighed by its confidence, is what is wanted.

    Args:
        least_confidence: below it nothing is decided, as in the orchestrator.
    """

    def __init__(self, agent: Agent, least_confidence: float = 0.5) -> None:
        self._agent = agent
        self._least = least_confidence

    @property
    def name(self) -> str:
        """The agent's."""
        return self._agent.name

    def start(self) -> Any:
        """The agent's state before the first row."""
        return self._agent.start()

    def exposures(self, rows: NDArray[Any], state: Any) -> Array:
        """See Strategy."""
        said = self._agent.opine(rows, state)
        sure = said["confidence"] >= self._least
        return np.where(sure, said["score"] * said["confidence"], np.nan)


def _trend(shape: TrendRowsShape, cadence: int) -> AgentAlone:
    given = TrendShape(
        fast_half_life=1e-3,  # what is said in rows is longer
        slow_half_life=2e-3,
        fast_frames=shape.fast,
        slow_frames=shape.slow,
        gain=shape.gain,
    )
    return AgentAlone(build_agent("trend", 1, cadence, given))


def _order_flow(shape: OrderFlowRowsShape, cadence: int) -> AgentAlone:
    given = OrderFlowShape(half_life=1e-3, frames=shape.half_life, gain=shape.gain)
    return AgentAlone(build_agent("order_flow", 1, cadence, given))


class RulesShape(msgspec.Struct, frozen=True, kw_only=True):
    """Attributes: trend_fast_s, trend_slow_s, order_flow_halflife_s: as in the settings;
    volatility: annualised, from which NORMAL, HIGH and EXTREME begin."""

    trend_fast_s: Annotated[float, Meta(ge=10.0, le=604_800.0, extra=LOG)] = 60.0
    trend_slow_s: Annotated[float, Meta(ge=20.0, le=2_592_000.0, extra=LOG)] = 600.0
    order_flow_halflife_s: Annotated[float, Meta(ge=2.0, le=3600.0, extra=LOG)] = 30.0
    volatility: tuple[float, float, float] = OrchestratorShape().volatility

    def __post_init__(self) -> None:
        if not 0.0 < self.trend_fast_s < self.trend_slow_s:
            raise SettingError(
                f"rules: trend_fast_s ({self.trend_fast_s} s) must be shorter than trend_slow_s "
                f"({self.trend_slow_s} s)"
            )


class Rules:
    """All agents and the orchestrator's blend of them: what the node trades on by default."""

    name: ClassVar[str] = "rules"

    def __init__(self, shape: RulesShape, cadence: int) -> None:
        trend = TrendShape(fast_half_life=shape.trend_fast_s, slow_half_life=shape.trend_slow_s)
        flow = OrderFlowShape(half_life=shape.order_flow_halflife_s)
        self._agents = (
            build_agent("trend", 1, cadence, trend),
            build_agent("order_flow", 1, cadence, flow),
        )
        blending = OrchestratorShape(volatility=shape.volatility)
        regime = np.ones(len(Regime))
        regime[Regime.HIGH_VOL] = blending.high_volatility
        regime[Regime.EXTREME_VOL] = blending.extreme_volatility
        self._blend = Blend(
            np.ones(len(self._agents)),
            blending.most_age,
            blending.least_confidence,
            regime,
            np.array(blending.volatility),
            blending.uncorroborated,
        )

    def start(self) -> list[Any]:
        """The agents' states before the first row."""
        return [agent.start() for agent in self._agents]

    def exposures(self, rows: NDArray[Any], state: list[Any]) -> Array:
        """See Strategy."""
        said = np.zeros((len(rows), len(self._agents)), OPINION)
        for column, (agent, carry) in enumerate(zip(self._agents, state, strict=True)):
            said[:, column] = agent.opine(rows, carry)
        strengths = np.empty((len(rows), 3))
        blend_run(rows, said, self._blend, strengths)
        return np.ascontiguousarray(strengths[:, 0])


STRATEGIES: dict[str, Kind] = {
    "rules": Kind(RulesShape, Rules),
    "moving_average_cross": Kind(CrossShape, MovingAverageCross),
    "trend": Kind(TrendRowsShape, _trend),
    "order_flow": Kind(OrderFlowRowsShape, _order_flow),
    "market_making": Kind(MarketMakingShape, MarketMaking),
}


def own_file(named: str) -> bool:
    """Whether a strategy is named by the path of a file, which is run to have it."""
    return named.endswith(".py")


def kind_of(named: str) -> Kind:
    """A strategy by its name, or by the path of its file (`*.py`), which defines STRATEGY.

    Raises:
        SettingError: there is none, or the file cannot be run or defines no such thing.
    """
    known = ", ".join(sorted(STRATEGIES))
    if not own_file(named):
        if named not in STRATEGIES:
            raise SettingError(
                f"no strategy is called {named!r}; choose from {known}, or give the path of a file "
                "(*.py)"
            )
        return STRATEGIES[named]
    path = Path(named).expanduser()
    if not path.is_file():
        raise SettingError(
            f"{named}: there is no such file; `seawall new strategy NAME` writes one, and these "
            f"need none: {known}"
        )
    spec = importlib.util.spec_from_file_location(f"strategy_{path.stem}", path)
    assert spec is not None  # it ends in .py
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        line = (
            getattr(error, "lineno", None) or traceback.extract_tb(error.__traceback__)[-1].lineno
        )
        raise SettingError(f"{named}, line {line}: {type(error).__name__}: {error}") from error
    kind = getattr(module, "STRATEGY", None)
    if not isinstance(kind, Kind):
        raise SettingError(
            f"{named}: it does not define STRATEGY = Kind(shape, build); `seawall new strategy "
            "NAME` writes a file that does"
        )
    return kind


def shape_of(kind: Kind, given: dict[str, Any]) -> Any:
    """The shape with these values in place of the defaults.

    Raises:
        SettingError: a name or a value that it does not take.
    """
    known = kind.shape.__struct_fields__
    for name in given:
        if name not in known:
            raise SettingError(f"there is no parameter {name!r}; there are {', '.join(known)}")
    try:
        return msgspec.convert(given, kind.shape, strict=False)
    except msgspec.ValidationError as error:
        raise SettingError(f"{kind.shape.__name__}: {error}") from error


def exposing(named: str, strategy: Strategy | Quoter) -> Strategy:
    """The strategy, where it says exposures; SettingError where it quotes."""
    if isinstance(strategy, Strategy):
        return strategy
    raise SettingError(
        f"{named} quotes, and this is for strategies of exposures: try it with `seawall backtest`"
    )
