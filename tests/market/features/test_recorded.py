"""Features of a recorded market, held to the reference as those of a simulated one."""

import numpy as np
import pytest

from seawall.core.events import Raw
from seawall.core.frames import FrameFlag
from seawall.market import MarketShape
from seawall.market.features import COLUMNS, features_of, fit_micro_price, matrix
from seawall.market.features.feature_kernels import BUCKETS
from tests.market.features import reference
from tests.recorded import BOOKS, recorded

MINUTE = 60_000_000_000
TENTH = MarketShape(cadence_ns=100_000_000)


@pytest.mark.slow
def test_the_features_of_a_recorded_book_equal_their_formulas() -> None:
    """Two minutes of Binance USD-M, ten frames a second."""
    read = recorded(BOOKS)
    names = [instrument.name for instrument in read.catalog.instruments]
    book = read.catalog.primary[next(name for name in names if "usdm" in name)]
    instrument, source = read.catalog.books[book]
    rows = read.rows[(read.rows["instrument"] == instrument) & (read.rows["source"] == source)]
    rows = Raw(rows[rows["recv_ts"] < rows["recv_ts"][0] + 2 * MINUTE])
    frames, features = features_of(read.catalog, [rows], TENTH)
    assert (frames["flags"] & FrameFlag.VALID).all()
    assert np.flatnonzero(frames["flags"] & FrameFlag.RESET).tolist() == [0]
    kept = rows[rows["kind"] != 4]  # best bid and ask beside the book are only compared
    said = reference.told(kept, frames["ts"], (instrument, source))
    sizes = read.catalog.instruments[instrument]
    wanted = reference.columns(frames, said, sizes.tick_float, sizes.lot_float, 0.1)
    for column, values in wanted.items():
        got = matrix(features)[:, COLUMNS.index(column)]
        expected = np.asarray(values, float)
        if column.startswith(("kyle", "huang_stoll")):
            got, expected = got[~np.isnan(expected)], expected[~np.isnan(expected)]
        np.testing.assert_allclose(got, expected, rtol=1e-7, atol=1e-7, err_msg=column)


def test_the_micro_price_of_a_recorded_book_leans_to_the_heavy_side() -> None:
    read = recorded(BOOKS)
    frames, _ = features_of(read.catalog, [read.rows], TENTH)
    for table in fit_micro_price(frames).values():
        heavy = table[0, BUCKETS // 2 :]  # spread of one tick, more bid than asked
        assert heavy[-1] > 0
        assert (np.diff(heavy) > -0.05 * heavy[-1]).all()
        assert heavy.min() > -0.05 * heavy[-1]
