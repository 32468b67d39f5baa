"""Ledger against venue: what counts as a difference."""

from collections.abc import Mapping

import msgspec
import pytest

from seawall.core.clock import SECOND
from seawall.core.errors import VenueUnreachableError
from seawall.core.instruments import Catalog, Instrument, Kind, Source
from seawall.core.orders import Transfer
from seawall.core.records import Deposited, RunStarted
from seawall.ledger import Ledger
from seawall.node.foreign import Foreign
from seawall.node.reconciliation import (
    HISTORY,
    LONGEST,
    PATIENCE,
    Difference,
    Doubt,
    adjustments,
    differences,
    transfers_of,
)

SPOT = Instrument(
    venue="x", symbol="BTC/USDT", kind=Kind.SPOT, base="BTC", quote="USDT", tick="0.01", lot="0.01"
)
CATALOG = Catalog(
    instruments=(SPOT,), sources=(Source(name="x", venue="x"),), books=((0, 0),)
).check()


class Shown:
    """A venue that shows balances, and has no positions."""

    def __init__(self, balances: Mapping[str, int]) -> None:
        self.account = self
        self._balances = balances

    def balances(self) -> Mapping[str, int]:
        return self._balances

    def positions(self) -> Mapping[str, int]:
        return {}


@pytest.mark.parametrize(
    ("theirs", "found"),
    [
        ({"USDT": 100, "BNB": -3}, []),
        ({"USDT": 100}, []),  # fees in a coin that the venue leaves aside
        ({"USDT": 100, "BNB": 5}, ["BNB: ledger -3, venue 5"]),
        ({"USDT": 90}, ["USDT: ledger 100, venue 90"]),
        ({}, ["USDT: ledger 100, venue 0"]),
    ],
)
def test_a_coin_that_nothing_trades_counts_where_the_venue_shows_it(
    theirs: dict[str, int], found: list[str]
) -> None:
    ledger = Ledger()
    ledger.apply(
        RunStarted(
            ts=0, run="r", mode="live", seed=1, settings="", numeraire="USDT", instruments=(SPOT,)
        )
    )
    for asset, amount in (("USDT", 100), ("BNB", -3)):
        ledger.apply(Deposited(ts=0, asset=asset, amount=amount))
    assert [str(one) for one in differences(ledger, Shown(theirs), CATALOG)] == found


def moved(name: str, amount: int, ts: int, fee: int = 0, asset: str = "USDT") -> Transfer:
    kind = "deposit" if amount > 0 else "withdrawal"
    return Transfer(
        name=name,
        kind=kind,
        asset=asset,
        text=str(abs(amount)),
        amount=1_000 * amount,
        fee=1_000 * fee,
        ts=ts,
    )


@pytest.mark.parametrize(
    ("transfers", "names"),
    [
        ([moved("a", 40, 9 * SECOND), moved("b", 7, 8 * SECOND)], ("a",)),
        ([moved("a", 30, 9), moved("b", 10, 8), moved("c", 5, 7)], ("a", "b")),
        ([moved("a", 60, 9), moved("b", -20, 8)], ("a", "b")),
        ([moved("a", 60, 9), moved("b", -15, 8, fee=5)], ("a", "b")),
        ([moved("a", 40, 9, asset="BTC")], ()),
        ([moved("a", 41, 9)], ()),
        ([], ()),
    ],
)
def test_the_venues_transfers_say_where_cash_came_from(
    transfers: list[Transfer], names: tuple[str, ...]
) -> None:
    found = Difference("USDT", 100, 40_100, lots=False)
    (made,) = adjustments([found], CATALOG, {}, "alice (operator)", 1, transfers=transfers)
    assert (made.amount, made.kind, made.transfers) == (40_000, "deposit", names or msgspec.UNSET)
    assert made.reason.startswith("USDT: ledger 100, venue 40100")
    if names == ("a",):
        assert made.reason.endswith(": deposit of 40 USDT at 1970-01-01T00:00:09Z, id a")
    if not names:
        assert "id" not in made.reason


def test_a_transfer_explains_once_and_silence_explains_nothing() -> None:
    class Telling(Shown):
        def transfers(self, since: int) -> list[Transfer]:
            if since > 0:
                raise VenueUnreachableError("no answer")
            return [moved("old", 5, 1), moved("new", 6, 2), moved("used", 7, 3)]

    assert [t.name for t in transfers_of(Telling({}), {"used"}, 5)] == ["new", "old"]
    assert transfers_of(Telling({}), (), 2 * HISTORY) == []
    assert transfers_of(Shown({}), (), 5) == []
    seen = Foreign()
    found = Difference("USDT", 100, 40_100, lots=False)
    for record in adjustments([found], CATALOG, {}, "alice", 1, transfers=[moved("a", 40, 9)]):
        seen.apply(record)
    again = Foreign()
    again.restore(seen.state())
    assert again.transfers == {"a": "USDT"}


def stood(theirs: list[int]) -> int:
    """Seconds until a difference counts, the ledger at 0 and the venue showing these in turn."""
    doubt = Doubt()
    for second, shown in enumerate(theirs):
        found = [Difference("USD", 0, shown, lots=False)] if shown else []
        if doubt.stands("; ".join(map(str, found)), found, second * SECOND):
            return second
    return -1


def test_a_difference_counts_once_the_venue_has_shown_the_same_for_a_while() -> None:
    patience, longest = PATIENCE // SECOND, LONGEST // SECOND
    assert stood([5] * 40) == patience
    assert stood([5] * 6 + [7] * 40) == 6 + patience, "it is still catching up"
    assert stood([5] * 6 + [0] + [5] * 40) == 7 + patience
    assert stood([*range(1, 90)]) == longest, "and yet not for good"
    assert stood([5] * 9 + [0] * 40) == -1
