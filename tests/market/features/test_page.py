"""The page about features: its table is the code's, its worked example is what the kernels say."""

from pathlib import Path

import numpy as np
import pytest

from seawall.core.clock import SECOND
from seawall.market.features import BASIC, COLUMNS, FEATURES, TABLE, features_of, matrix
from seawall.market.features.feature_kernels import BUCKETS, SPREADS
from seawall.market.features.table import markdown
from tests.tapes import BUY, SELL, Rows, at, catalog_of, depth, snapshot, tape, tick, trade

PAGE = (Path(__file__).parents[3] / "docs" / "features.md").read_text(encoding="utf-8")
SIDES = {"bid": BUY, "buy": BUY, "ask": SELL, "sell": SELL, "unknown": 2}


def lines_under(header: str) -> list[list[str]]:
    """Cells of the page's table whose header begins so, without header and rule."""
    lines = PAGE.splitlines()
    (first,) = (i for i, line in enumerate(lines) if line.startswith(header))
    body = []
    for line in (lines[first], *lines[first + 2 :]):
        if not line.startswith("|"):
            break
        body.append([cell.strip() for cell in line.strip("|").split("|")])
    return body


def test_the_table_on_the_page_is_that_of_the_code() -> None:
    assert markdown() in PAGE


def test_seventy_columns_are_the_common_ones_and_come_first() -> None:
    assert BASIC == 70
    assert all(one.basic for one in TABLE[: sum(one.basic for one in TABLE)])
    sizes: dict[str, int] = {}
    for one in TABLE:
        sizes[one.group] = sizes.get(one.group, 0) + len(one.columns)
    assert sizes.pop("more") == len(COLUMNS) - 70
    assert sizes == {
        "order flow": 30,
        "price": 5,
        "fair value": 3,
        "volume and spread": 10,
        "queue": 10,
        "volatility": 12,
    }


def test_each_feature_stands_once_and_says_everything() -> None:
    assert len(set(COLUMNS)) == len(COLUMNS) == FEATURES.itemsize // 8
    assert FEATURES.names == tuple(one.name for one in TABLE)
    for one in TABLE:
        assert one.unit
        assert one.formula
        assert one.source
    assert f"{len(COLUMNS)} columns" in PAGE


def told() -> Rows:
    """The tape on the page."""
    messages: dict[tuple[str, str], list[list[str]]] = {}
    for cells in lines_under("| second | row |")[1:]:
        messages.setdefault((cells[0], cells[1]), []).append(cells)
    rows = []
    for number, ((second, kind), lines) in enumerate(messages.items()):
        levels = [(SIDES[side], int(price), int(lots)) for _, _, side, price, lots in lines]
        if kind == "snapshot":
            bids = {price: lots for side, price, lots in levels if side == BUY}
            asks = {price: lots for side, price, lots in levels if side == SELL}
            rows.append(snapshot(at(float(second)), number, bids, asks))
        elif kind == "trade":
            rows.append(trade(at(float(second)), number, *levels[0]))
        else:
            rows.append(depth(at(float(second)), number, *levels, previous=0))
    return tape(*rows, tick(at(12.5)))


def test_the_small_tape_says_what_was_worked_out_by_hand() -> None:
    frames, features = features_of(catalog_of(("USD",)), [told()])
    seconds = ((frames["ts"] - at(0)) // SECOND).tolist()
    assert seconds == list(range(1, 13))
    values = matrix(features)
    header, *lines = lines_under("| second | ofi_l1 |")
    assert len(lines) == 9
    for line in lines:
        row = values[seconds.index(int(line[0]))]
        for name, cell in zip(header[1:], line[1:], strict=True):
            got = row[COLUMNS.index(name)]
            if cell == "–":
                assert np.isnan(got), (line[0], name)
            else:
                assert got == pytest.approx(float(cell), abs=6e-7), (line[0], name)


def test_every_column_is_written() -> None:
    """The kernels write all columns of the table: none stays NaN in a market that moves."""
    random = np.random.default_rng(5)
    mid, rows, number = 1000, [snapshot(at(0), 1, {999: 5}, {1001: 5})], 1
    for step in range(1, 1_500):
        side = int(random.integers(0, 2))
        mid += int(random.integers(-1, 2))
        bids = {mid - 1 - k: int(random.integers(1, 9)) for k in range(12)}
        asks = {mid + 1 + k: int(random.integers(1, 9)) for k in range(12)}
        number += 1
        rows.append(snapshot(at(step - 0.5), number, bids, asks))
        price = mid + 1 if side == BUY else mid - 1
        rows.append(trade(at(step - 0.4), number, side, price, 1 + step % 7))
    table = {0: np.zeros((SPREADS, BUCKETS))}
    _, features = features_of(catalog_of(("USD",)), [tape(*rows)], micro_prices=table)
    never = np.isnan(matrix(features)).all(axis=0)
    assert [name for name, all_nan in zip(COLUMNS, never, strict=True) if all_nan] == []
