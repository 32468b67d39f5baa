"""`seawall new`: write the beginnings of something of your own."""

import keyword
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from seawall.core.errors import SettingError

EXAMPLES = """\b
Examples:
  seawall new strategy my_idea
      my_idea.py and test_my_idea.py, here: try the one, run the other
  seawall backtest TAPE --strategy my_idea.py
  seawall run --strategy my_idea.py
  seawall search TAPE --strategy my_idea.py --sets 500
"""

app = typer.Typer(help="Write a file to begin with.", no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def new() -> None:
    """Write a file to begin with."""


@app.command(epilog=EXAMPLES)
def strategy(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Such as my_idea.")],
    compiled: Annotated[
        bool, typer.Option("--compiled", help="With Numba, row by row, instead of plain NumPy.")
    ] = False,
    to: Annotated[Path, typer.Option(metavar="FOLDER", help="Where to write it.")] = Path(),
) -> None:
    """Write a strategy and its test; both run as they are."""
    if not name.isidentifier() or keyword.iskeyword(name) or name != name.lower():
        raise SettingError(f"strategy {name!r}: give a name in small letters, such as my_idea")
    values = {"name": name, "title": "".join(part.title() for part in name.split("_"))}
    texts = {
        to / f"{name}.py": COMPILED if compiled else PLAIN,
        to / f"test_{name}.py": TEST,
    }
    for path in texts:
        if path.exists():
            raise SettingError(f"{path} is there already; choose another name, or move it")
    to.mkdir(parents=True, exist_ok=True)
    for path, text in texts.items():
        path.write_text(Template(text).substitute(values), encoding="utf-8")
    strategy_file, test_file = texts
    typer.echo(f"{strategy_file}: try it with: seawall backtest TAPE --strategy {strategy_file}")
    typer.echo(f"{test_file}: run it with: python -m pytest {test_file}")


SHAPE = '''
class ${title}Shape(msgspec.Struct, frozen=True, kw_only=True):
    """The parameters. Their ranges are what `seawall search` goes through.

    Attributes:
        lookback: rows over which a move counts. threshold: smallest move to follow, fraction.
    """

    lookback: Annotated[int, Meta(ge=2, le=500)] = 20
    threshold: Annotated[float, Meta(ge=0.0, le=0.05)] = 0.001
'''

PLAIN = (
    '''"""${title}: goes with the move of the last rows, where it is large enough."""

from typing import Annotated, Any

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from seawall.decision.strategies import Kind

'''
    + SHAPE
    + '''

class ${title}:
    """Long after a rise, short after a fall, else as it was.

    rows: what the sources agree on, one per frame or bar (dtype seawall.core.consensus.CONSENSUS):
    rows["price"], rows["volume"], rows["value"][:, k] for the features, rows["volatility"], ...
    """

    name = "${name}"

    def __init__(self, shape: ${title}Shape, cadence: int) -> None:
        self._shape = shape  # cadence: ns between two rows

    def start(self) -> dict[str, Any]:
        """What is carried from one block of rows to the next."""
        return {"prices": np.empty(0)}

    def exposures(self, rows: NDArray[Any], state: dict[str, Any]) -> NDArray[np.float64]:
        """One number in [-1, 1] per row, a share of the most that may be held; NaN: no change.

        A number may come from its own row and earlier ones only.
        """
        lookback = self._shape.lookback
        prices = np.concatenate([state["prices"], rows["price"]])
        state["prices"] = prices[-lookback:]
        wanted = np.full(len(prices), np.nan)
        move = prices[lookback:] / prices[:-lookback] - 1.0
        wanted[lookback:] = np.where(
            np.abs(move) > self._shape.threshold, np.sign(move), np.nan
        )
        return wanted[len(prices) - len(rows) :]


STRATEGY = Kind(${title}Shape, ${title})
'''
)

COMPILED = (
    '''"""${title}: goes with the move of the last rows, where it is large enough. Compiled."""

from typing import Annotated, Any, NamedTuple

import msgspec
import numpy as np
from msgspec import Meta
from numba import njit
from numpy.typing import NDArray

from seawall.decision.strategies import Kind

'''
    + SHAPE
    + '''

class ${title}State(NamedTuple):
    """What is carried from row to row."""

    seen: NDArray[np.int64]  # (1,) rows so far
    prices: NDArray[np.float64]  # (lookback,) ring


@njit(cache=True)
def step(row: Any, threshold: float, state: Any) -> float:
    """The exposure that one row asks for, in [-1, 1]; NaN: no change."""
    seen, ring = state.seen[0], state.prices
    at = seen % len(ring)
    before = ring[at]
    ring[at] = row["price"]
    state.seen[0] = seen + 1
    if seen < len(ring):
        return np.nan
    move = row["price"] / before - 1.0
    return np.sign(move) if abs(move) > threshold else np.nan


@njit(cache=True)
def run(rows: Any, threshold: float, state: Any, wanted: Any) -> None:
    """`step` for a block of rows."""
    for i in range(len(rows)):
        wanted[i] = step(rows[i], threshold, state)


class ${title}:
    """Long after a rise, short after a fall, else as it was.

    rows: what the sources agree on, one per frame or bar (dtype seawall.core.consensus.CONSENSUS):
    row["price"], row["volume"], row["value"][k] for the features, row["volatility"], ...
    """

    name = "${name}"

    def __init__(self, shape: ${title}Shape, cadence: int) -> None:
        self._shape = shape  # cadence: ns between two rows

    def start(self) -> ${title}State:
        """The state before the first row."""
        return ${title}State(np.zeros(1, np.int64), np.zeros(self._shape.lookback))

    def exposures(self, rows: NDArray[Any], state: ${title}State) -> NDArray[np.float64]:
        """One number in [-1, 1] per row, a share of the most that may be held; NaN: no change."""
        wanted = np.empty(len(rows))
        run(rows, self._shape.threshold, state, wanted)
        return wanted


STRATEGY = Kind(${title}Shape, ${title})
'''
)

TEST = '''"""${title} says nothing of the future, and the same however its rows are cut."""

import numpy as np

from seawall.core.consensus import CONSENSUS
from seawall.decision.strategies import shape_of
from seawall.lab.research.lookahead import check_lookahead
from ${name} import STRATEGY


def walk(count: int = 2000) -> np.ndarray:
    """A random walk as CONSENSUS rows, one a minute."""
    rows = np.zeros(count, CONSENSUS)
    steps = np.random.Generator(np.random.Philox(1)).standard_normal(count)
    rows["ts"] = 60_000_000_000 * np.arange(1, count + 1)
    rows["price"] = 100.0 * np.exp(0.001 * np.cumsum(steps))
    rows["flags"], rows["votes"] = 1, 1  # valid
    return rows


def made():
    return STRATEGY.build(shape_of(STRATEGY, {}), 60_000_000_000)


def test_it_does_not_look_ahead() -> None:
    found = check_lookahead(made(), walk())
    assert found.decided > 0
    assert found.honest, found.words


def test_it_stays_within_its_cap() -> None:
    strategy = made()
    wanted = strategy.exposures(walk(), strategy.start())
    assert np.nanmax(np.abs(wanted)) <= 1.0
'''
