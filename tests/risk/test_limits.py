"""Limits: the least of all caps at worst-case fills; what is unknown allows reductions only."""

import math

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core.errors import SettingError
from seawall.core.intents import AnyIntent, Approved, Basket, Close, Leg, Quotes, Refused, Target
from seawall.risk.limits import Holding, Limits, approve, deleverage

EQUITY = 10_000.0
NOW = 1_000
CAPS = Limits()


def target(exposure: float, name: str = "BTC", expiry: int = NOW + 1) -> Target:
    return Target(
        strategy="rules", ts=NOW, tape=0, expiry=expiry, instrument=name, exposure=exposure
    )


def close(name: str = "BTC", expiry: int = NOW + 1) -> Close:
    return Close(strategy="rules", ts=NOW, tape=0, expiry=expiry, instrument=name)


def holding(
    lots: int = 0, buys: int = 0, sells: int = 0, value: float = 10.0, **more: object
) -> Holding:
    known: dict[str, object] = {"asset": "BTC", "mark": 100.0} | more
    return Holding(
        lots=lots,
        worst_long=lots + buys,
        worst_short=lots - sells,
        value=value,
        **known,  # type: ignore[arg-type]
    )


def one(
    intent: AnyIntent,
    holdings: dict[str, Holding],
    equity: float = EQUITY,
    limits: Limits = CAPS,
    blocks: tuple[str, ...] = (),
) -> Approved | Refused:
    approved, refused = approve([intent], holdings, equity, limits, blocks, NOW)
    assert len(approved) + len(refused) == 1
    return (approved or refused)[0]


def test_what_fits_is_approved_in_whole_lots_toward_zero() -> None:
    answer = one(target(1_009.0), {"BTC": holding()})
    assert isinstance(answer, Approved)
    assert (answer.position, answer.reduce_only, answer.capped_by) == (100, False, "")
    answer = one(target(-1_009.0), {"BTC": holding()})
    assert isinstance(answer, Approved)
    assert answer.position == -100


@pytest.mark.parametrize(
    ("wanted", "held", "limits", "position", "cap"),
    [
        (9_000.0, {}, CAPS, 200, "position"),
        (-9_000.0, {}, CAPS, -200, "position"),
        (9_000.0, {}, Limits(position=1.0, leverage=0.5), 500, "leverage"),
        (9_000.0, {"bound": 7}, CAPS, 7, "exact books"),
        (9_000.0, {"shortable": False}, CAPS, 200, "position"),
        (-900.0, {"lots": 50, "shortable": False}, CAPS, 0, "short sale"),
        (9_000.0, {"lots": 250}, CAPS, 200, "position"),
    ],
)
def test_the_least_cap_decides_and_is_named(
    wanted: float, held: dict[str, object], limits: Limits, position: int, cap: str
) -> None:
    answer = one(target(wanted), {"BTC": holding(**held)}, limits=limits)  # type: ignore[arg-type]
    assert isinstance(answer, Approved)
    assert (answer.position, answer.capped_by) == (position, cap)


def test_instruments_of_one_asset_share_its_cap_long_and_short_together() -> None:
    others = {"BTC": holding(), "BTC-PERP": holding(-150), "ETH": holding(900, asset="ETH")}
    answer = one(target(9_000.0), others)
    assert isinstance(answer, Approved)
    assert (answer.position, answer.capped_by) == (50, "position")


def test_open_orders_count_at_their_worst_each_side_for_itself() -> None:
    for orders in ({"buys": 150}, {"sells": 150}, {"buys": 150, "sells": 150}):
        others = {"BTC": holding(), "BTC-PERP": holding(**orders)}
        answer = one(target(9_000.0), others)
        assert isinstance(answer, Approved)
        assert answer.position == 50
    assert holding(100, buys=50, sells=300).worst == 200


