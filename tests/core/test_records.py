"""Every record of the journal reads back as it was written."""

import typing
from typing import Any

import msgspec
import pytest

from seawall.core import records
from seawall.core.events import Side
from seawall.core.instruments import Instrument, Kind
from seawall.core.intents import (
    AnyIntent,
    Approved,
    Basket,
    Close,
    Leg,
    Level,
    Quotes,
    Refused,
    Target,
    Urgency,
)
from seawall.core.orders import Fill, Funding, Order, OrderState, OrderType, TimeInForce
from seawall.core.parents import Algorithm, Pace, Parent
from seawall.core.records import AnyRecord, decode, encode

WHEN = 1_700_000_000_123_456_789
COMMON: dict[str, Any] = {"strategy": "trend", "ts": WHEN, "tape": 7, "expiry": WHEN + 1}
INSTRUMENT = Instrument(
    venue="v", symbol="BTCUSD", kind=Kind.INVERSE, base="BTC", quote="USD", tick="0.1", lot="1"
)
BASKET = Basket(**COMMON, legs=(Leg("a", -3), Leg("b", 3)), hedged=True)
INTENTS: list[AnyIntent] = [
    Target(**COMMON, instrument="a", exposure=-0.1),
    Quotes(**COMMON, instrument="a", bids=(Level(1, 2),), asks=(Level(3, 4), Level(5, 6))),
    BASKET,
    Close(**COMMON, instrument="a", urgency=Urgency.URGENT, rationale="ü"),
]
ORDER = Order(
    client_id="r-1",
    instrument="a",
    side=Side.SELL,
    type=OrderType.LIMIT,
    size=(1 << 62) - 1,
    price=1,
    time_in_force=TimeInForce.GTD,
    post_only=True,
    reduce_only=True,
    expires=WHEN,
    accept_until=WHEN,
    replaces="r-0",
    strategy="trend",
)
FILL = Fill(
    sequence=1,
    fill_id="f",
    client_id="r-1",
    instrument="a",
    side=Side.BUY,
    price=10,
    size=2,
    fee=-3,
    fee_asset="BTC",
    maker=True,
    ts=WHEN,
)
EXAMPLES: list[AnyRecord] = [
    records.RunStarted(
        ts=WHEN,
        run="r",
        mode="paper",
        seed=1,
        settings="00",
        numeraire="USD",
        instruments=(INSTRUMENT,),
    ),
    records.Deposited(ts=WHEN, asset="USD", amount=-(10**15)),
    *(records.IntentDecided(ts=WHEN, intent=intent) for intent in INTENTS),
    records.IntentApproved(
        ts=WHEN, approved=Approved(intent=INTENTS[0], instrument="a", position=-5, capped_by="x")
    ),
    records.IntentRefused(ts=WHEN, refused=Refused(intent=INTENTS[1], reason="no")),
    records.OrderCreated(ts=WHEN, order=ORDER),
    records.OrderCreated(ts=WHEN, order=msgspec.structs.replace(ORDER, price=None)),
    records.OrderChanged(ts=WHEN, client_id="r-1", state=OrderState.UNKNOWN, venue_sequence=9),
    records.FillBooked(ts=WHEN, fill=FILL, strategy="trend"),
    records.LedgerAdjusted(
        ts=1,
        kind="deposit",
        reason="ledger 0, venue 5",
        who="operator (admin)",
        asset="USDT",
        amount=5,
    ),
    records.OrderAdopted(ts=1, client_id="web-1", instrument="BTCUSDT@x", who="operator (admin)"),
    records.FundingBooked(
        ts=WHEN,
        funding=Funding(
            sequence=2,
            instrument="a",
            lots=-2,
            price=10,
            rate=-(10**8),
            amount=-1,
            asset="BTC",
            ts=WHEN,
        ),
    ),
    records.ParentBegan(
        ts=WHEN,
        parent=Parent(
            parent_id="a-p1",
            instrument="a",
            side=Side.BUY,
            lots=100,
            held=-3,
            pace=Pace(algorithm=Algorithm.VWAP, horizon=60, slices=2),
            seed=7,
            start=WHEN,
            bid=9,
            ask=10,
            decided=WHEN,
            strategy="x",
            weights=(0.25, 0.75),
        ),
    ),
    records.ParentEnded(ts=WHEN, parent_id="a-p1", reason="over"),
    records.LotsTransferred(
        ts=WHEN, instrument="a", giver="x", taker="y", lots=3, price=10, reason="netted"
    ),
    records.StrategyStopped(ts=WHEN, strategy="x", reason="it failed"),
    records.StopWatched(ts=WHEN, instrument="a", strategy="x", price=9, reason="not offered"),
    records.StopOutEnded(ts=WHEN, instrument="a", strategy="x"),
    records.BasketMoved(ts=WHEN, basket=BASKET, start={"a": 1}, wanted={"a": -2}, state="leading"),
    records.BreakerChanged(
        ts=WHEN,
        name="drawdown",
        scope="portfolio",
        key="",
        state="open",
        measure=0.1 + 0.2,
        threshold=0.3,
        reason="it fell",
        since=WHEN,
    ),
    records.OperatorCommanded(ts=WHEN, command="ban", arguments={"source": "x"}, who="me"),
    records.SourceJudged(
        ts=WHEN, source="s", trust=0.1 + 0.2, standing=1, score=2.5, reason="x", since=1, until=2
    ),
    records.ReferenceMade(ts=WHEN, group="BTC", name="00", reference=bytes(range(256))),
    records.ModelUpdated(
        ts=WHEN,
        group="BTC",
        decision="learned",
        reason="",
        rows=1000,
        shift=0.1,
        corroboration=0.8,
        influence={"s": 1e-300},
        model=b"m",
        reference="00",
        certificate=b"c",
    ),
    records.ModelRolledBack(
        ts=WHEN, group="BTC", to=0, reason="s rejected", corroboration=0.2, model=b"m"
    ),
    records.Digest(
        ts=WHEN, tape=10**12, frames="ff", marks={"a": 1e-300}, equity=-0.0, peak=float("inf")
    ),
    records.Halted(ts=WHEN, reason=""),
    records.AccountsOpened(ts=WHEN, accounts={"left": ("a@x", "b@x"), "right": ("a@y",)}),
    records.CashTransferred(
        ts=WHEN, giver="left", taker="right", asset="USD", amount=10**18, who="ada"
    ),
    records.RunStopping(ts=WHEN, reason="asked to", flatten=True),
    records.RunStopped(ts=WHEN, reason="done", open_orders=("r-1", "r-2")),
]


