"""Panels of a market: what each source said, whole from the first frame on."""

import numpy as np
import pytest

from seawall.core.consensus import PANEL_WIDTH
from seawall.core.errors import DataError
from seawall.core.settings import load
from seawall.node import impact, panels

SETTINGS = load(None, {"mode": "backtest"}, {})
CATALOG = impact.simulated_catalog()


def test_a_simulated_market_is_a_panel_of_its_sources() -> None:
    market = impact.simulated_market(0, 60.0)
    panel = panels.panel_of(SETTINGS, CATALOG, market, 30, 40)
    assert panel.shape[1:] == (len(CATALOG.sources), PANEL_WIDTH)
    assert 30 <= len(panel) <= 40
    assert np.isfinite(panel[0]).all()
    again = panels.panel_of(SETTINGS, CATALOG, impact.simulated_market(0, 60.0), 30, 40)
    assert np.array_equal(panel, again, equal_nan=True)


def test_a_market_that_is_too_short_is_refused() -> None:
    with pytest.raises(DataError, match="give a longer tape"):
        panels.panel_of(SETTINGS, CATALOG, impact.simulated_market(0, 20.0), 30, 40)
