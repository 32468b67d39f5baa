"""Features that a strategy names: the same columns in training and serving, and none for others."""

import textwrap
import tomllib

import numpy as np
import pytest

from seawall.cli import main
from seawall.core.consensus import CONSENSUS, column_of
from seawall.core.errors import SettingError
from seawall.core.records import FillBooked
from seawall.core.settings import DecisionSettings, RiskSettings, Settings
from seawall.ingestion.tape import write_tape
from seawall.market.features import features_of, fit_micro_price, matrix
from seawall.market.features.groups import FITTED
from seawall.market.features.micro_price import fits_of, written
from seawall.market.features.table import COLUMNS
from seawall.node import research
from seawall.node.assembly import perception_of
from seawall.node.strategy import features_wanted
from tests.node.short_runs import every, node_on, tape

NAMES = ("ofi_sum_l5_10", "queue_imbalance_l1", "trade_intensity_50", "volume")
FILE = """
    import msgspec
    import numpy as np

    from seawall.decision.strategies import Kind

    SEEN = []


    class Shape(msgspec.Struct, frozen=True, kw_only=True):
        gain: float = 1.0


    class Leaning:
        name = "leaning"

        def __init__(self, shape, cadence):
            self.gain = shape.gain

        def start(self):
            return None

        def exposures(self, rows, state):
            SEEN.append(rows.dtype.names)
            wanted = rows["{column}"]{cheat}
            return np.clip(self.gain * wanted, -1.0, 1.0)


    STRATEGY = Kind(Shape, Leaning, {features!r})
"""


def file_of(tmp_path, features=NAMES, column="queue_imbalance_l1", cheat=""):
    path = tmp_path / "leaning.py"
    path.write_text(textwrap.dedent(FILE).format(column=column, cheat=cheat, features=features))
    return str(path)


def settings(named, **more):
    decision = DecisionSettings(strategy=named, minimum_hold_s=1, **more)
    return Settings(mode="backtest", decision=decision, risk=RiskSettings(volatility_threshold=10))


def all_rows(perception, rows, cuts=()):
    parts = np.split(rows, list(cuts))
    seen = [one for part in parts for one in perception.observe(part)] + list(perception.flush())
    return np.concatenate([one.told for one in seen]), np.concatenate([s.frames for s in seen])


def test_the_columns_are_those_of_the_tape_however_it_is_cut():
    """Training reads `features_of` or the research market, serving the rows: the same bits."""
    catalog, rows = tape(300)
    given = Settings(mode="backtest")
    plain = all_rows(perception_of(given, catalog), rows)
    whole = perception_of(given, catalog, features=NAMES)
    told, frames = all_rows(whole, rows)
    again, _ = all_rows(perception_of(given, catalog, features=NAMES), rows, every(rows, 777))
    assert told.tobytes() == again.tobytes()
    assert frames.tobytes() == plain[1].tobytes()
    assert plain[0].dtype == CONSENSUS
    for name in CONSENSUS.names:
        np.testing.assert_array_equal(told[name], plain[0][name])
    recorded = features_of(catalog, [rows])
    first = recorded.frames["book"] == 0
    for name in NAMES:
        column = matrix(recorded.features)[first, COLUMNS.index(name)]
        assert np.isfinite(column).any()
        np.testing.assert_array_equal(told[column_of(name)], column)


def test_a_strategy_is_shown_its_columns_and_no_others(tmp_path):
    named = file_of(tmp_path)
    given = settings(named)
    assert features_wanted(given.decision) == tuple(sorted(NAMES))
    both = settings("rules").decision.model_copy(
        update={"strategies": (named, "trend share=0.3"), "strategy": "rules"}
    )
    assert features_wanted(both) == tuple(sorted(NAMES))
    node = node_on(*tape(200), given)
    node.run()
    shown = node.action.strategy._each[0].exposures.__func__.__globals__["SEEN"]
    assert set(shown) == {(*CONSENSUS.names, *map(column_of, NAMES))}


def test_acting_only_where_something_is_due_is_the_same(tmp_path):
    given = settings(file_of(tmp_path))
    eager = node_on(*tape(400), given)
    eager.run()
    quiet = node_on(*tape(400), given, eager=False, cuts=every(tape(400)[1], 999))
    quiet.run()
    assert quiet.recorder.journal.head == eager.recorder.journal.head
    assert any(isinstance(r, FillBooked) for _, r in quiet.recorder.journal.read())


def test_who_names_no_feature_has_none_computed():
    node = node_on(*tape(60), settings("moving_average_cross"))
    assert features_wanted(settings("rules").decision) == ()
    assert node.perception._columns is None


def test_a_name_that_is_none_is_said_with_the_nearest(tmp_path):
    with pytest.raises(SettingError, match="'queue_imbalance_l1'"):
        node_on(*tape(60), settings(file_of(tmp_path, ("queue_imbalance_1",))))


# --- the micro-price ---


def test_a_fit_stands_in_the_settings_and_comes_back_to_the_last_bit():
    catalog, rows = tape(300)
    _, frames = all_rows(perception_of(Settings(mode="backtest"), catalog), rows)
    fits = fit_micro_price(frames)
    again = fits_of(written(fits, catalog), catalog)
    assert fits
    assert fits.keys() == again.keys()
    assert all(fits[book].tobytes() == again[book].tobytes() for book in fits)
    with pytest.raises(SettingError, match="40 numbers"):
        fits_of(["x/y 1 2 3"], catalog)


def test_the_micro_price_is_not_fitted_in_passing(tmp_path):
    named = file_of(tmp_path, FITTED, "micro_price_deviation")
    catalog, rows = tape(300)
    with pytest.raises(SettingError, match="seawall calibrate micro-price"):
        node_on(catalog, rows, settings(named))
    write_tape(tmp_path / "tape", catalog, rows)
    with pytest.raises(SystemExit) as left:
        main(["calibrate", "micro-price", str(tmp_path / "tape"), "--out", str(tmp_path / "m.toml"),
              "--data-dir", str(tmp_path / "data")])  # fmt: skip
    assert not left.value.code
    told = tomllib.loads((tmp_path / "m.toml").read_text())["decision"]["micro_prices"]
    given = settings(named, micro_prices=tuple(told))
    assert given.fingerprint() != settings(named).fingerprint()
    node = node_on(catalog, rows, given)
    node.run()
    market = research.perceived_market(
        given.model_copy(update={"data_dir": tmp_path / "data"}), tmp_path / "tape", "", FITTED
    )
    deviation = market.rows["micro_price_deviation"]
    assert np.isfinite(deviation).any()
    assert np.abs(deviation[np.isfinite(deviation)]).max() > 0.0


# --- looking ahead ---


@pytest.mark.parametrize(
    ("cheat", "code"),
    [
        ("", 0),
        ("[np.minimum(np.arange(len(rows)) + 1, len(rows) - 1)]", 1),
        (" - rows['ofi_l1'].mean()", 1),
    ],
)
def test_a_look_ahead_over_a_feature_is_caught(tmp_path, monkeypatch, capsys, cheat, code):
    monkeypatch.chdir(tmp_path)
    catalog, rows = tape(400)
    write_tape(tmp_path / "tape", catalog, rows)
    named = file_of(tmp_path, ("queue_imbalance_l1", "ofi_l1"), cheat=cheat)
    with pytest.raises(SystemExit) as left:
        main(["backtest", str(tmp_path / "tape"), "--strategy", named, "--check-lookahead"])
    assert (left.value.code or 0) == code, capsys.readouterr()
