"""The accounts of a node: each with its own executor, its own venue and its own books.

What is wrong with one of several halts that one alone: it may still reduce what it holds, and the
others go on. One alone has no name, and what is wrong with it is wrong with the node.
"""

from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from seawall.core.commands import EVERY_ACCOUNT
from seawall.core.errors import InvariantError, SettingError, VenueUnreachableError
from seawall.core.events import Raw
from seawall.core.instruments import Catalog
from seawall.core.intents import Approved, Basket
from seawall.core.ports import Venue
from seawall.core.records import (
    AccountsOpened,
    AnyRecord,
    CashTransferred,
    Deposited,
    FillBooked,
    FundingBooked,
    OrderAdopted,
)
from seawall.execution import Executor
from seawall.execution.goals import Key, Touch
from seawall.execution.quoting import Ladder
from seawall.node.books import Books, Share
from seawall.node.reconciliation import (
    Difference,
    Doubt,
    adjustments,
    differences,
    in_words,
    transfers_of,
)

Marks = Mapping[str, float]


class AccountDesk:
    """One account.

    Args:
        name: empty: the only one.
        share: its own books; of the only one, all of them.
        venue: of a simulated one also the Playback.
        instruments: that are traded in it; of the only one, all.
    """

    def __init__(
        self,
        name: str,
        executor: Executor,
        venue: Venue,
        share: Share,
        catalog: Catalog,
        instruments: tuple[str, ...] = (),
    ) -> None:
        self.name = name
        self.executor = executor
        self.venue = venue
        self.share = share
        self.instruments = instruments
        self.compared = 0  # ns UTC at which ledger and venue last were equal
        self.compare_due = False  # with the venue, as soon as nothing is under way
        self.doubt = Doubt()
        self.told = ""  # what the user was last told of it
        self.catalog = catalog

    @property
    def due(self) -> bool:
        """Whether the books are to be compared with the venue now."""
        return self.executor.behind or (self.compare_due and self.executor.settled)

    @property
    def silence(self) -> str:
        """Why nothing can be sent; empty while the venue answers and has been compared with."""
        if self.executor.unreachable:
            return f"the venue does not answer: {self.executor.unreachable}"
        if self.doubt.what:
            return f"{self.doubt.what}; looking again"
        if self.executor.behind:
            return "the books have not been compared with the venue yet"
        return ""

    def differences(self) -> list[Difference]:
        """Where its ledger and its venue differ. Raises VenueUnreachableError."""
        return differences(self.share.ledger, self.venue, self.catalog)

    def compare(self, now: int) -> str | None:
        """Compare with the venue where no order is in doubt.

        Returns:
            What goes on differing, empty: nothing; None where it is not known yet.
        """
        executor = self.executor
        if executor.unreachable or executor.doubtful or now < self.doubt.again:
            return None
        try:
            executor.sync_fills(now)
            known = self.share.foreign.orders
            strangers = [name for name in executor.strangers() if name not in known]
            found = self.differences()
            if executor.sync_fills(now):
                return None  # the account moved while we looked: look again
        except VenueUnreachableError as error:
            executor.lost(str(error))
            return None
        what = in_words(strangers, found)
        stands = self.doubt.stands(what, found, now)
        self.compare_due = bool(what) and not stands
        if self.compare_due:
            return None
        executor.behind = False
        if not what:
            self.compared = now
        return what

    def strangers(self, who: str, now: int) -> list[OrderAdopted]:
        """Orders at the venue that nobody knows, to be adopted. Raises VenueUnreachableError."""
        known = {*self.share.orders.open, *self.share.foreign.orders}
        return [
            OrderAdopted(ts=now, client_id=one.client_id, instrument=one.instrument, who=who)
            for one in self.venue.account.orders()
            if one.client_id not in known
        ]


