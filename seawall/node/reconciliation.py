"""Ledger against venue, to the last unit: what differs, and what an operator may adopt of it."""

from collections.abc import Container, Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from seawall.core.clock import HOUR, SECOND
from seawall.core.errors import VenueUnreachableError
from seawall.core.instruments import Catalog, Kind
from seawall.core.orders import Transfer
from seawall.core.ports import TransferHistory, Venue
from seawall.core.records import LedgerAdjusted
from seawall.ledger import Ledger

HISTORY = 30 * 24 * HOUR  # of transfers that may explain a difference
DUST = 100  # smallest units: nobody moves so little on purpose
PATIENCE = 10 * SECOND  # for so long an exchange's balances may lag behind its own fills
LONGEST = 3 * PATIENCE  # after it a difference counts, though what the exchange shows still moves
EVERY = SECOND  # between two looks at books that do not agree


class Difference(msgspec.Struct, frozen=True):
    """An asset's cash or a derivative's lots. `what`: the asset or the instrument."""

    what: str
    ours: int
    theirs: int
    lots: bool

    def __str__(self) -> str:
        unit = " lots" if self.lots else ""
        return f"{self.what}: ledger {self.ours}{unit}, venue {self.theirs}"


class Doubt:
    """What differs between ledger and venue, and since when: real exchanges book a fill before
    they show its cash, so a difference counts once the exchange has shown the same for PATIENCE:
    while it catches up, and we still reduce positions, the two may never be equal at a look. Until
    then no new risk is taken.

    Attributes:
        what: differs, in words; empty: nothing does. since: ns UTC of the first look that saw a
            difference. moved: of the last one at which the exchange showed something else. again:
            ns UTC before which nobody need look again.
    """

    def __init__(self) -> None:
        self.what = ""
        self.since = 0
        self.moved = 0
        self.again = 0
        self._shown: tuple[tuple[str, int], ...] = ()

    def stands(self, what: str, found: Sequence[Difference], now: int) -> bool:
        """Take in a look, empty where nothing differs; True where it has stood long enough."""
        shown = tuple((one.what, one.theirs) for one in found)
        if what and not self.what:
            self.since = self.moved = now
        elif shown != self._shown:
            self.moved = now
        self._shown = shown
        stood = bool(what) and (now - self.moved >= PATIENCE or now - self.since >= LONGEST)
        self.what = "" if stood else what
        self.again = now + EVERY if self.what else 0
        return stood


def in_words(strangers: Sequence[str], found: Sequence[Difference]) -> str:
    """What an account has that our books do not; empty where they agree."""
    if strangers:
        return f"the venue has orders that we do not know: {', '.join(strangers[:5])}"
    return f"ledger and venue differ: {'; '.join(map(str, found[:5]))}" if found else ""


def differences(ledger: Ledger, venue: Venue, catalog: Catalog) -> list[Difference]:
    """Where the two differ, positions first; only meaningful with all fills booked.

    Raises VenueUnreachableError.
    """
    return _positions(ledger, venue, catalog) + _cash(ledger, venue, catalog)


def _positions(ledger: Ledger, venue: Venue, catalog: Catalog) -> list[Difference]:
    theirs = venue.account.positions()
    derivatives = {n for n, i in catalog.by_name.items() if i.kind is not Kind.SPOT}
    ours = {name: lots for name, lots in ledger.positions.items() if name in derivatives}
    return [
        Difference(name, ours.get(name, 0), theirs.get(name, 0), lots=True)
        for name in sorted({*ours, *theirs})
        if ours.get(name, 0) != theirs.get(name, 0) or name not in catalog.by_name
    ]


def _cash(ledger: Ledger, venue: Venue, catalog: Catalog) -> list[Difference]:
    """A coin that no instrument has (fees may be paid in one) counts where the venue shows it."""
    theirs, ours = venue.account.balances(), ledger.cash
    traded = {a for i in catalog.instruments for a in (i.base, i.quote, i.settle_asset)}
    return [
        Difference(asset, ours.get(asset, 0), theirs.get(asset, 0), lots=False)
        for asset in sorted({*theirs, *(traded | {ledger.numeraire}) & {*ours}})
        if ours.get(asset, 0) != theirs.get(asset, 0)
    ]


def transfers_of(venue: Venue, known: Container[str], now: int) -> list[Transfer]:
    """Deposits and withdrawals that the venue tells of and that have explained nothing yet, the
    newest first; none where it keeps no history or does not answer."""
    if not isinstance(venue, TransferHistory):
        return []
    try:
        told = venue.transfers(now - HISTORY)
    except VenueUnreachableError:
        return []  # what then is left is the operator's word
    return sorted((t for t in told if t.name not in known), key=lambda t: t.ts, reverse=True)


def cause_of(one: Difference, transfers: Sequence[Transfer]) -> list[Transfer]:
    """The transfers that a difference in cash comes from: one, or the newest ones together, with
    their fees or without. Empty: none explain it to the last unit."""
    wanted = one.theirs - one.ours
    own = [t for t in transfers if t.asset == one.what]
    runs = [[t] for t in own] + [own[:n] for n in range(2, len(own) + 1)]
    for run in runs:
        amount, fees = sum(t.amount for t in run), sum(t.fee for t in run)
        if wanted in (amount, amount - fees):
            return run
    return []


def adjustments(
    found: list[Difference],
    catalog: Catalog,
    marks: Mapping[str, float],
    who: str,
    now: int,
    account: str = "",
    transfers: Sequence[Transfer] = (),
) -> list[LedgerAdjusted]:
    """What makes the ledger equal to the venue, and which of its transfers say why.

    Positions that came from nowhere are valued at their marks, so that they bring neither profit
    nor loss; a position without a mark, or in a market that is not ours, cannot be adopted.

    Args:
        account: that they are of, where there are several.

    Raises:
        VenueUnreachableError: such a one is among them.
    """
    made = []
    for one in found:
        kind, difference = _kind(one), one.theirs - one.ours
        if not one.lots:
            causes = cause_of(one, transfers)
            said = "; ".join(map(_said, causes))
            made.append(
                LedgerAdjusted(
                    ts=now,
                    kind=causes[0].kind if len(causes) == 1 else kind,
                    reason=f"{one}: {said}" if said else str(one),
                    who=who,
                    asset=one.what,
                    amount=difference,
                    transfers=tuple(t.name for t in causes) or msgspec.UNSET,
                    account=account or msgspec.UNSET,
                )
            )
            continue
        instrument, mark = catalog.by_name.get(one.what), marks.get(one.what, 0.0)
        if instrument is None or not mark > 0:
            raise VenueUnreachableError(
                f"{one.what} has no price here, so its position cannot be adopted; add it to "
                "feed.symbols, or close it at the exchange"
            )
        made.append(
            LedgerAdjusted(
                ts=now,
                kind=kind,
                reason=str(one),
                who=who,
                instrument=one.what,
                lots=difference,
                price=round(mark / instrument.tick_float),
            )
        )
    return made


def _said(one: Transfer) -> str:
    moment = datetime.fromtimestamp(one.ts // SECOND, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"{one.kind} of {one.text} {one.asset} at {moment}, id {one.name}"


def _kind(one: Difference) -> str:
    if one.lots:
        return "position"
    difference = one.theirs - one.ours
    if abs(difference) <= DUST:
        return "dust"
    return "deposit" if difference > 0 else "withdrawal"
