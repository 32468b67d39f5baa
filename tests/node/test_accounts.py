"""Several accounts in one node: each with its own venue, books and halts, one risk over all."""

import math
from collections import defaultdict
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from seawall.core.clock import SECOND
from seawall.core.commands import ADOPT, Command
from seawall.core.errors import SettingError, VenueUnreachableError
from seawall.core.events import Side
from seawall.core.orders import Fill
from seawall.core.records import (
    AccountsOpened,
    CashTransferred,
    Deposited,
    FillBooked,
    Halted,
    IntentApproved,
    LedgerAdjusted,
    OrderCreated,
)
from seawall.core.settings import AccountSettings, ExecutionSettings, Settings, VenueSettings, load
from seawall.node.books import Books
from seawall.node.division import divided_of, venue_of
from seawall.node.node import Node
from seawall.risk.breakers import BREAKERS
from seawall.storage import MemoryJournal
from seawall.storage.recorder import recover
from tests.node.short_runs import QUICK, START, node_on, records, tape

A, B = "BTC/USD@sim-a", "BTC/USD@sim-b"
CHEAP = VenueSettings(taker_fee_ppm=100)
LEFT = AccountSettings(name="left", venues=("sim-a",), capital=Decimal(60_000))
RIGHT = AccountSettings(name="right", venues=("sim-b",), capital=Decimal(40_000), venue=CHEAP)
DECISION = QUICK.decision.model_copy(update={"instruments": (A, B)})
TWO = QUICK.model_copy(update={"accounts": (LEFT, RIGHT), "decision": DECISION})


class Line:
    """A venue whose line can be cut, whose balances can move, and that can report too much."""

    def __init__(self, venue: Any, clock: Any) -> None:
        self.venue, self.clock = venue, clock
        self.engine = venue.engine
        self.cut = (math.inf, -math.inf)  # seconds of the tape: from, to
        self.moved: dict[str, tuple[float, int]] = {}  # asset → from when on, how much
        self.strange: Fill | None = None
        self.gateway = self.account = self.stream = self

    @property
    def second(self) -> float:
        return (self.clock.now() - START) / SECOND

    def __getattr__(self, name: str) -> Any:
        cut = self.cut[0] <= self.second < self.cut[1]
        if cut and name in ("place", "cancel", "replace", "orders", "fills", "poll", "positions"):
            raise VenueUnreachableError("cut")
        return getattr(self.venue, name)

    def poll(self, until: int) -> Any:
        found = self.__getattr__("poll")(until)
        if self.strange is not None and self.second >= 100:
            found, self.strange = [*found, self.strange], None
        return found

    def balances(self) -> dict[str, int]:
        self.__getattr__("positions")
        found = dict(self.venue.balances())
        for asset, (since, amount) in self.moved.items():
            if self.second >= since:
                found[asset] = found.get(asset, 0) + amount
        return found


class Market:
    """A node on two accounts whose venues can be disturbed."""

    def __init__(self, seconds: int = 300, settings: Settings = TWO, **about: Any) -> None:
        self.lines: dict[str, Line] = {}

        def opened(settings: Settings, catalog: Any, deposits: Any, clock: Any, *rest: Any) -> Any:
            venue = venue_of(settings, catalog, deposits, clock, *rest)
            line = Line(venue, clock)
            self.lines[settings.accounts[0].name] = line
            return line

        self.node = node_on(*tape(seconds), settings, exchange=opened, **about)

    def fills(self) -> dict[str, list[float]]:
        """Instrument → seconds of its fills."""
        found = defaultdict(list)
        for record in records(self.node, FillBooked):
            found[record.fill.instrument].append((record.ts - START) / SECOND)
        return found


def agree(node: Node) -> None:
    """Each account equals its venue to the last unit, and together they are the whole."""
    books = node.action.books
    books.conservation()
    assert node.action.disagreements() == []
    total: dict[str, int] = defaultdict(int)
    for desk in node.action.accounts:
        cash = {a: n for a, n in desk.share.ledger.cash.items() if n}
        assert cash == {a: n for a, n in desk.venue.account.balances().items() if n}
        held = dict(desk.venue.account.positions())
        assert desk.share.ledger.positions == held or not held
        assert set(desk.share.ledger.positions) <= set(desk.instruments)
        for asset, units in cash.items():
            total[asset] += units
    assert {a: n for a, n in books.ledger.cash.items() if n} == total