class Accounts:
    """All of them, as one where it makes no difference whose a thing is.

    Args:
        desks: one without a name, or several with.
        record: journals. halt: an account (empty: the node), from now on, and why.
    """

    def __init__(
        self,
        desks: Sequence[AccountDesk],
        books: Books,
        record: Callable[..., None],
        halt: Callable[[str, int, str], None],
    ) -> None:
        self.desks = list(desks)
        self.several = bool(books.shares)
        self._books = books
        self._record = record
        self._halt = halt
        self._known_to: dict[str, int] = {}  # account → what its venue has in a whole book, ns UTC

    def __iter__(self) -> Iterator[AccountDesk]:
        return iter(self.desks)

    def of(self, instrument: str) -> AccountDesk | None:
        """The account that an instrument is traded in; None where none does."""
        if not self.several:
            return self.desks[0]
        name = self._books.account_of(instrument)
        return next((desk for desk in self.desks if desk.name == name), None)

    def named(self, account: str) -> list[AccountDesk]:
        """One of several; all where none is named. SettingError where there is none of it."""
        if account in ("", EVERY_ACCOUNT):
            return self.desks
        found = [desk for desk in self.desks if desk.name == account]
        if not found:
            raise SettingError(f"there is no account {account}")
        return found

    # --- what is amiss ---

    def troubles(self) -> dict[str, str]:
        """Account → why it alone may take no new risk; of the only one that is the node's."""
        if not self.several:
            return {}
        found = {}
        for desk in self.desks:
            if reason := self.halted(desk) or desk.silence:
                found[desk.name] = f"account {desk.name}: {reason}"
        return found

    def halted(self, desk: AccountDesk) -> str:
        """Why one may take no new risk until somebody has looked; empty where it may."""
        tally = self._books.tally
        standing = tally.halts.get(desk.name, "") if self.several else tally.halted
        return standing or desk.share.foreign.reason

    def tell(self, troubles: Mapping[str, str], say: Callable[[str], None]) -> None:
        """Say where one account stops trading, and where it goes on."""
        for desk in self.desks:
            trouble = troubles.get(desk.name, "")
            if trouble != desk.told:
                say(f"not trading in {trouble}" if trouble else f"trading again in {desk.name}")
                desk.told = trouble

    @property
    def waiting(self) -> bool:
        """Something is under way in one of them, or one is out of touch."""
        return any(not desk.executor.idle or desk.executor.silent for desk in self.desks)

    @property
    def behind(self) -> bool:
        """No account has been compared with its venue since that was out of reach."""
        return all(desk.executor.behind for desk in self.desks)

    @property
    def settled(self) -> bool:
        """Nothing is under way in any of them, and nothing is wanted."""
        return all(d.executor.settled and not d.executor.goals for d in self.desks)

    @property
    def watched(self) -> dict[Key, str]:
        """Positions whose stop the venue does not hold, and why."""
        return {key: why for desk in self.desks for key, why in desk.executor.watched.items()}

    @property
    def goals(self) -> dict[Key, Approved]:
        """What is to be reached, by instrument and owner."""
        if not self.several:
            return self.desks[0].executor.goals
        return {key: goal for desk in self.desks for key, goal in desk.executor.goals.items()}

    @property
    def ladders(self) -> dict[Key, Ladder]:
        """What is quoted, by instrument and owner."""
        if not self.several:
            return self.desks[0].executor.ladders
        return {key: one for desk in self.desks for key, one in desk.executor.ladders.items()}

    def reach(self, instrument: str) -> dict[str, tuple[int, int, int]]:
        """See Executor."""
        desk = self.of(instrument)
        return desk.executor.reach(instrument) if desk else {}

    # --- what is done ---

    def _each(self, do: Callable[[AccountDesk], None], now: int) -> None:
        """For one account after the other. A defect of one of several is its own."""
        for desk in self.desks:
            try:
                do(desk)
            except InvariantError as error:
                if not self.several:
                    raise
                desk.executor.lost(str(error))
                self._halt(f"{type(error).__name__}: {error}", now, desk.name)

    def opening(self, deposits: Mapping[str, Mapping[str, int]], now: int) -> list[AnyRecord]:
        """What follows RunStarted: which accounts there are, and the cash of those that are new.

        Args:
            deposits: account → asset → smallest units.
        """
        records: list[AnyRecord] = []
        known = {*self._books.ledger.accounts.values()}
        if self.several:
            said = {desk.name: desk.instruments for desk in self.desks}
            records.append(AccountsOpened(ts=now, accounts=said))
        elif self._books.tally.runs:
            known.add("")
        return records + [
            Deposited(ts=now, asset=asset, amount=amount, account=account)
            for account, amounts in deposits.items()
            if account not in known
            for asset, amount in amounts.items()
        ]

    def recover(self, now: int) -> None:
        """See Executor; each by itself, and then compared with its venue."""
        self._each(lambda desk: desk.executor.recover(now), now)

    def listen(self, now: int) -> None:
        """See Executor."""
        self._each(lambda desk: desk.executor.listen(now), now)

    def settle(self, touches: Mapping[str, Touch], now: int) -> None:
        """See Executor."""
        self._each(lambda desk: desk.executor.settle(self._own(desk, touches), now), now)

    def _own(self, desk: AccountDesk, touches: Mapping[str, Touch]) -> Mapping[str, Touch]:
        """Of the instruments that the account trades."""
        if not self.several:
            return touches
        whose = self._books.account_of
        return {name: touch for name, touch in touches.items() if whose(name) == desk.name}

    def aim(self, approved: Sequence[Approved]) -> None:
        """See Executor; each is told what it trades."""
        if not self.several:
            self.desks[0].executor.aim(approved)
            return
        for desk in self.desks:
            desk.executor.aim([each for each in approved if self._takes(desk, each)])

    def _takes(self, desk: AccountDesk, approval: Approved) -> bool:
        if isinstance(approval.intent, Basket):
            return self._books.accounts_of(approval.intent) == {desk.name}
        return self._books.account_of(approval.instrument) == desk.name

    def work(self, touches: Mapping[str, Touch], now: int, blocked: Container[str]) -> None:
        """See Executor. An account that is halted may reduce what it holds."""
        if not self.several:
            self.desks[0].executor.work(touches, now, blocked)
            return
        halted = self.troubles()

        def one(desk: AccountDesk) -> None:
            every = self._books.ledger.accounts
            allowed = every if desk.name in halted else blocked
            desk.executor.work(self._own(desk, touches), now, allowed)

        self._each(one, now)

    def hold(self, commit: Callable[[], None]) -> None:
        """See Desk; the requests of all accounts share one durable write."""
        for desk in self.desks:
            desk.executor.hold(commit)

    def release(self) -> None:
        """See Desk."""
        for desk in self.desks:
            desk.executor.release()

    def heard(self, volumes: Mapping[str, float]) -> None:
        """See Executor."""
        for desk in self.desks:
            if desk.share.parents.open:
                desk.executor.heard(volumes)

    def abandon(self) -> None:
        """See Executor."""
        for desk in self.desks:
            desk.executor.abandon()

    def cancel_risk(self, now: int) -> None:
        """See Executor."""
        self._each(lambda desk: desk.executor.cancel_risk(now), now)

    def reconcile(self, now: int, chosen: Callable[[AccountDesk], bool] = lambda _: True) -> None:
        """Compare each with its venue; halt those where something cannot be explained.

        Args:
            chosen: which.
        """

        agreed = []

        def one(desk: AccountDesk) -> None:
            if not chosen(desk):
                return
            found = desk.compare(now)
            if found:
                self._halt(found, now, desk.name)
            elif found is not None:
                agreed.append(desk)

        self._each(one, now)
        if agreed:
            self._books.conservation()

    def reconcile_due(self, now: int) -> None:
        """Compare those where that is due."""
        self.reconcile(now, lambda desk: desk.due)

    def reconcile_behind(self, now: int) -> None:
        """Compare those that nothing may be sent to before."""
        self.reconcile(now, lambda desk: desk.executor.behind)

    def adopt(self, who: str, now: int, marks: Marks, account: str = "") -> list[str]:
        """Take the accounts as their venues have them: journal what differs.

        Positions come first, since they move cash by their own. What one account has less and
        another more of the same asset went from the one to the other.

        Args:
            account: the name of one; else all.

        Returns:
            What was adopted, a line each; a second time finds nothing.

        Raises:
            VenueUnreachableError: one does not answer, something cannot be adopted, or it has not
                stood for so long that trading is halted for it.
            SettingError: there is none of that name.
        """
        chosen = self.named(account)
        for desk in chosen:
            self._check_adoptable(desk, now)
        adopted: list[str] = []
        for desk in chosen:
            found = desk.strangers(who, now)
            adopted += [f"order {one.client_id} of {one.instrument}" for one in found]
            if found:
                self._record(*found)
        for lots in (True, False):
            if not lots:
                adopted += self._transfers(chosen, who, now)
            for desk in chosen:
                differing = [one for one in desk.differences() if one.lots is lots]
                if not differing:
                    continue
                moved = transfers_of(desk.venue, desk.share.foreign.transfers, now)
                made = adjustments(differing, desk.catalog, marks, who, now, desk.name, moved)
                self._record(*made)
                adopted += [f"{one.kind} {one.reason}" for one in made]
        for desk in chosen:
            self._halt("", now, desk.name)
            desk.compare_due = True
        return adopted

    def _check_adoptable(self, desk: AccountDesk, now: int) -> None:
        """VenueUnreachableError where what its venue says may not be what is true.

        Balances lag behind fills for a while: what differs is adopted once it has stood, which is
        what halts; and fills that come while we look are in the balances already, or not yet.
        """
        if desk.executor.doubtful:
            raise VenueUnreachableError("an order's fate is unknown; adopt when that is settled")
        desk.executor.sync_fills(now)
        found = desk.differences()
        if desk.executor.sync_fills(now):
            raise VenueUnreachableError("the account moves; adopt when nothing is under way")
        halts = self._books.tally.halts if desk.name else {"": self._books.tally.halted}
        if found and not halts.get(desk.name):
            desk.compare_due = True
            raise VenueUnreachableError(
                f"{in_words([], found)}; that may be an exchange which is late: adopt once it "
                "stays, and trading is halted for it"
            )

    def _transfers(self, chosen: Sequence[AccountDesk], who: str, now: int) -> list[str]:
        """Cash that one account has less and another more, as far as the two agree."""
        said: list[str] = []
        missing: dict[tuple[str, str], int] = {}
        found: dict[tuple[str, str], int] = {}
        for desk in chosen:
            for one in desk.differences():
                if not one.lots:
                    side = found if one.theirs > one.ours else missing
                    side[desk.name, one.what] = abs(one.theirs - one.ours)
        for (giver, asset), lost in missing.items():
            left = lost
            for (taker, of), came in found.items():
                amount = min(left, came)
                if of != asset or not amount:
                    continue
                self._record(
                    CashTransferred(
                        ts=now, giver=giver, taker=taker, asset=asset, amount=amount, who=who
                    )
                )
                said.append(f"transfer of {amount} units of {asset} from {giver} to {taker}")
                found[taker, of] -= amount
                left -= amount
        return said

    def disagreements(self) -> list[str]:
        """Where ledgers and venues differ, in words. Raises VenueUnreachableError."""
        return [
            f"account {desk.name}: {one}" if desk.name else str(one)
            for desk in self.desks
            for one in desk.differences()
        ]

    # --- simulated venues live off the market data that the node sees ---

    def observe(self, rows: Raw, now: int, last: int, snapshot: Callable[[int], Any]) -> bool:
        """Let the venues live to `now`.

        Args:
            last: ns UTC that perception has taken in. snapshot: whole books as of then, for a
                venue that has lost its own.

        Returns:
            Whether the only venue was given whole books: it must not be shown again what
            perception has taken in. Of several, each is kept from that here.
        """
        rebuilt = False
        for desk in self.desks:
            playback: Any = desk.venue
            known = self._known_to.get(desk.name, 0)
            own = rows
            if known and len(rows):
                own = Raw(rows[int(np.searchsorted(rows["recv_ts"], known, side="right")) :])
            try:
                playback.observe(own, now)
                if getattr(playback, "needs_snapshot", False):
                    playback.observe(Raw(snapshot(now)), now)
                    rebuilt = True
                    if self.several:
                        self._known_to[desk.name] = last
            except VenueUnreachableError as error:
                desk.executor.lost(str(error))
        return rebuilt and not self.several


def recording(record: Callable[..., None], books: Books, account: str) -> Callable[..., None]:
    """What an account of several may journal: nothing that belongs to another one.

    Raises (when called):
        InvariantError: the venue reports a movement of an instrument of another account.
    """

    def checked(*records: AnyRecord) -> None:
        for each in records:
            moved = None
            if isinstance(each, FillBooked):
                moved = each.fill.instrument
            elif isinstance(each, FundingBooked):
                moved = each.funding.instrument
            if moved is not None and books.account_of(moved) != account:
                raise InvariantError(
                    f"its venue reports a movement of {moved}, which is not traded in it; give "
                    "that instrument to this account, or trade it elsewhere"
                )
        record(*records)

    return checked if account else record
