"""The ledger: what we hold, as a pure fold over the journal's records.

Account and strategies each keep first-in-first-out books of the same trades. Cash is the account's
and moves as at a venue that nets: profit of a derivative is cash when a lot of the account closes.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from seawall.core.errors import InvariantError
from seawall.core.events import Side
from seawall.core.instruments import PRODUCT_LIMIT, Instrument, Kind
from seawall.core.orders import EXTERNAL, Fill, Funding, Movement
from seawall.core.records import (
    AccountsOpened,
    AnyRecord,
    CashTransferred,
    Deposited,
    FillBooked,
    FundingBooked,
    LedgerAdjusted,
    LotsTransferred,
    RunStarted,
)
from seawall.ledger.portfolio import Earned, Holding, Portfolio, Valuation, leverage
from seawall.ledger.positions import Book, Traded, sums_of

Amounts = dict[str, int]


class Ledger:
    """Cash, positions, fees and profit in exact integers of each asset's smallest unit.

    It takes in RunStarted (for its instruments), AccountsOpened, Deposited, CashTransferred,
    FillBooked, FundingBooked, LedgerAdjusted and LotsTransferred, and ignores the rest.

    Args:
        account: the only one whose records it is given; empty: it is given all of them, and what
            goes from one account to another is neither more nor less.
    """

    name = "ledger.3"  # a new layout of `state` takes a new name

    def __init__(self, account: str = "") -> None:
        self._of = account
        self._accounts: dict[str, str] = {}  # instrument → account, where there are several
        self._numeraire = ""
        self._instruments: dict[str, Instrument] = {}
        self._decimals: dict[str, int] = {}
        self._cash: Amounts = {}
        self._deposits: Amounts = {}
        self._fees: Amounts = {}
        self._funding: Amounts = {}
        self._spot: Amounts = {}  # what spot trades brought and took, fees apart
        self._account: dict[str, Book] = {}
        self._strategies: dict[str, dict[str, Book]] = {}
        self._sequences: dict[str, int] = {}  # venue or account → the last movement's report
        self._told: Amounts = {}  # what venues say that trades realised, less what our lots say
        self._basis: Amounts = {}  # the same by instrument, as long as there is a position
        self._fee_lots: Amounts = {}  # base units of fees that no lot has been shed for yet

    # --- what it says ---

    @property
    def cash(self) -> Mapping[str, int]:
        """Asset → smallest units; what a venue calls the wallet balance."""
        return MappingProxyType(self._cash)

    @property
    def deposits(self) -> Mapping[str, int]:
        """Asset → smallest units that came from outside, less what went back."""
        return MappingProxyType(self._deposits)

    @property
    def fees(self) -> Mapping[str, int]:
        """Asset → smallest units paid (negative: received)."""
        return MappingProxyType(self._fees)

    @property
    def funding(self) -> Mapping[str, int]:
        """Asset → smallest units paid for holding perpetual contracts (negative: received)."""
        return MappingProxyType(self._funding)

    @property
    def numeraire(self) -> str:
        """What money is shown in."""
        return self._numeraire

    def decimals(self, asset: str) -> int:
        """Decimals of an asset's smallest unit; KeyError where no instrument names it."""
        return self._decimals[asset]

    @property
    def positions(self) -> dict[str, int]:
        """Instrument → signed lots, where there are any."""
        return {name: book.position for name, book in self._account.items() if book.position}

    @property
    def realised(self) -> dict[str, int]:
        """Settle asset → profit of closed lots of the account, smallest units, before fees."""
        return self._realised(spot=True)

    @property
    def strategies(self) -> tuple[str, ...]:
        """Every strategy that ever had a fill."""
        return tuple(self._strategies)

    def position(self, instrument: str, strategy: str | None = None) -> int:
        """Signed lots of the account, or of one strategy's sub-ledger; 0 where there are none."""
        book = self.books(strategy).get(instrument)
        return book.position if book else 0

    def books(self, strategy: str | None = None) -> Mapping[str, Book]:
        """Instrument → book (for reading only) of the account, or of one strategy's sub-ledger."""
        books = self._account if strategy is None else self._strategies.get(strategy, {})
        return MappingProxyType(books)

    def shares(self, instrument: str) -> dict[str, int]:
        """Strategy → signed lots of an instrument, where there are any."""
        return {
            strategy: books[instrument].position
            for strategy, books in self._strategies.items()
            if instrument in books and books[instrument].position
        }

    def ticks(self, instrument: str, book: Book) -> float:
        """Average price of a book's open lots in ticks; NaN where flat."""
        terms = self._instruments[instrument]
        return book.average_price(terms) / terms.tick_float

    def last_fill_sequence(self, venue: str) -> int:
        """The report sequence of the last fill or funding booked from a venue, or where there are
        several accounts from one of them; 0: none."""
        return self._sequences.get(venue, 0)

    @property
    def accounts(self) -> Mapping[str, str]:
        """Instrument → the account that it is traded in; empty where there is one alone."""
        return MappingProxyType(self._accounts)

    # --- what it is told ---

    def apply(self, record: AnyRecord) -> None:
        """Take in one record.

        Raises:
            InvariantError: a fill that is known already or impossible, or instruments that
                contradict earlier ones. Nothing has changed then.
        """
        if isinstance(record, FillBooked):
            self._book(record.fill, record.strategy)
        elif isinstance(record, FundingBooked):
            self._pay(record.funding)
        elif isinstance(record, LotsTransferred):
            self._transfer(record)
        elif isinstance(record, Deposited):
            self._deposit(record.asset, record.amount)
        elif isinstance(record, CashTransferred):
            self._hand_over(record)
        elif isinstance(record, LedgerAdjusted):
            self._adjust(record)
        elif isinstance(record, RunStarted):
            self._start(record)
        elif isinstance(record, AccountsOpened):
            self._divide(record)

    def _start(self, record: RunStarted) -> None:
        decimals = dict(self._decimals)
        for instrument in record.instruments:
            known = self._instruments.get(instrument.name)
            if known and _terms(known) != _terms(instrument):
                raise InvariantError(
                    f"{instrument.name}: its increments or assets have changed since the journal "
                    "began; give it a new version in the catalog"
                )
            for asset, places in _places(instrument):
                if decimals.setdefault(asset, places) != places:
                    raise InvariantError(
                        f"{instrument.name}: {asset} has {places} decimals here and "
                        f"{decimals[asset]} elsewhere; make them equal in the catalog"
                    )
        self._decimals = decimals
        self._numeraire = record.numeraire
        self._instruments |= {instrument.name: instrument for instrument in record.instruments}

    def _divide(self, record: AccountsOpened) -> None:
        """Take in which account trades what; an instrument never changes its account."""
        told = {name: who for who, names in record.accounts.items() for name in names}
        for name, account in told.items():
            if self._accounts.get(name, account) != account:
                raise InvariantError(
                    f"{name} belongs to account {self._accounts[name]} since the journal began, "
                    f"and now to {account}; leave it where it was, or begin a new journal"
                )
        self._accounts |= told

    def _hand_over(self, record: CashTransferred) -> None:
        """Book what left one account for another: of all together nothing came or went."""
        sides = self._accounts.values()
        if record.amount <= 0 or record.giver == record.taker or record.giver not in sides:
            raise InvariantError(
                f"{record.amount} units of {record.asset} cannot go from {record.giver} to "
                f"{record.taker}; stop and replay the journal"
            )
        if self._of in (record.giver, record.taker):
            sign = 1 if self._of == record.taker else -1
            self._deposit(record.asset, sign * record.amount)

    def _whose(self, instrument: Instrument) -> str:
        """Whose count of reports an instrument's movements belong to."""
        return self._accounts.get(instrument.name, instrument.venue)

    def _deposit(self, asset: str, amount: int) -> None:
        _add(self._cash, asset, amount)
        _add(self._deposits, asset, amount)

    def _adjust(self, record: LedgerAdjusted) -> None:
        """Book what an operator adopted: cash from outside, or a position that we did not trade."""
        if record.asset:
            self._deposit(record.asset, record.amount)
        if not record.lots:
            return
        instrument = self._instruments.get(record.instrument)
        if instrument is None or instrument.kind is Kind.SPOT or record.price <= 0:
            raise InvariantError(
                f"{record.lots} lots of {record.instrument} at {record.price} ticks cannot be "
                "adopted; only a derivative of the run's instruments can"
            )
        sign, size = (1 if record.lots > 0 else -1), abs(record.lots)
        value = instrument.value(record.price, size)
        account, virtual = self._pair(record.instrument, EXTERNAL)
        virtual.trade(instrument, sign, size, value)
        self._move(instrument, sign, size, value, account.trade(instrument, sign, size, value))

    def _pair(self, name: str, strategy: str) -> tuple[Book, Book]:
        """The account's book of an instrument, and a strategy's."""
        account = self._account.get(name) or self._account.setdefault(name, Book())
        books = self._strategies.setdefault(strategy, {})
        return account, books.get(name) or books.setdefault(name, Book())

    def _book(self, fill: Fill, strategy: str) -> None:
        instrument = self._checked(fill)
        sign = fill.side.sign
        value = instrument.value(fill.price, fill.size)
        account, virtual = self._pair(fill.instrument, strategy)
        for book in (account, virtual):
            realised = book.trade(instrument, sign, fill.size, value)
            book.pay(fill.fee_asset, fill.fee)
            if book is account:
                realised = self._reckoned(fill, instrument, realised)
                self._move(instrument, sign, fill.size, value, realised)
        _add(self._cash, fill.fee_asset, -fill.fee)
        _add(self._fees, fill.fee_asset, fill.fee)
        if instrument.kind is Kind.SPOT and fill.fee_asset == instrument.base:
            self._shed(instrument, strategy, fill)
        self._sequences[self._whose(instrument)] = fill.sequence

    def carry(
        self, strategy: str, traded: Mapping[str, tuple[Traded, Traded]], last: Mapping[str, int]
    ) -> None:
        """Take over a run of fills that were booked elsewhere, by the same rules.

        Args:
            traded: instrument -> what they left of the account's position and of the strategy's,
                in the order of their first fills. last: venue -> the last fill's report.
        """
        for name, both in traded.items():
            instrument = self._instruments[name]
            settle, books = instrument.settle_asset, self._pair(name, strategy)
            account, before = both[0], books[0].position
            for book, change in zip(books, both, strict=True):
                book.carry(change, settle)
            if instrument.kind is Kind.SPOT:
                for amounts in (self._cash, self._spot):
                    _add(amounts, settle, account.flow)
                    lots = books[0].position - before
                    _add(amounts, instrument.base, lots * instrument.base_unit)
            else:
                _add(self._cash, settle, account.realised)
            _add(self._cash, settle, -account.fees)
            _add(self._fees, settle, account.fees)
        self._sequences.update(last)

    def _reckoned(self, fill: Fill, instrument: Instrument, realised: int) -> int:
        """What the venue paid out for a trade, where it says so; the difference is kept."""
        if fill.realised is None or instrument.kind is Kind.SPOT:
            return realised
        _add(self._told, instrument.settle_asset, fill.realised - realised)
        _add(self._basis, instrument.name, fill.realised - realised)
        if not self._account[instrument.name].position:
            self._basis[instrument.name] = 0  # flat: what is left is the venue's rounding
        return fill.realised

    def _shed(self, instrument: Instrument, strategy: str, fill: Fill) -> None:
        """A fee in the coin that was bought leaves fewer of them, as if so many had been sold at
        the trade's price: whole lots, rounded up, so that what a position says can be sold."""
        name = instrument.name
        owed = self._fee_lots.get(f"{strategy} {name}", 0) + fill.fee
        lots = max(0, -(-owed // instrument.base_unit))
        for book in self._pair(name, strategy):
            if lots:
                book.move(instrument, -1, lots, instrument.value(fill.price, lots))
        self._fee_lots[f"{strategy} {name}"] = owed - lots * instrument.base_unit

    def _pay(self, funding: Funding) -> None:
        """Book a funding payment; each strategy bears its share of the position."""
        instrument = self._new(funding, f"funding at {funding.ts}")
        account = self._account.get(funding.instrument)
        if account is not None and not funding.lots and not funding.price:
            self._pay_unsaid(funding, instrument, account)
            return
        if account is None or account.position != funding.lots or not funding.lots:
            held = account.position if account else 0
            raise InvariantError(
                f"funding of {funding.instrument}: the venue says {funding.lots} lots, our books "
                f"{held}; reconcile with the venue"
            )
        account.funding += funding.amount
        left = funding.amount
        parts = [
            b[funding.instrument] for b in self._strategies.values() if funding.instrument in b
        ]
        for book in parts:
            share = funding.amount * book.position // funding.lots
            book.funding += share
            left -= share
        max(parts, key=lambda book: abs(book.position)).funding += left
        _add(self._cash, funding.asset, -funding.amount)
        _add(self._funding, funding.asset, funding.amount)
        self._sequences[self._whose(instrument)] = funding.sequence

    def _transfer(self, record: LotsTransferred) -> None:
        """Book lots that one strategy hands to another."""
        name = record.instrument
        instrument = self._instruments.get(name)
        whole = record.lots > 0 and record.price > 0 and record.lots * record.price < PRODUCT_LIMIT
        if instrument is None or not whole or record.giver == record.taker:
            raise InvariantError(
                f"{record.lots} lots of {name} at {record.price} ticks cannot go from "
                f"{record.giver} to {record.taker}; stop and replay the journal"
            )
        value = instrument.value(record.price, record.lots)
        for strategy, sign in ((record.giver, -1), (record.taker, 1)):
            books = self._strategies.setdefault(strategy, {})
            book = books.get(name) or books.setdefault(name, Book())
            book.move(instrument, sign, record.lots, value)

    def _pay_unsaid(self, funding: Funding, instrument: Instrument, account: Book) -> None:
        """The venue does not say what was held: whoever holds or held most bears it."""
        parts = [
            b[funding.instrument] for b in self._strategies.values() if funding.instrument in b
        ]
        most = max(parts, key=lambda book: (abs(book.position), book.volume))
        for book in (account, most):
            book.funding += funding.amount
        _add(self._cash, funding.asset, -funding.amount)
        _add(self._funding, funding.asset, funding.amount)
        self._sequences[self._whose(instrument)] = funding.sequence

    def _new(self, movement: Movement, what: str) -> Instrument:
        """The instrument of a movement, or InvariantError where it is not known or not new."""
        instrument = self._instruments.get(movement.instrument)
        if instrument is None:
            raise InvariantError(
                f"{what}: {movement.instrument} is not among the run's instruments; add it to the "
                "catalog"
            )
        whose = self._whose(instrument)
        last = self._sequences.get(whose, 0)
        if movement.sequence <= last:
            raise InvariantError(
                f"{what} of {whose}: report {movement.sequence} comes again or "
                f"too late, report {last} is booked already; reconcile with the venue"
            )
        return instrument

    def _checked(self, fill: Fill) -> Instrument:
        """The fill's instrument, or InvariantError where the fill cannot be booked."""
        instrument = self._new(fill, f"fill {fill.fill_id}")
        whole = fill.size > 0 and fill.price > 0 and fill.size * fill.price < PRODUCT_LIMIT
        if not whole or fill.side is Side.UNKNOWN:
            raise InvariantError(
                f"fill {fill.fill_id} of {fill.instrument}: {fill.side.name} {fill.size} lots at "
                f"{fill.price} ticks is no trade; reconcile with the venue"
            )
        return instrument

    def _move(
        self, instrument: Instrument, sign: int, size: int, value: int, realised: int
    ) -> None:
        """Move the account's cash for a trade."""
        if instrument.kind is not Kind.SPOT:
            _add(self._cash, instrument.settle_asset, realised)
            return
        for amounts in (self._cash, self._spot):
            _add(amounts, instrument.settle_asset, -sign * value)
            _add(amounts, instrument.base, sign * size * instrument.base_unit)

    # --- what must hold ---

    def conservation(self) -> None:
        """Check that nothing was made or lost, to the last unit.

        Deposits, what spot trades moved and the profit of derivatives, less fees and funding, are
        the cash of each asset; each book's lots explain its flows; the strategies add up to the
        account.

        Raises:
            InvariantError: one of these does not hold.
        """
        derivatives = self._realised(spot=False)
        for asset in {**self._cash, **derivatives}:
            parts_of = (self._deposits, self._spot, derivatives, self._told)
            expected = sum(a.get(asset, 0) for a in parts_of)
            expected -= self._fees.get(asset, 0) + self._funding.get(asset, 0)
            if expected != self._cash.get(asset, 0):
                raise InvariantError(
                    f"{asset}: the books explain {expected} units of cash, but there are "
                    f"{self._cash.get(asset, 0)}; stop and replay the journal"
                )
        for name, account in self._account.items():
            instrument = self._instruments[name]
            account.check(instrument)
            parts = [books[name] for books in self._strategies.values() if name in books]
            for part in parts:
                part.check(instrument)
            if sums_of(parts) != sums_of([account]):
                raise InvariantError(
                    f"{name}: the strategies' books do not add up to the account's; stop and "
                    "replay the journal"
                )
        paid: Amounts = {}
        for account in self._account.values():
            for asset, fee in account.fees.items():
                _add(paid, asset, fee)
        if paid != self._fees:
            raise InvariantError(f"fees {self._fees} are not those of the fills, {paid}")
        held: Amounts = {}
        for name, account in self._account.items():
            _add(held, self._instruments[name].settle_asset, account.funding)
        if any(amount != self._funding.get(asset, 0) for asset, amount in held.items()):
            raise InvariantError(f"funding {self._funding} is not that of the positions, {held}")

    def _realised(self, spot: bool) -> Amounts:
        amounts: Amounts = {}
        for name, book in self._account.items():
            instrument = self._instruments[name]
            if spot or instrument.kind is not Kind.SPOT:
                _add(amounts, instrument.settle_asset, book.realised)
        return amounts

    # --- what it is worth ---

    def portfolio(self, marks: Mapping[str, float], asset_marks: Mapping[str, float]) -> Portfolio:
        """The account at market prices.

        Args:
            marks: instrument → mid in quote units, for each held instrument.
            asset_marks: asset → numeraire value of one whole unit, for each asset with cash and for
                the quote and settle assets of held instruments; the numeraire itself is 1.
        """
        numeraire = self._numeraire
        valuation = Valuation(marks, {numeraire: 1.0, **asset_marks}, self._decimals)
        holdings = tuple(
            valuation.holding(self._instruments[name], book) for name, book in self._account.items()
        )
        settled = dict(self._cash)  # by our own lots, as their open profit below is
        for name, amount in self._basis.items():
            if amount:
                _add(settled, self._instruments[name].settle_asset, -amount)
        cash = valuation.total(settled)
        derivatives = sum(h.unrealised for h in holdings if not self._is_spot(h))
        equity = cash + derivatives
        gross = sum(abs(h.notional) for h in holdings)
        return Portfolio(
            numeraire=numeraire,
            equity=equity,
            cash=cash,
            unrealised=sum((h.unrealised for h in holdings), 0.0),
            realised=sum((h.realised for h in holdings), 0.0),
            fees=valuation.total(self._fees),
            gross=float(gross),
            net=sum((h.notional for h in holdings), 0.0),
            leverage=leverage(gross, equity),
            holdings=holdings,
            unknown=tuple(valuation.unknown),
            foreign=tuple(valuation.foreign),
        )

    def earned(
        self, marks: Mapping[str, float], asset_marks: Mapping[str, float]
    ) -> dict[str, Earned]:
        """Strategy → what it came to so far, at market prices; the marks are as in `portfolio`."""
        found = {}
        numeraire = self._numeraire
        for strategy, books in self._strategies.items():
            valuation = Valuation(marks, {numeraire: 1.0, **asset_marks}, self._decimals)
            holdings = [valuation.holding(self._instruments[n], b) for n, b in books.items()]
            funding: Amounts = {}
            fees: Amounts = {}
            for name, book in books.items():
                _add(funding, self._instruments[name].settle_asset, book.funding)
                for asset, fee in book.fees.items():
                    _add(fees, asset, fee)
            found[strategy] = Earned(
                realised=sum((h.realised for h in holdings), 0.0),
                unrealised=sum((h.unrealised for h in holdings), 0.0),
                fees=valuation.total(fees),
                funding=valuation.total(funding),
                trades=sum(book.trades for book in books.values()),
            )
        return found

    def _is_spot(self, holding: Holding) -> bool:
        return self._instruments[holding.instrument].kind is Kind.SPOT

    # --- how it is kept ---

    def state(self) -> Any:
        """The whole ledger as MessagePack values; amounts are texts, as they may pass 64 bits."""
        divided = {"accounts": list(self._accounts.items())} if self._accounts else {}
        return {
            **divided,
            "numeraire": self._numeraire,
            "instruments": [msgspec.to_builtins(i) for i in self._instruments.values()],
            "cash": _texts(self._cash),
            "deposits": _texts(self._deposits),
            "fees": _texts(self._fees),
            "funding": _texts(self._funding),
            "spot": _texts(self._spot),
            "account": {name: book.state() for name, book in self._account.items()},
            "strategies": {
                strategy: {name: book.state() for name, book in books.items()}
                for strategy, books in self._strategies.items()
            },
            "sequences": dict(self._sequences),
            "told": _texts(self._told),
            "basis": _texts(self._basis),
            "fee_lots": _texts(self._fee_lots),
        }

    def restore(self, state: Any) -> None:
        """Take over a state that `state` gave, in place of what was there."""
        instruments = msgspec.convert(state["instruments"], list[Instrument])
        self._accounts = dict(state.get("accounts", []))
        self._numeraire = state["numeraire"]
        self._instruments = {instrument.name: instrument for instrument in instruments}
        self._decimals = {a: places for i in instruments for a, places in _places(i)}
        self._cash = _integers(state["cash"])
        self._deposits = _integers(state["deposits"])
        self._fees = _integers(state["fees"])
        self._funding = _integers(state["funding"])
        self._spot = _integers(state["spot"])
        self._account = {name: Book.restored(book) for name, book in state["account"].items()}
        self._strategies = {
            strategy: {name: Book.restored(book) for name, book in books.items()}
            for strategy, books in state["strategies"].items()
        }
        self._sequences = dict(state["sequences"])
        self._told = _integers(state["told"])
        self._basis = _integers(state["basis"])
        self._fee_lots = _integers(state["fee_lots"])


def _add(amounts: Amounts, asset: str, amount: int) -> None:
    amounts[asset] = amounts.get(asset, 0) + amount


def _texts(amounts: Amounts) -> dict[str, str]:
    return {asset: str(amount) for asset, amount in amounts.items()}


def _integers(texts: Mapping[str, str]) -> Amounts:
    return {asset: int(text) for asset, text in texts.items()}


def _terms(instrument: Instrument) -> tuple[object, ...]:
    """What must never change under a name, since past trades were booked by it."""
    i = instrument
    money = (i.settle_decimals, i.base_decimals if i.kind is Kind.SPOT else 0)
    assets = (i.venue, i.kind, i.base, i.quote, i.settle_asset)
    return (*assets, i.tick_value, i.lot_value, i.cash_unit, *money)


def _places(instrument: Instrument) -> list[tuple[str, int]]:
    """The assets that the instrument moves, with the decimals of their smallest units."""
    places = [(instrument.settle_asset, instrument.settle_decimals)]
    if instrument.kind is Kind.SPOT:
        places.append((instrument.base, instrument.base_decimals))
    return places