def test_two_accounts_trade_their_own_instruments_under_one_risk():
    most = defaultdict(float)

    def look(node: Node, seen: Any) -> None:
        held = node.action.holdings().values()
        for one in held:
            most[one.asset] = max(most[one.asset], sum(h.worst * h.value for h in held if h.worst))

    node = node_on(*tape(300), TWO, watch=look)
    summary = node.run()
    agree(node)
    assert records(node, Halted) == []
    by_account = {desk.name: desk.share for desk in node.action.accounts}
    counted = {name: share.orders.created for name, share in by_account.items()}
    assert min(counted.values()) > 10
    assert sum(counted.values()) == node.action.books.orders.created
    assert 0 < most["BTC"] <= 1.02 * TWO.risk.max_position_size * 100_000
    ids = [record.order.client_id for record in records(node, OrderCreated)]
    assert len(set(ids)) == len(ids)
    for record in records(node, OrderCreated):
        letter = {A: "a", B: "b"}[record.order.instrument]
        assert record.order.client_id.startswith(f"r{letter}-")
    (opened,) = records(node, AccountsOpened)
    assert opened.accounts == {"left": (A,), "right": (B,)}
    deposits = {(r.account, r.asset): r.amount for r in records(node, Deposited)}
    assert deposits["left", "USD"] * 2 == deposits["right", "USD"] * 3
    fees = {name: share.ledger.fees["USD"] for name, share in by_account.items()}
    volume = {n: sum(b.volume for b in s.ledger.books().values()) for n, s in by_account.items()}
    assert fees["left"] / volume["left"] == pytest.approx(500e-6, rel=1e-3)
    assert fees["right"] / volume["right"] == pytest.approx(100e-6, rel=1e-3)
    assert summary.fills == len(records(node, FillBooked))


def test_one_that_is_silent_stops_alone_and_comes_back():
    market = Market(strict=False)
    market.lines["left"].cut = (100.0, 160.0)
    market.node.run()
    agree(market.node)
    fills = market.fills()
    assert not [t for t in fills[A] if 101 < t < 160]
    assert [t for t in fills[B] if 101 < t < 160]
    assert [t for t in fills[A] if t > 165]
    assert records(market.node, Halted) == []


def test_one_that_differs_is_halted_alone_until_it_is_adopted():
    market = Market(strict=False)
    market.lines["left"].moved["USD"] = (100.0, -12_345)
    market.node.run()
    halts = records(market.node, Halted)
    assert {halt.account for halt in halts} == {"left"}
    assert "ledger and venue differ: USD" in halts[0].reason
    since = (halts[0].ts - START) / SECOND
    fills = market.fills()
    assert [t for t in fills[B] if t > since + 10]
    books, now = market.node.action.books, market.node.now
    grown = [
        record.approved
        for record in records(market.node, IntentApproved)
        if record.ts > halts[0].ts and record.approved.instrument == A
    ]
    assert all(approved.reduce_only for approved in grown)
    adopted = market.node.action.adopt("operator", now)
    assert len(adopted) == 1
    assert adopted[0].startswith("withdrawal USD")
    (adjusted,) = records(market.node, LedgerAdjusted)
    assert (adjusted.account, adjusted.amount) == ("left", -12_345)
    assert books.tally.halts == {}
    assert market.node.action.adopt("operator", now) == []
    agree(market.node)


@pytest.mark.parametrize("at", [90.0, 97.0, 104.0])
def test_what_was_approved_before_a_halt_adds_nothing_after_it(at: float):
    slow = ExecutionSettings(schedule="twap", horizon_s=60, slices=30)
    steady = DECISION.model_copy(update={"deadband": 0.3})
    market = Market(
        180, TWO.model_copy(update={"execution": slow, "decision": steady}), strict=False
    )
    market.lines["left"].moved["USD"] = (at, -12_345)
    market.node.run()
    first = min(halt.ts for halt in records(market.node, Halted))
    later = [r.order for r in records(market.node, OrderCreated) if r.ts > first]
    assert all(order.reduce_only for order in later if order.instrument == A)
    assert [order for order in later if order.instrument == B and not order.reduce_only]