def test_there_is_an_example_of_each_type() -> None:
    assert {type(example) for example in EXAMPLES} == set(typing.get_args(AnyRecord))
    assert {type(intent) for intent in INTENTS} == set(typing.get_args(AnyIntent))


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: type(example).__name__)
def test_a_record_reads_back(example: AnyRecord) -> None:
    again = decode(encode(example))
    assert again == example
    assert type(again) is type(example)
    assert encode(again) == encode(example)  # the hash chain rests on it


def test_an_account_is_only_named_where_there_are_several() -> None:
    """The bytes, and with them the hash of a journal of one account, are what they always were."""
    for plain, named in (
        (records.Halted(ts=WHEN, reason="r"), {"account": "left"}),
        (records.Deposited(ts=WHEN, asset="USD", amount=1), {"account": "left"}),
        (records.LedgerAdjusted(ts=WHEN, kind="dust", reason="r", who="w"), {"account": "left"}),
    ):
        fields = msgspec.msgpack.decode(encode(plain))
        unsaid = ("account", "transfers")
        told = [field for field in plain.__struct_fields__ if field not in unsaid]
        assert list(fields) == ["record", *told]
        again = decode(encode(msgspec.structs.replace(plain, **named)))
        assert again.account == "left"


def test_records_tell_themselves_apart_by_a_name_that_never_changes() -> None:
    tags = [msgspec.msgpack.decode(encode(example))["record"] for example in EXAMPLES]
    assert sorted(set(tags)) == [
        "accounts",
        "adjusted",
        "approved",
        "basket_moved",
        "breaker",
        "cash_transferred",
        "deposited",
        "digest",
        "fill",
        "funding",
        "halted",
        "intent",
        "model_rolled_back",
        "model_updated",
        "operator",
        "order_adopted",
        "order_changed",
        "order_created",
        "parent_began",
        "parent_ended",
        "reference_made",
        "refused",
        "run_started",
        "run_stopped",
        "run_stopping",
        "source_judged",
        "stop_out_ended",
        "stop_watched",
        "strategy_stopped",
        "transfer",
    ]


def test_an_older_record_without_a_newer_field_takes_its_default() -> None:
    plain = msgspec.msgpack.decode(
        encode(records.OrderChanged(ts=WHEN, client_id="r-1", state=OrderState.NEW, filled=1))
    )
    del plain["filled"], plain["reason"], plain["venue_sequence"]
    again = decode(msgspec.msgpack.encode(plain))
    assert again == records.OrderChanged(ts=WHEN, client_id="r-1", state=OrderState.NEW)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00", b"not a record", encode(EXAMPLES[0])[:-1], msgspec.msgpack.encode({"ts": 1})],
)
def test_other_bytes_are_no_record(data: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode(data)


def test_an_unknown_record_is_refused() -> None:
    with pytest.raises(msgspec.DecodeError, match="record"):
        decode(msgspec.msgpack.encode({"record": "from the future", "ts": 1}))
