"""Tables from files: read with errors a user can act on, and turned into exact integers.

What the importers share lives here.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import polars as pl
from numpy.typing import NDArray

from seawall.core.errors import DataError, SettingError
from seawall.core.events import EventFlag
from seawall.core.instruments import PRODUCT_LIMIT, Catalog, Instrument, Kind, Source

FINEST = 12  # decimals that are looked for in prices and sizes
PROVABLE = 1e14  # beyond it every float64 is within two units of its last place of an integer
TICKS_MOST = 1 << 40  # a price of so many ticks or more is refused by admission
TIME_NAMES = ("ts", "time", "timestamp", "date", "datetime", "open_time")
NS_PER = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
QUOTES = ("USDT", "USDC", "FDUSD", "BUSD", "TUSD", "DAI", "USD", "EUR", "GBP", "JPY", "BTC", "ETH")
READERS: Mapping[str, str] = {
    ".parquet": "parquet",
    ".pq": "parquet",
    ".feather": "ipc",
    ".arrow": "ipc",
    ".ipc": "ipc",
    ".csv": "csv",
    ".txt": "csv",
}


@dataclass(frozen=True, slots=True)
class Imported:
    """What an importer has read.

    Attributes:
        catalog: instruments, sources and books of the rows.
        rows: dtype EVENT, in the tape's order.
        notes: one line each on what a person should know (gaps, rows left out).
    """

    catalog: Catalog
    rows: NDArray[Any]
    notes: tuple[str, ...] = ()


def read_frame(path: Path) -> pl.DataFrame:
    """A table from Parquet, feather (Arrow IPC) or CSV (may be gzipped; all columns as text).

    Raises:
        DataError: no such file, unreadable, truncated, of no known kind, or without rows.
    """
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "no such file"
        raise DataError(f"{path}: {what}; check the path")
    suffixes = [s.lower() for s in path.suffixes if s.lower() != ".gz"]
    reader = READERS.get(suffixes[-1] if suffixes else "")
    if reader is None:
        raise DataError(
            f"{path}: not a kind of file that is known here; give Parquet (.parquet), feather "
            "(.feather) or CSV (.csv, .csv.gz)"
        )
    if path.stat().st_size == 0:
        raise DataError(f"{path}: the file is empty; export or download it again")
    try:
        if reader == "csv":
            frame = pl.read_csv(path, infer_schema=False)
        elif reader == "ipc":
            frame = pl.read_ipc(path)
        else:
            frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(
            f"{path}: cannot be read as {reader}, it is truncated or damaged "
            f"({_first_line(error)}); export or download it again"
        ) from error
    if frame.height == 0:
        raise DataError(f"{path}: has no rows; export or download it again")
    return frame


def expanded(paths: Sequence[Path]) -> list[Path]:
    """Files as given, folders as the tables in them. Raises DataError where nothing is there."""
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += sorted(p for p in path.iterdir() if p.suffix in READERS)
        elif path.exists():
            files.append(path)
        else:
            raise DataError(f"{path}: no such file; check the path")
    return files


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or ["no reason given"])[0][:120]


def column(frame: pl.DataFrame, name: str, where: str) -> pl.Series:
    """One column.

    Raises:
        DataError: it is not there; the message lists those that are.
    """
    if name not in frame.columns:
        raise DataError(
            f"{where}: no column {name!r}; it has {', '.join(frame.columns)}: name the right one "
            "with --columns"
        )
    return frame[name]


def numbers(
    frame: pl.DataFrame, name: str, where: str, *, zero: bool = False
) -> NDArray[np.float64]:
    """A column of finite, positive float64.

    Args:
        zero: whether 0 is legal (sizes that remove a level, volumes).

    Raises:
        DataError: a value is missing, not a number, not finite, negative or an illegal zero.
    """
    series = column(frame, name, where)
    values = series.cast(pl.Float64, strict=False).to_numpy() if _castable(series) else None
    if values is None:
        raise DataError(f"{where}: column {name!r} holds {series.dtype}, not numbers; map another")
    bad = ~(values >= 0.0 if zero else values > 0.0) | ~np.isfinite(values)
    if bad.any():
        row = int(np.argmax(bad))
        least = "0 or more" if zero else "more than 0"
        raise DataError(
            f"{where}: column {name!r}, row {row + 1} is {series[row]!r}, it must be a number, "
            f"{least}; correct the file"
        )
    return np.asarray(values, dtype=np.float64)


def _castable(series: pl.Series) -> bool:
    return series.dtype.is_numeric() or series.dtype == pl.String


def whole_numbers(frame: pl.DataFrame, name: str, where: str) -> NDArray[np.int64]:
    """A column of integers (ids). Raises DataError with the row of the first that is none."""
    series = column(frame, name, where)
    values = series.cast(pl.Int64, strict=False) if _castable(series) else None
    if values is None or values.null_count():
        row = 0 if values is None else int(values.is_null().arg_max() or 0)
        raise DataError(
            f"{where}: column {name!r}, row {row + 1} is {series[row]!r}, not an integer; correct "
            "the file or map another column"
        )
    return values.to_numpy().astype(np.int64)


def times(frame: pl.DataFrame, name: str, where: str, unit: str = "auto") -> NDArray[np.int64]:
    """A column of times, ns UTC.

    Args:
        unit: s, ms, us or ns since 1970; ``iso`` for text; ``auto`` tells them apart by type and
            magnitude (right for 1973 to 5138). A datetime without a zone is taken as UTC.

    Raises:
        DataError: a value is missing or is no time.
        SettingError: an unknown unit.
    """
    if unit not in ("auto", "iso", *NS_PER):
        raise SettingError(f"time unit {unit!r} is unknown; use auto, s, ms, us, ns or iso")
    series = column(frame, name, where)
    if series.dtype.is_temporal():
        stamps = series.cast(pl.Datetime("ns", getattr(series.dtype, "time_zone", None)))
        found = stamps.dt.epoch("ns")
    else:
        number = series.cast(pl.Float64, strict=False) if _castable(series) else None
        if unit == "iso" or number is None or number.is_null().all():
            found = _iso(series)
        else:
            found = _epoch(series, number, unit)
    if found.null_count():
        row = int(found.is_null().arg_max() or 0)
        raise DataError(
            f"{where}: column {name!r}, row {row + 1} is {series[row]!r}, not a time; correct the "
            "file or give --time-unit"
        )
    return found.to_numpy().astype(np.int64)


def _iso(series: pl.Series) -> pl.Series:
    """Text such as ``2024-08-08 23:54:16.2Z`` → ns."""
    text = series.cast(pl.String).str.replace(" UTC$", "Z").str.replace(r"[+-]00:?00$", "Z")
    parsed = text.str.replace("T", " ").str.strip_suffix("Z").str.to_datetime(
        "%Y-%m-%d %H:%M:%S%.f", time_unit="ns", strict=False
    )  # fmt: skip
    days = text.str.to_datetime("%Y-%m-%d", time_unit="ns", strict=False)
    return parsed.fill_null(days).dt.epoch("ns")


def _epoch(series: pl.Series, number: pl.Series, unit: str) -> pl.Series:
    """Numbers since 1970 → ns, through integers where the values are integers."""
    if unit == "auto":
        size = abs(float(number.drop_nulls().median() or 0.0))  # type: ignore[arg-type]
        unit = "s" if size < 1e11 else "ms" if size < 1e14 else "us" if size < 1e17 else "ns"
    exact = series.cast(pl.Int64, strict=False)
    if series.dtype.is_float() or exact.null_count() > number.null_count():
        finite = number.set(~number.is_finite().fill_null(value=False), None)
        return (finite * NS_PER[unit]).round().cast(pl.Int64, strict=False)
    return exact * NS_PER[unit]


def refuse_unsorted(ts: NDArray[np.int64], where: str, *, strict: bool = False) -> None:
    """Raise DataError at the first row whose time goes back (or, `strict`, stands still)."""
    steps = np.diff(ts)
    bad = np.flatnonzero(steps <= 0 if strict else steps < 0)
    if len(bad):
        row = int(bad[0]) + 1
        what = "repeats the time of" if ts[row] == ts[row - 1] else "is earlier than"
        raise DataError(
            f"{where}: row {row + 1} ({when(int(ts[row]))}) {what} the row before it; sort the "
            "table by time and drop repeated rows"
        )


def decimals(*columns: NDArray[np.float64]) -> int | None:
    """How many decimals write all values exactly, at most FINEST; None where none does.

    A value counts as n / 10^k if it lies within two units in the last place of it, as a decimal
    does after its way through float64. Values too large for their decimals to be proven in float64
    (beyond PROVABLE in units of the last decimal) have none.
    """
    count = 0
    for values in columns:
        if len(values) == 0:
            continue
        greatest = float(np.max(np.abs(values)))
        while not _fits(values, Fraction(1, 10**count)):
            count += 1
            if count > FINEST or greatest * 10.0**count > PROVABLE:
                return None
    return count


def _fits(values: NDArray[np.float64], increment: Fraction) -> bool:
    back = _multiples(values, increment) * float(increment.numerator) / float(increment.denominator)
    return bool(np.all(np.abs(values - back) <= 2.0 * np.spacing(np.abs(values))))


def _multiples(values: NDArray[np.float64], increment: Fraction) -> NDArray[np.float64]:
    return np.rint(values * float(increment.denominator) / float(increment.numerator))


def increment_of(places: int) -> str:
    """The decimal string of 10^-places."""
    return "1" if places <= 0 else "0." + "0" * (places - 1) + "1"


def infer_increment(where: str, *columns: NDArray[np.float64]) -> str:
    """The greatest power of ten, at most 1, that all values are multiples of.

    Raises:
        DataError: there is none of up to FINEST decimals.
    """
    places = decimals(*columns)
    if places is None:
        raise DataError(
            f"{where}: values have no common increment of up to {FINEST} decimals, so they cannot "
            "be kept exactly; round them to what the venue trades"
        )
    return increment_of(places)


def to_units(values: NDArray[np.float64], increment: str, where: str) -> NDArray[np.int64]:
    """Integers n with value = n x increment.

    Raises:
        DataError: a value is not a multiple of the increment.
    """
    step = Fraction(increment)
    if not _fits(values, step):
        back = _multiples(values, step) * float(step.numerator) / float(step.denominator)
        row = int(np.argmax(np.abs(values - back) > 2.0 * np.spacing(np.abs(values))))
        raise DataError(
            f"{where}: row {row + 1} is {float(values[row])!r}, not a multiple of {increment}; "
            "correct the file"
        )
    return _multiples(values, step).astype(np.int64)


def check_increment(increment: str, where: str) -> None:
    """Raise SettingError where a given increment is neither empty nor a positive decimal."""
    if increment and not re.fullmatch(r"(?=.*[1-9])\d{1,12}(\.\d{1,12})?", increment):
        raise SettingError(f"{where} {increment!r} is not a positive decimal; give such as 0.01")


def check_ticks(prices: NDArray[np.float64], tick: str, where: str) -> None:
    """Raise DataError where a price counts too many ticks to be admitted."""
    greatest = float(prices.max(initial=0.0))
    if greatest / float(Fraction(tick)) >= TICKS_MOST:
        raise DataError(
            f"{where}: prices up to {greatest:g} are as fine as {tick}, which is too fine to be "
            "kept exactly; round them with --tick, such as --tick 0.01"
        )


def check_product(ticks: NDArray[np.int64], lots: NDArray[np.int64], where: str) -> None:
    """Raise DataError where |ticks x lots| leaves no room in int64."""
    if len(ticks) and len(lots) and int(ticks.max()) * int(lots.max()) >= PRODUCT_LIMIT:
        raise DataError(
            f"{where}: prices x sizes are too large in units of their increments; round the sizes "
            "to a coarser increment"
        )


def split_symbol(symbol: str, quote: str = "") -> tuple[str, str]:
    """(base, quote) of a symbol such as BTCUSDT, BTC/USDT, BTC-PERP or BTCUSD_PERP.

    Raises:
        DataError: the quote asset cannot be told.
    """
    text = re.sub(r"([-_/: ]?(PERP|SWAP))$|(:\w+)$", "", symbol.upper())
    for candidate in (quote.upper(),) if quote else QUOTES:
        base = text.removesuffix(candidate).rstrip("-_/ ")
        if text.endswith(candidate) and base.isalnum():
            return base, candidate
    if quote and text.isalnum():
        return text, quote.upper()
    raise DataError(
        f"unknown symbol {symbol!r}: its base and quote cannot be told apart; name the instrument "
        "with --symbol and its quote asset with --quote"
    )


def pick_symbols(at_hand: Sequence[str], wanted: Sequence[str], where: str) -> list[str]:
    """The symbols to import: `wanted`, or all. Raises DataError where one is not at hand."""
    for symbol in wanted:
        if symbol not in at_hand:
            listed = ", ".join(list(at_hand)[:12]) + (", ..." if len(at_hand) > 12 else "")
            raise DataError(f"{where}: unknown symbol {symbol!r}; it has {listed}")
    return list(wanted) or list(at_hand)


def fit_decimals(instruments: Sequence[Instrument]) -> tuple[Instrument, ...]:
    """Instruments whose assets' smallest units hold tick x lot exactly, one unit per asset."""
    need: dict[str, int] = {}

    def hold(asset: str, value: Fraction) -> None:
        places = need.get(asset, 8)
        while (value * 10**places).denominator != 1:
            places += 1
        need[asset] = places

    for one in instruments:
        if one.kind is not Kind.INVERSE:
            hold(one.settle_asset, one.tick_value * one.lot_value * Fraction(one.multiplier))
        if one.kind is Kind.SPOT:
            hold(one.base, one.lot_value)
    return tuple(
        msgspec.structs.replace(
            one,
            settle_decimals=need.get(one.settle_asset, 8),
            base_decimals=need.get(one.base, 8),
        )
        for one in instruments
    )