def test_money_that_went_from_one_to_the_other_is_a_transfer():
    market = Market(strict=False)
    market.lines["left"].moved["USD"] = (100.0, -500_000)
    market.lines["right"].moved["USD"] = (100.0, 499_000)
    market.node.run()
    assert {halt.account for halt in records(market.node, Halted)} == {"left", "right"}
    before = dict(market.node.action.books.ledger.deposits)
    told = market.node.action.adopt("operator", market.node.now)
    (moved,) = records(market.node, CashTransferred)
    assert (moved.giver, moved.taker, moved.amount) == ("left", "right", 499_000)
    assert told[0] == "transfer of 499000 units of USD from left to right"
    assert told[1].startswith("withdrawal USD")
    after = market.node.action.books.ledger.deposits
    assert before["USD"] - after["USD"] == 1_000  # what it cost
    agree(market.node)
    again = Books(BREAKERS, ["left", "right"])
    recover(market.node.recorder.journal, again.folds)
    assert (
        again.shares["right"].ledger.cash == market.node.action.accounts.desks[1].share.ledger.cash
    )


def test_what_a_venue_reports_of_another_accounts_market_halts_it_alone():
    market = Market(strict=False)
    market.lines["left"].strange = Fill(
        sequence=1 << 40, fill_id="x", client_id="else", instrument=B, side=Side.BUY,
        price=1_000_000, size=1, fee=0, fee_asset="USD", maker=False, ts=START,
    )  # fmt: skip
    market.node.run()
    halts = records(market.node, Halted)
    assert {halt.account for halt in halts} == {"left"}
    assert "which is not traded in it" in halts[0].reason
    assert [t for t in market.fills()[B] if t > 120]
    agree(market.node)


def test_an_operator_adopts_one_account_by_its_name():
    class Commands:
        said = False

        def poll(self) -> list[Command]:
            if self.said or not market.lines or market.lines["left"].second < 150:
                return []
            self.said = True
            return [Command(name=ADOPT, target="left", who="ada")]

    market = Market(strict=False, commands=Commands(), cuts=range(1_000, 200_000, 1_000))
    for line in market.lines.values():
        line.moved["USD"] = (100.0, 777)
    market.node.run()
    assert set(market.node.action.books.tally.halts) == {"right"}
    assert [r.account for r in records(market.node, LedgerAdjusted)] == ["left"]
    assert [t for t in market.fills()[A] if t > 160]


def test_acting_at_every_boundary_gives_the_same_journal():
    eager, passing = (node_on(*tape(200), TWO, eager=eager) for eager in (True, False))
    assert eager.run().journal_hash == passing.run().journal_hash


def test_a_second_run_goes_on_with_each_account_where_it_was():
    journal = MemoryJournal()
    first = node_on(*tape(120), TWO, journal=journal)
    first.run()
    catalog, rows = tape(240)
    late = rows[rows["recv_ts"] > START + 121 * SECOND]
    venues = {desk.name: desk.venue for desk in first.action.accounts}

    def same(settings: Settings, *rest: Any) -> Any:
        venue = venues[settings.accounts[0].name]
        venue._clock = rest[2]
        return venue

    second = node_on(catalog, late, TWO, journal=journal, exchange=same)
    before = [desk.share.ledger.state() for desk in first.action.accounts]
    assert [desk.share.ledger.state() for desk in second.action.accounts] == before
    second.run()
    agree(second)
    assert records(second, Halted) == []
    assert len(records(second, Deposited)) == 2
    assert len([r for r in records(second, FillBooked) if r.ts > START + 121 * SECOND]) > 5


def test_a_journal_is_not_continued_with_other_accounts():
    journal = MemoryJournal()
    node_on(*tape(20), TWO, journal=journal).run()
    one = QUICK.model_copy(update={"decision": DECISION})
    with pytest.raises(
        SettingError, match="begun with several accounts, and the settings have one"
    ):
        node_on(*tape(20), one, journal=journal)
    crossed = (
        LEFT.model_copy(update={"venues": ("sim-b",)}),
        RIGHT.model_copy(update={"venues": ("sim-a",)}),
    )
    with pytest.raises(SettingError, match=r"belongs to (left|right) since this journal began"):
        node_on(*tape(20), TWO.model_copy(update={"accounts": crossed}), journal=journal)
    only = TWO.model_copy(update={"accounts": (LEFT,), "decision": QUICK.decision})
    with pytest.raises(SettingError, match="has an account right, and the settings have none"):
        node_on(*tape(20), only, journal=journal)
    alone = MemoryJournal()
    node_on(*tape(20), one, journal=alone).run()
    with pytest.raises(SettingError, match="begun with one account, and the settings have several"):
        node_on(*tape(20), TWO, journal=alone)


