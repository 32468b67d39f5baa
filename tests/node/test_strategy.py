"""A strategy in the node decides in place of the agents; risk stands behind it as always."""

import numpy as np
import pytest

from seawall.cli.new import COMPILED, PLAIN, strategy
from seawall.core.errors import SettingError
from seawall.core.records import FillBooked, IntentDecided, OrderCreated, ParentBegan
from seawall.core.settings import DecisionSettings, RiskSettings, Settings
from seawall.node.strategy import Chosen, made, parameters_of
from tests.node.short_runs import node_on, records, tape

CROSS = ("fast=5", "slow=20")


def settings(named: str = "moving_average_cross", parameters=CROSS) -> Settings:
    decision = DecisionSettings(strategy=named, parameters=parameters, minimum_hold_s=1)
    return Settings(mode="backtest", decision=decision, risk=RiskSettings(volatility_threshold=10))


def run(*given, **about):
    node = node_on(*tape(400), settings(*given), **about)
    node.run()
    return node


@pytest.fixture(scope="module")
def ran():
    return run()


def test_it_trades_under_its_own_name(ran):
    assert len(records(ran, FillBooked)) > 5
    assert {r.intent.strategy for r in records(ran, IntentDecided)} == {"moving_average_cross"}
    assert ran.action.books.ledger.strategies == ("moving_average_cross",)
    ran.action.books.ledger.conservation()


def test_acting_only_where_something_is_due_is_the_same(ran):
    assert run(eager=False).recorder.journal.head == ran.recorder.journal.head


def test_other_parameters_are_another_run(ran):
    other = run("moving_average_cross", ("fast=5", "slow=60"))
    assert other.recorder.journal.head != ran.recorder.journal.head
    assert settings().fingerprint() != settings(parameters=("fast=5", "slow=21")).fingerprint()


def test_what_fewer_than_three_sources_say_is_halved():
    rows = tape_rows()
    chosen = Chosen("moving_average_cross", CROSS, 1, 10**9, 0.5)
    whole = chosen.strengths(rows)[:, 0]
    rows["flags"] |= 32
    half = Chosen("moving_average_cross", CROSS, 1, 10**9, 0.5).strengths(rows)[:, 0]
    known = np.isfinite(whole)
    assert known.any()
    assert np.array_equal(half[known], 0.5 * whole[known])


def tape_rows():
    node = node_on(*tape(115))
    found = [seen.rows for seen in node.perception.observe(tape(115)[1])]
    return np.concatenate(found).copy()


# --- files of one's own ---


@pytest.mark.parametrize("compiled", [False, True])
def test_a_new_file_runs_as_it_is(tmp_path, compiled):
    strategy("my_idea", compiled, tmp_path)
    file = str(tmp_path / "my_idea.py")
    node = run(file, ("lookback=10", "threshold=0.00001"))
    assert {r.intent.strategy for r in records(node, IntentDecided)} == {"my_idea"}
    assert records(node, FillBooked)


def test_both_templates_say_the_same(tmp_path):
    said = []
    rows = tape_rows()
    for compiled in (False, True):
        folder = tmp_path / str(compiled)
        strategy("my_idea", compiled, folder)
        one = made(str(folder / "my_idea.py"), (), 10**9)
        said.append(one.exposures(rows, one.start()))
    assert np.array_equal(said[0], said[1], equal_nan=True)
    assert PLAIN != COMPILED


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = 1\n", "does not define STRATEGY"),
        ("x = 1\nimport nowhere_at_all\n", "line 2: ModuleNotFoundError"),
        ("def f(:\n", "line 1: SyntaxError"),
    ],
)
def test_a_file_that_will_not_do(tmp_path, text, says):
    file = tmp_path / "bad.py"
    file.write_text(text)
    with pytest.raises(SettingError, match=says) as told:
        made(str(file), (), 10**9)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("named", "parameters", "says"),
    [
        ("nothing.py", (), "no such file"),
        ("nothing", (), "no strategy is called 'nothing'; choose from market_making, moving"),
        ("trend", ("slope=1",), "no parameter 'slope'; there are fast, slow, gain"),
        ("trend", ("fast=x",), "Expected"),
        ("moving_average_cross", ("fast=50", "slow=20"), "must be shorter"),
    ],
)
def test_what_is_wrong_is_named(named, parameters, says):
    with pytest.raises(SettingError, match=says):
        made(named, parameters, 10**9)