def test_asking_again_for_what_is_being_bought_is_not_counted_twice() -> None:
    answer = one(target(2_000.0), {"BTC": holding(0, buys=200)})
    assert isinstance(answer, Approved)
    assert (answer.position, answer.capped_by) == (200, "")


def test_earlier_intents_use_up_the_room() -> None:
    holdings = {"BTC": holding(), "BTC-PERP": holding()}
    intents = [target(1_500.0), target(1_500.0, "BTC-PERP")]
    approved, refused = approve(intents, holdings, EQUITY, CAPS, (), NOW)
    assert [answer.position for answer in approved] == [150, 50]
    assert refused == []


def test_less_than_a_lot_is_refused_and_so_is_no_room() -> None:
    answer = one(target(9.99), {"BTC": holding()})
    assert answer == Refused(intent=target(9.99), reason="smaller than one lot")
    full = {"BTC": holding(), "BTC-PERP": holding(200)}
    answer = one(target(500.0), full)
    assert answer == Refused(intent=target(500.0), reason="the position cap leaves no room")


def test_less_than_a_lot_closes_what_is_held() -> None:
    answer = one(target(9.99), {"BTC": holding(5)})
    assert isinstance(answer, Approved)
    assert (answer.position, answer.reduce_only) == (0, True)


BLOCKED = [
    ("breaker flash_crash is OPEN", {}, EQUITY, ("breaker flash_crash is OPEN",)),
    ("equity is unknown", {}, math.nan, ()),
    ("there is no equity", {}, 0.0, ()),
    ("there is no equity", {}, -1.0, ()),
    ("there is no equity", {}, math.inf, ()),
    ("market is stale", {"tradable": False, "reason": "market is stale"}, EQUITY, ()),
    ("BTC cannot be traded", {"tradable": False}, EQUITY, ()),
]


@pytest.mark.parametrize(("reason", "more", "equity", "blocks"), BLOCKED)
def test_blocked_means_reductions_only(
    reason: str, more: dict[str, object], equity: float, blocks: tuple[str, ...]
) -> None:
    def ask(lots: int, wanted: float) -> Approved | Refused:
        return one(target(wanted), {"BTC": holding(lots, **more)}, equity, blocks=blocks)  # type: ignore[arg-type]

    for lots, wanted in [(0, 100.0), (0, -100.0), (10, 200.0), (-10, -200.0)]:
        assert ask(lots, wanted) == Refused(intent=target(wanted), reason=reason)
    for lots, wanted, position, capped_by in [
        (10, 50.0, 5, ""),
        (10, 100.0, 10, ""),
        (-10, -50.0, -5, ""),
        (10, 0.0, 0, ""),
        (10, -50.0, 0, reason),
        (-10, 50.0, 0, reason),
    ]:
        answer = ask(lots, wanted)
        assert isinstance(answer, Approved)
        assert (answer.position, answer.reduce_only) == (position, True)
        assert answer.capped_by == capped_by


@pytest.mark.parametrize("unknown", [{"mark": math.nan}, {"value": math.nan}, {"mark": 0.0}])
def test_an_unknown_mark_stops_new_risk_and_where_it_is_held_everywhere(
    unknown: dict[str, float],
) -> None:
    blind = holding(0, **unknown)  # type: ignore[arg-type]
    answer = one(target(100.0), {"BTC": blind})
    assert answer == Refused(intent=target(100.0), reason="mark of BTC is unknown")
    assert isinstance(one(target(100.0), {"BTC": holding(), "ETH": blind}), Approved)
    held = holding(0, buys=1, **unknown)  # type: ignore[arg-type]
    answer = one(target(100.0), {"BTC": holding(), "ETH": held})
    assert answer == Refused(intent=target(100.0), reason="mark of ETH is unknown")
    turned = one(target(-5.0), {"BTC": holding(5, **unknown)})  # type: ignore[arg-type]
    assert isinstance(turned, Approved)
    assert turned.position == 0