def test_an_account_that_is_new_brings_its_money_with_it():
    journal = MemoryJournal()
    only = TWO.model_copy(update={"accounts": (LEFT,), "decision": QUICK.decision})
    first = node_on(*tape(20), only, journal=journal)
    first.run()
    assert [d.account for d in records(first, Deposited)] == ["left"]
    second = node_on(*tape(20, seed=4), TWO, journal=journal, strict=False)
    second.run()
    assert [d.account for d in records(second, Deposited)] == ["left", "right"]


def test_instruments_are_divided_by_name_before_venue():
    catalog, _ = tape(20)
    named = RIGHT.model_copy(update={"venues": (), "instruments": (A,)})
    with pytest.raises(SettingError, match="nothing is left for left"):
        divided_of(TWO.model_copy(update={"accounts": (LEFT, named)}), catalog)
    wider = LEFT.model_copy(update={"venues": ("sim-a", "sim-c")})
    settings = TWO.model_copy(update={"accounts": (wider, named), "decision": QUICK.decision})
    divided = divided_of(settings, catalog)
    assert [i.name for i in divided["left"].instruments] == ["BTC/USD@sim-c"]
    assert [i.name for i in divided["right"].instruments] == [A]
    assert divided["right"].settings.venue.taker_fee_ppm == 100
    for change, said in (
        ({"venues": ("nowhere",)}, "left is to trade at nowhere, of which the market has nothing"),
        ({"instruments": ("X@y",)}, "left is to trade X@y, which the market does not list"),
    ):
        with pytest.raises(SettingError, match=said):
            divided_of(
                TWO.model_copy(update={"accounts": (LEFT.model_copy(update=change), RIGHT)}),
                catalog,
            )
    stray = TWO.decision.model_copy(update={"instruments": ("BTC/USD@sim-e",)})
    with pytest.raises(SettingError, match="sim-e, which no account trades"):
        divided_of(TWO.model_copy(update={"decision": stray}), catalog)


TABLES = """
[[accounts]]
name = "left"
venues = ["sim-a"]
capital = 60000

[[accounts]]
name = "right"
venues = ["sim-b"]
capital = 40000
[accounts.venue]
taker_fee_ppm = 100
"""


def test_accounts_are_written_as_tables(tmp_path: Path):
    file = tmp_path / "s.toml"
    file.write_text(TABLES)
    settings = load(file, {}, {})
    assert settings.accounts == (LEFT, RIGHT)
    assert settings.accounts[1].within(VenueSettings(maker_fee_ppm=7)) == VenueSettings(
        maker_fee_ppm=7, taker_fee_ppm=100
    )
    assert settings.fingerprint() != load(None, {}, {}).fingerprint()
    assert "accounts" not in load(None, {}, {}).canonical()
    with pytest.raises(SettingError, match=r"account left has no live\.exchange"):
        load(file, {"mode": "live"}, {})
    moved = file.with_name("t.toml")
    moved.write_text(TABLES + 'url = "unix:/x"\n')
    assert load(moved, {}, {}).fingerprint() == settings.fingerprint()
    for text, said in (
        (TABLES.replace('"right"', '"left"'), "accounts: the name left is given twice"),
        (TABLES.replace('"sim-b"', '"sim-a"'), "accounts: the venue sim-a is given twice"),
        (
            TABLES.replace('venues = ["sim-b"]', ""),
            "account right has no venues and no instruments",
        ),
        (TABLES.replace("40000", "0"), "accounts 2: capital: Input should be greater than 0"),
        (TABLES.replace("taker_fee_ppm", "taker_fee"), "accounts 2: venue.taker_fee: Extra inputs"),
    ):
        file.write_text(text)
        with pytest.raises(SettingError, match=said):
            load(file, {}, {})
