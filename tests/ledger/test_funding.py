"""Funding payments: conserved to the last unit, shared by the strategies, and booked once."""

from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.core.errors import InvariantError
from seawall.core.events import Side
from seawall.core.orders import Funding
from seawall.core.records import AnyRecord, FillBooked, FundingBooked
from seawall.ledger import Ledger
from tests.ledger.test_ledger import INVERSE, LINEAR, fill, histories, started, told


def funding(sequence: int, lots: int, amount: int, **more: object) -> FundingBooked:
    about = {"instrument": LINEAR.name, "asset": LINEAR.settle_asset, **more}
    return FundingBooked(
        ts=sequence,
        funding=Funding(
            sequence=sequence, lots=lots, price=1, rate=1, amount=amount, ts=sequence, **about
        ),
    )


def with_funding(history: list[AnyRecord], seed: int) -> list[AnyRecord]:
    """The same history, with payments in between on whatever is held; reports are renumbered."""
    dice, ledger, made = Random(seed), Ledger(), []
    sequence = 0
    for record in history:
        sequence += 1
        if isinstance(record, FillBooked):
            new = msgspec.structs.replace(record.fill, sequence=sequence)
            record = msgspec.structs.replace(record, fill=new)  # noqa: PLW2901
        made.append(record)
        ledger.apply(record)
        for instrument in (LINEAR, INVERSE):
            lots = ledger.position(instrument.name)
            if lots and dice.random() < 0.4:
                sequence += 1
                amount = dice.randint(-(10**9), 10**9)
                about = {"instrument": instrument.name, "asset": instrument.settle_asset}
                made.append(funding(sequence, lots, amount, **about))
                ledger.apply(made[-1])
    return made


@given(history=histories(), seed=st.integers(0, 1 << 32))
def test_every_unit_is_conserved_and_shared(history: list[AnyRecord], seed: int) -> None:
    ledger, paid = Ledger(), {}
    for record in with_funding(history, seed):
        ledger.apply(record)
        ledger.conservation()
        if isinstance(record, FundingBooked):
            asset = record.funding.asset
            paid[asset] = paid.get(asset, 0) + record.funding.amount
    assert dict(ledger.funding) == paid
    for instrument in (LINEAR, INVERSE):
        account = ledger.books().get(instrument.name)
        parts = [
            ledger.books(who)[instrument.name].funding
            for who in ledger.strategies
            if instrument.name in ledger.books(who)
        ]
        assert sum(parts) == (account.funding if account else 0)


@given(history=histories(), seed=st.integers(0, 1 << 32), cut=st.integers(0, 60))
def test_a_snapshot_goes_on_as_if_nothing_had_happened(
    history: list[AnyRecord], seed: int, cut: int
) -> None:
    records = with_funding(history, seed)
    whole, first, second = told(*records), told(*records[:cut]), Ledger()
    second.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(first.state())))
    for record in records[cut:]:
        second.apply(record)
    assert second.state() == whole.state()


def test_strategies_pay_for_what_they_hold() -> None:
    ledger = told(
        started(),
        fill(1, LINEAR, Side.BUY, 6, 100, strategy="trend"),
        fill(2, LINEAR, Side.SELL, 3, 100, strategy="flow"),
        funding(3, 3, 10),
    )
    # Three lots pay 10 units: six of a strategy's pay 20, and three short ones receive 10.
    assert ledger.books("trend")[LINEAR.name].funding == 20
    assert ledger.books("flow")[LINEAR.name].funding == -10
    assert ledger.cash[LINEAR.settle_asset] == -10
    assert ledger.last_fill_sequence("alpha") == 3


@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        (funding(1, 3, 10), "comes again or too late"),
        (funding(2, 4, 10), "the venue says 4 lots, our books 3"),
        (funding(2, 3, 10, instrument="nothing"), "not among the run's instruments"),
    ],
)
def test_what_cannot_be_booked_changes_nothing(wrong: FundingBooked, why: str) -> None:
    ledger = told(started(), fill(1, LINEAR, Side.BUY, 3, 100))
    before = ledger.state()
    with pytest.raises(InvariantError, match=why):
        ledger.apply(wrong)
    assert ledger.state() == before
