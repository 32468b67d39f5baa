"""A parameter surface from the results of a search: its study, or a table of sets."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

from seawall.core.errors import DataError, SettingError
from seawall.lab.tearsheet.sheet import Surface

KEY = "seawall"  # of what a study keeps of a set
MEASURES = ("value", "sharpe", "sortino", "calmar", "total_return")  # the first that is there
MOST = 30  # values of a parameter across or down
BINS = 12
READERS: dict[str, Callable[[Path], pl.DataFrame]] = {
    ".csv": pl.read_csv,
    ".parquet": pl.read_parquet,
    ".json": pl.read_json,
}


def surface_of(path: Path) -> Surface:
    """The two parameters that were tried at most values, and the best result at each pair.

    Args:
        path: the .study of `seawall search`; or a CSV, Parquet or JSON table with one row a set,
            where one column of MEASURES is the result, greater is better, and the others with
            more than one value are parameters.

    Raises:
        DataError: it is no such table.
    """
    table = _study(path) if path.suffix == ".study" else _table(path)
    measure = next((name for name in MEASURES if name in table.columns), None)
    if measure is None:
        raise DataError(f"{path}: no column is the result; name one {', '.join(MEASURES)}")
    table = table.filter(pl.col(measure).is_not_null() & pl.col(measure).is_not_nan())
    names = [n for n in table.columns if n not in MEASURES and table[n].n_unique() > 1]
    best = table.sort(measure, descending=True).head(1)
    said = ", ".join(f"{name} {_text(best[name][0])}" for name in names)
    table = table.with_columns(_binned(table[name]) for name in names)
    counts = {n: table[n].n_unique() for n in names if table[n].n_unique() <= MOST}
    if len(counts) < 2:
        raise DataError(f"{path}: a surface needs two parameters with 2 to {MOST} values each")
    columns, rows = sorted(counts, key=lambda name: -counts[name])[:2]
    found = table.group_by(rows, columns).agg(pl.col(measure).max())
    down, across = (found[name].unique().sort().to_list() for name in (rows, columns))
    values = np.full((len(down), len(across)), np.nan)
    for row, column, value in found.iter_rows():
        values[down.index(row), across.index(column)] = value
    return Surface(
        rows=rows,
        columns=columns,
        row_values=tuple(map(_text, down)),
        column_values=tuple(map(_text, across)),
        values=values,
        measure=measure,
        best=f"{_text(best[measure][0])} at {said}",
    )


def _table(path: Path) -> pl.DataFrame:
    reader = READERS.get(path.suffix)
    if reader is None:
        raise DataError(f"{path}: a search's results are a .study, .csv, .parquet or .json")
    try:
        return reader(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path}: it cannot be read as a table: {reason}") from None


def _study(path: Path) -> pl.DataFrame:
    """The finished sets of a search, one row each, the result as `value`."""
    try:
        import optuna
        from optuna.storages.journal import JournalFileBackend
    except ImportError:
        raise SettingError("reading a study needs Optuna: install seawall[research]") from None
    if not path.is_file():
        raise DataError(f"{path}: there is no such study")
    try:
        storage = optuna.storages.JournalStorage(JournalFileBackend(str(path)))
        (name,) = optuna.get_all_study_names(storage)
        trials = optuna.load_study(study_name=name, storage=storage).trials
        sets = [
            {**one.user_attrs[KEY]["parameters"], "value": one.value}
            for one in trials
            if one.value is not None and KEY in one.user_attrs
        ]
    except (KeyError, ValueError, TypeError) as error:
        raise DataError(f"{path}: it is no study of a search ({error})") from None
    return pl.DataFrame(sets, infer_schema_length=None) if sets else pl.DataFrame({"value": []})


def _binned(values: pl.Series) -> pl.Series:
    """Numbers that were drawn as the middles of equal bins; grids and all else as they are."""
    count = values.n_unique()
    grid = count <= MOST and 2 * len(values) >= count**2
    if count <= BINS or grid or not values.dtype.is_numeric():
        return values
    numbers = values.to_numpy().astype(np.float64)
    edges = np.linspace(numbers.min(), numbers.max(), BINS + 1)
    at = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, BINS - 1)
    return pl.Series(values.name, (edges[:-1] + edges[1:])[at] / 2.0)


def _text(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