def test_close_is_always_approved() -> None:
    bad = {"BTC": holding(5, mark=math.nan, tradable=False)}
    answer = one(close(expiry=0), bad, math.nan, blocks=("halted",))
    assert isinstance(answer, Approved)
    assert (answer.position, answer.reduce_only) == (0, True)


def test_what_cannot_be_sized_is_refused_with_a_reason() -> None:
    head = {"strategy": "rules", "ts": NOW, "tape": 0, "expiry": NOW + 1}
    assert isinstance(one(target(math.nan), {"BTC": holding(3)}), Refused)
    assert isinstance(one(target(math.inf), {"BTC": holding(3)}), Refused)
    assert isinstance(one(target(100.0, expiry=NOW), {"BTC": holding()}), Refused)
    assert isinstance(one(target(100.0, "DOGE"), {"BTC": holding()}), Refused)
    assert isinstance(one(close("DOGE"), {"BTC": holding()}), Refused)
    quotes = Quotes(instrument="BTC", bids=(), asks=(), **head)  # type: ignore[arg-type]
    assert isinstance(one(quotes, {"BTC": holding()}), Refused)
    basket = Basket(legs=(Leg("BTC", 1), Leg("DOGE", 1)), **head)  # type: ignore[arg-type]
    assert isinstance(one(basket, {"BTC": holding()}), Refused)


def test_a_limit_must_be_a_number() -> None:
    with pytest.raises(SettingError, match="leverage"):
        Limits(leverage=math.nan)
    with pytest.raises(SettingError, match="position"):
        Limits(position=-0.1)


# --- properties ---

NAMES = ("a", "b", "c", "d")
lots = st.integers(-(10**6), 10**6)


@st.composite
def portfolios(draw: st.DrawFn) -> dict[str, Holding]:
    return {
        name: Holding(
            asset=draw(st.sampled_from("XY")),
            lots=(held := draw(lots)),
            worst_long=held + draw(st.integers(0, 10**6)),
            worst_short=held - draw(st.integers(0, 10**6)),
            mark=draw(st.sampled_from([1.0, 1.0, 1.0, math.nan])),
            value=draw(st.floats(1e-3, 1e3)),
            tradable=draw(st.sampled_from([True, True, False])),
            shortable=draw(st.booleans()),
            bound=draw(st.integers(1, 10**7)),
        )
        for name in NAMES
    }


wishes = st.lists(
    st.one_of(
        st.builds(target, st.floats(-1e9, 1e9), st.sampled_from(NAMES)),
        st.builds(target, st.floats(), st.sampled_from(NAMES)),
        st.builds(close, st.sampled_from(NAMES)),
    ),
    max_size=8,
)
equities = st.one_of(st.floats(1.0, 1e9), st.just(math.nan), st.floats(-10.0, 0.0))
limits_ = st.builds(Limits, position=st.floats(0, 1), leverage=st.floats(0, 3))
blocks_ = st.sampled_from([(), (), ("halted",)])


def filled(holdings: dict[str, Holding], approved: list[Approved]) -> dict[str, Holding]:
    """The portfolio with every approved position as an open order on top of the open ones."""
    after = dict(holdings)
    for answer in approved:
        held = after[answer.instrument]
        after[answer.instrument] = msgspec.structs.replace(
            held,
            worst_long=max(held.worst_long, answer.position),
            worst_short=min(held.worst_short, answer.position),
        )
    return after


def worst(holdings: dict[str, Holding], asset: str = "") -> float:
    return math.fsum(
        held.worst * held.value for held in holdings.values() if asset in ("", held.asset)
    )


