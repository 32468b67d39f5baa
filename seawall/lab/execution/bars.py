"""A table of recorded bars as the studies use it."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from seawall.core.errors import DataError

COLUMNS = ("open", "high", "low", "close", "volume")


class BarTable(NamedTuple):
    """ts: (bars,) ns UTC, open times, rising. prices: (bars, 4) open, high, low, close. volume:
    (bars,). span: ns of a bar."""

    ts: NDArray[np.int64]
    prices: NDArray[np.float64]
    volume: NDArray[np.float64]
    span: int


def read(path: Path) -> BarTable:
    """Bars of a Parquet or CSV file with the columns ts, open, high, low, close and volume.

    Raises:
        DataError: the file cannot be read, or a column is missing.
    """
    try:
        table = pl.read_csv(path, try_parse_dates=True) if path.suffix == ".csv" else None
        table = pl.read_parquet(path) if table is None else table
    except (OSError, pl.exceptions.PolarsError) as error:
        raise DataError(f"{path}: no table of bars: {str(error).splitlines()[0]}") from None
    lacking = [name for name in ("ts", *COLUMNS) if name not in table.columns]
    if lacking or len(table) < 2:
        raise DataError(
            f"{path}: {'column ' + lacking[0] + ' is missing' if lacking else 'it is empty'}; it "
            f"needs ts, {', '.join(COLUMNS)}"
        )
    table = table.sort("ts")
    ts = table["ts"]
    if isinstance(ts.dtype, pl.Datetime):
        ts = ts.dt.replace_time_zone(None).cast(pl.Datetime("ns"))
    elif not ts.dtype.is_integer():
        raise DataError(f"{path}: ts is {ts.dtype}; it must be a time or whole ns UTC")
    times = ts.cast(pl.Int64).to_numpy()
    values = table.select(pl.col(name).cast(pl.Float64) for name in COLUMNS).to_numpy()
    span = int(np.median(np.diff(times)))
    return BarTable(times, values[:, :4], values[:, 4], span)