def catalog_of(instruments: Sequence[Instrument], sources: Sequence[Source]) -> Catalog:
    """A catalog with a book of each instrument at the one source of its venue."""
    index = {source.venue: i for i, source in enumerate(sources)}
    books = tuple((i, index[one.venue]) for i, one in enumerate(instruments))
    return Catalog(
        instruments=fit_decimals(instruments), sources=tuple(sources), books=books
    ).check()


def when(ns: int) -> str:
    """A time for people: ``2024-08-08 23:54:16``, UTC."""
    return str(np.datetime64(ns // 1_000_000_000, "s")).replace("T", " ")


def length(ns: int) -> str:
    """A span for people: ``243 d 0.2 h``, ``5.1 min``, ``3.2 s``."""
    seconds = ns / 1e9
    if seconds >= 86_400:
        return f"{int(seconds // 86_400)} d {seconds % 86_400 / 3600:.1f} h"
    if seconds >= 3600:
        return f"{seconds / 3600:.1f} h"
    return f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.1f} s"


def by_symbol(
    path: Path, symbol_column: str, symbols: Sequence[str]
) -> list[tuple[str, pl.DataFrame]]:
    """The rows of each wanted symbol in a file.

    A file without a symbol column is named by `symbols` if that is one, else by its own name.

    Raises:
        DataError: unreadable, or a wanted symbol is not in it.
    """
    frame = read_frame(path)
    if symbol_column in frame.columns:
        at_hand = [str(s) for s in frame[symbol_column].unique(maintain_order=True)]
        chosen = pick_symbols(at_hand, symbols, str(path))
        return [(s, frame.filter(pl.col(symbol_column) == s)) for s in chosen]
    if len(symbols) == 1:
        return [(symbols[0], frame)]
    symbol = path.name.split(".")[0].upper()
    return [(symbol, frame)] if not symbols or symbol in symbols else []


def message_flags(ids: NDArray[np.int64]) -> NDArray[np.uint16]:
    """BEGIN and END of messages, rows of one id being one message."""
    change = np.flatnonzero(np.diff(ids)) + 1
    flags = np.zeros(len(ids), dtype=np.uint16)
    if len(ids):
        flags[np.concatenate([[0], change])] |= np.uint16(EventFlag.BEGIN)
        flags[np.concatenate([change, [len(ids)]]) - 1] |= np.uint16(EventFlag.END)
    return flags