@settings(max_examples=400, deadline=None)
@given(portfolios(), wishes, equities, limits_, blocks_)
def test_no_fills_whatever_lead_over_a_cap(
    holdings: dict[str, Holding],
    intents: list[Target | Close],
    equity: float,
    limits: Limits,
    blocks: tuple[str, ...],
) -> None:
    approved, refused = approve(intents, holdings, equity, limits, blocks, NOW)
    assert len(approved) + len(refused) == len(intents)
    assert all(answer.reason for answer in refused)
    after = filled(holdings, approved)
    for name, held in holdings.items():
        assert after[name].worst <= max(held.worst, held.bound)
    grown = [name for name in NAMES if after[name].worst > holdings[name].worst]
    if grown:
        assert not blocks
        assert equity > 0.0
        assert all(holdings[name].tradable and holdings[name].known for name in grown)
        assert worst(after) <= limits.leverage * equity * (1 + 1e-9)
        for asset in {holdings[name].asset for name in grown}:
            assert worst(after, asset) <= limits.position * equity * (1 + 1e-9)


@settings(max_examples=300, deadline=None)
@given(portfolios(), wishes, equities, limits_, blocks_)
def test_reductions_always_pass_and_never_turn(
    holdings: dict[str, Holding],
    intents: list[Target | Close],
    equity: float,
    limits: Limits,
    blocks: tuple[str, ...],
) -> None:
    for intent in intents:
        held = holdings[intent.instrument]
        answer = one(intent, holdings, equity, limits, blocks)
        if isinstance(answer, Approved) and answer.reduce_only:
            assert min(0, held.lots) <= answer.position <= max(0, held.lots)
        if isinstance(answer, Approved) and isinstance(intent, Target):
            assert abs(answer.position) * held.value <= abs(intent.exposure) or not held.known
            assert answer.position * intent.exposure >= 0.0
            assert held.shortable or answer.position >= 0 or answer.reduce_only
    for name, held in holdings.items():
        for share in (0.0, 0.25, 0.5, 1.0):
            wanted = share * held.lots * held.value
            answer = one(target(wanted, name), holdings, equity, limits, blocks)
            if (held.known and held.lots) or wanted:
                assert isinstance(answer, Approved) == held.known
            if isinstance(answer, Approved):
                assert answer.reduce_only


@settings(max_examples=300, deadline=None)
@given(portfolios(), st.floats(-1e9, 1e9), st.floats(1.0, 1e9), limits_, limits_)
def test_wider_caps_never_allow_less(
    holdings: dict[str, Holding], wanted: float, equity: float, one_: Limits, two: Limits
) -> None:
    wide = Limits(
        position=max(one_.position, two.position), leverage=max(one_.leverage, two.leverage)
    )
    narrow = one(target(wanted, "a"), holdings, equity, one_)
    broad = one(target(wanted, "a"), holdings, equity, wide)
    if isinstance(narrow, Approved):
        assert isinstance(broad, Approved)
        assert abs(broad.position) >= abs(narrow.position)


def test_deleverage_brings_gross_under_the_cap_pro_rata() -> None:
    held = {"BTC": holding(2_000), "ETH": holding(-1_000, asset="ETH"), "SOL": holding()}
    intents = deleverage(held, EQUITY, CAPS, NOW, 5, NOW + 1)
    assert [intent.instrument for intent in intents] == ["BTC", "ETH"]
    approved, refused = approve(intents, held, EQUITY, CAPS, ("breaker leverage is OPEN",), NOW)
    assert refused == []
    assert [answer.position for answer in approved] == [1_200, -600]
    assert all(answer.reduce_only for answer in approved)
    assert deleverage({"BTC": holding(2_000)}, EQUITY, CAPS, NOW, 5, NOW + 1) == []
    assert deleverage(held, math.nan, CAPS, NOW, 5, NOW + 1) == []
    blind = held | {"SOL": holding(1, mark=math.nan)}
    assert deleverage(blind, EQUITY, CAPS, NOW, 5, NOW + 1) == []
    gone = deleverage(held, -1.0, CAPS, NOW, 5, NOW + 1)
    assert all(isinstance(intent, Close) for intent in gone)
    assert len(gone) == 2
