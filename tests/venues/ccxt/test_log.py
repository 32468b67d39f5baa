"""The venue's log: every kill leaves a file from which each trade has one number, once."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seawall.core.errors import StoreError
from seawall.core.events import Side
from seawall.core.orders import Fill
from seawall.venues.ccxt.log import VenueLog, key_of

ACCOUNT = "binance spot"


def fill(number: int) -> Fill:
    return Fill(
        sequence=0,
        fill_id=str(number),
        client_id="a-1",
        instrument="BTC/USDT@binance",
        side=Side.BUY,
        price=100,
        size=1,
        fee=number,
        fee_asset="BNB",
        maker=False,
        ts=number,
    )


def hear(log: VenueLog, number: int) -> int | None:
    one = fill(number)
    movement = log.hear(key_of(one, one.fill_id), one)
    return None if movement is None else movement.sequence


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    trades=st.lists(st.integers(1, 12), max_size=20),
    cut=st.integers(0, 400),
    more=st.lists(st.integers(1, 12), max_size=10),
)
def test_a_kill_at_any_byte_neither_loses_nor_doubles(
    tmp_path: Path, trades: list[int], cut: int, more: list[int]
) -> None:
    path = tmp_path / "venue.log"
    path.unlink(missing_ok=True)
    log = VenueLog(path, ACCOUNT, 7)
    heard = [n for n in trades if hear(log, n) is not None]
    assert heard == list(dict.fromkeys(trades))
    log.close()
    whole = path.read_bytes()
    path.write_bytes(whole[: max(0, len(whole) - cut)])  # the end was on its way to the disk

    again = VenueLog(path, ACCOUNT, 8)
    kept = [m.fill_id for m in again.movements if isinstance(m, Fill)]
    assert kept == [str(n) for n in heard][: len(kept)]
    for number in [*heard, *more]:  # the exchange tells everything again
        hear(again, number)
    again.close()
    last = VenueLog(path, ACCOUNT, 9)
    names = [m.fill_id for m in last.movements if isinstance(m, Fill)]
    assert len(set(names)) == len(names)
    assert set(names) == {str(n) for n in [*heard, *more]}
    numbers = [m.sequence for m in last.movements]
    assert numbers == sorted(set(numbers))
    assert last.after(numbers[0] if numbers else 0) == last.movements[1:]
    last.close()


def test_numbers_go_on_behind_the_journals(tmp_path: Path) -> None:
    log = VenueLog(tmp_path / "venue.log", ACCOUNT, 7, after=40)
    assert hear(log, 1) == 41
    assert log.next() == 42
    assert hear(log, 2) == 43
    log.leave("a-1", "BTC/USDT@binance", 5)
    log.close()
    again = VenueLog(tmp_path / "venue.log", ACCOUNT, 8, after=50)
    assert hear(again, 2) is None
    assert hear(again, 3) == 51
    assert again.left["a-1"].ts == 5
    assert again.opened == 7
    again.close()


def test_another_accounts_file_and_a_damaged_one_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "venue.log"
    log = VenueLog(path, ACCOUNT, 7)
    for number in range(5):
        hear(log, number)
    log.close()
    with pytest.raises(StoreError, match="not of the account kraken spot"):
        VenueLog(path, "kraken spot", 8)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged at byte"):
        VenueLog(path, ACCOUNT, 8)