def test_parameters_of_the_rules_are_refused():
    with pytest.raises(SettingError, match="are of a strategy, and none is chosen"):
        node_on(*tape(115), settings("rules"))


def test_a_parameter_is_a_name_and_a_value():
    assert parameters_of(["fast=5"]) == {"fast": "5"}
    with pytest.raises(SettingError, match="write NAME=VALUE"):
        parameters_of(["fast"])


def test_exposures_of_the_wrong_size_stop_the_run(tmp_path):
    file = tmp_path / "large.py"
    strategy("large", False, tmp_path)
    file.write_text(file.read_text().replace("np.sign(move)", "2.0 * np.sign(move)"))
    with pytest.raises(SettingError, match=r"number in \[-1, 1\]"):
        run(str(file), ("lookback=10", "threshold=0.00001"))


def test_a_strategy_that_fails_stops_the_run_in_one_line(tmp_path):
    file = tmp_path / "broken.py"
    strategy("broken", False, tmp_path)
    file.write_text(file.read_text().replace("move = prices", "move = [][9] or prices"))
    with pytest.raises(SettingError, match=r"broken\.py, line \d+: IndexError") as told:
        run(str(file), ())
    assert "\n" not in str(told.value)


PACED = """
import msgspec
import numpy as np

from seawall.core.clock import SECOND
from seawall.core.parents import Algorithm, Pace
from seawall.decision.strategies import Kind


class Shape(msgspec.Struct, frozen=True):
    slices: int = 5


class Slow:
    name = "slow"

    def __init__(self, slices):
        self.pace = Pace(algorithm=Algorithm.TWAP, horizon=20 * SECOND, slices=slices)

    def start(self):
        return None

    def exposures(self, rows, state):
        return np.ones(len(rows))


STRATEGY = Kind(Shape, lambda shape, cadence: Slow(shape.slices))
"""


def test_a_strategy_names_the_pace_of_its_orders(tmp_path):
    """One that works its orders over 20 s, where the settings would send them at once."""
    file = tmp_path / "slow.py"
    file.write_text(PACED)
    node = run(str(file), ())
    (first, *_) = records(node, ParentBegan)
    assert (first.parent.strategy, first.parent.pace.algorithm) == ("slow", "twap")
    children = [
        r for r in records(node, OrderCreated) if r.order.instrument == first.parent.instrument
    ]
    assert len(children) >= 4
    assert children[0].order.size < first.parent.lots
    other = run(str(file), (), eager=False)
    assert other.recorder.journal.head == node.recorder.journal.head
    with pytest.raises(SettingError, match="strategy slow: pace: slices is 0"):
        run(str(file), ("slices=0",))


def test_a_pace_of_several_is_each_one_s_own(tmp_path):
    (tmp_path / "slow.py").write_text(PACED)
    texts = (f"{tmp_path / 'slow.py'} share=0.5", "moving_average_cross share=0.5 fast=5 slow=20")
    decision = DecisionSettings(strategies=texts, minimum_hold_s=1)
    risk = RiskSettings(volatility_threshold=10)
    node = node_on(*tape(400), Settings(mode="backtest", decision=decision, risk=risk))
    node.run()
    assert {r.parent.strategy for r in records(node, ParentBegan)} == {"slow"}
    assert {r.order.strategy for r in records(node, OrderCreated)} == {
        "slow",
        "moving_average_cross",
    }
