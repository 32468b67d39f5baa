"""The folds of one journal: what the whole node goes by, and the share of each account in it.

Where there are several accounts, each has folds of its own that are told its records alone: its
orders and its cash can be held against its venue whatever the others are doing.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from seawall.core.commands import ADOPT, COMMANDS, EVERY_ACCOUNT
from seawall.core.errors import InvariantError
from seawall.core.intents import Approved, Basket
from seawall.core.orders import Fill, Funding, Order
from seawall.core.parents import Parent
from seawall.core.records import (
    AnyRecord,
    BasketMoved,
    Deposited,
    FillBooked,
    Fold,
    FundingBooked,
    IntentApproved,
    LedgerAdjusted,
    LotsTransferred,
    OperatorCommanded,
    OrderAdopted,
    OrderChanged,
    OrderCreated,
    ParentBegan,
    ParentEnded,
    StopOutEnded,
    StopWatched,
)
from seawall.execution import Baskets, Orders, Protections
from seawall.execution.parents import Parents
from seawall.gating import Models, Sources
from seawall.ledger import Ledger
from seawall.node.foreign import Foreign
from seawall.node.provenance import UpdateLog
from seawall.node.tally import Tally
from seawall.risk.breakers import Breaker, Breakers

LETTERS = "abcdefghijklmnop"  # one for each account, in the order in which they are first named
NOBODY, EVERYBODY = "?", ""


class Part:
    """A fold that is told the records of one account; Fold."""

    def __init__(self, fold: Fold, account: str, whose: Callable[[AnyRecord], str]) -> None:
        self.name = f"{fold.name}@{account}"
        self._fold = fold
        self._account = account
        self._whose = whose

    def apply(self, record: AnyRecord) -> None:
        """Take in one record."""
        if self._whose(record) in (EVERYBODY, self._account):
            self._fold.apply(record)

    def state(self) -> Any:
        """Plain values."""
        return self._fold.state()

    def restore(self, state: Any) -> None:
        """Take over what `state` gave."""
        self._fold.restore(state)


class Share:
    """What belongs to one account; of the only one, all that there is."""

    def __init__(
        self,
        ledger: Ledger,
        orders: Orders,
        parents: Parents,
        protections: Protections,
        baskets: Baskets,
        foreign: Foreign,
    ) -> None:
        self.ledger = ledger
        self.orders = orders
        self.parents = parents
        self.protections = protections
        self.baskets = baskets
        self.foreign = foreign

    @property
    def folds(self) -> list[Fold]:
        """All of them."""
        return [
            self.ledger,
            self.orders,
            self.parents,
            self.protections,
            self.baskets,
            self.foreign,
        ]


class Books(Share):
    """The folds of one journal, in the order in which they are applied.

    Args:
        accounts: names, where there are several; empty: one alone, without a name.
    """

    def __init__(self, breakers: Mapping[str, Breaker], accounts: Sequence[str] = ()) -> None:
        super().__init__(Ledger(), Orders(), Parents(), Protections(), Baskets(), Foreign())
        self.breakers = Breakers(breakers)
        self.tally = Tally()
        self.models = Models()
        self.sources = Sources()
        self.updates = UpdateLog()
        self.shares: dict[str, Share] = {
            name: Share(Ledger(name), Orders(), Parents(), Protections(), Baskets(), Foreign(name))
            for name in accounts
        }

    @property
    def folds(self) -> list[Fold]:
        """All of them; those of the whole come first, since they say what belongs to whom."""
        whole: list[Fold] = [
            self.ledger,
            self.orders,
            self.parents,
            self.protections,
            self.baskets,
            self.breakers,
            self.tally,
            self.models,
            self.sources,
            self.updates,
            self.foreign,
        ]
        parts = [
            Part(fold, name, self.whose)
            for name, share in self.shares.items()
            for fold in share.folds
        ]
        return [*whole, *parts]

    def entry(self, instrument: str, owner: str) -> float:
        """Average price in ticks of what a strategy, or the account (empty), holds; NaN: flat."""
        book = self.ledger.books(owner or None).get(instrument)
        return self.ledger.ticks(instrument, book) if book else math.nan

    # --- several accounts ---

    def account_of(self, instrument: str) -> str:
        """The account that an instrument is traded in; NOBODY where none does."""
        return self.ledger.accounts.get(instrument, NOBODY) if self.shares else EVERYBODY

    def share_of(self, instrument: str) -> Share | None:
        """The books of the account that an instrument is traded in; None where none does."""
        return self.shares.get(self.account_of(instrument)) if self.shares else self

    def prefix(self, account: str, run: str) -> str:
        """What client ids of an account begin with: never the same for two.

        Args:
            run: of a journal that is new.
        """
        named = list(dict.fromkeys(self.ledger.accounts.values()))
        new = [name for name in self.shares if name not in named]
        letter = LETTERS[[*named, *new].index(account)] if account else ""
        return (self.tally.origin or run) + letter

    def conservation(self) -> None:
        """See Ledger; and that the accounts add up to the whole, to the last unit.

        Raises:
            InvariantError: one of these does not hold.
        """
        self.ledger.conservation()
        if not self.shares:
            return
        for what in ("cash", "deposits", "fees", "funding", "realised", "positions"):
            total: dict[str, int] = {}
            for share in self.shares.values():
                for name, amount in getattr(share.ledger, what).items():
                    total[name] = total.get(name, 0) + amount
            said = {name: n for name, n in getattr(self.ledger, what).items() if n}
            if {name: n for name, n in total.items() if n} != said:
                raise InvariantError(
                    f"the accounts' {what} {total} are not those of the whole, {said}; stop and "
                    "replay the journal"
                )
        for share in self.shares.values():
            share.ledger.conservation()

    def whose(self, record: AnyRecord) -> str:
        """The account that a record concerns; EVERYBODY or NOBODY where it is not one."""
        match record:
            case (
                OrderCreated(order=Order(instrument=name))
                | FillBooked(fill=Fill(instrument=name))
                | FundingBooked(funding=Funding(instrument=name))
                | ParentBegan(parent=Parent(instrument=name))
                | LotsTransferred(instrument=name)
                | StopWatched(instrument=name)
                | StopOutEnded(instrument=name)
                | OrderAdopted(instrument=name)
            ):
                return self.account_of(name)
            case OrderChanged(client_id=name) | ParentEnded(parent_id=name):
                return self._by_prefix(name)
            case BasketMoved(basket=basket):
                return self._of_basket(basket)
            case IntentApproved(approved=Approved(intent=Basket() as basket)):
                return self._of_basket(basket)
            case IntentApproved(approved=Approved(instrument=name)):
                return self.account_of(name)
            case Deposited(account=account):
                return account or NOBODY
            case LedgerAdjusted(instrument=name, account=account):
                return self.account_of(name) if name else account or NOBODY
            case OperatorCommanded(command=command, arguments=said) if command == ADOPT:
                target = said.get(COMMANDS[ADOPT], EVERY_ACCOUNT)
                return EVERYBODY if target == EVERY_ACCOUNT else target
            case _:
                return EVERYBODY

    def accounts_of(self, basket: Basket) -> set[str]:
        """The accounts that its legs are traded in."""
        return {self.account_of(leg.instrument) for leg in basket.legs}

    def _of_basket(self, basket: Basket) -> str:
        found = self.accounts_of(basket)
        return found.pop() if len(found) == 1 else NOBODY

    def _by_prefix(self, name: str) -> str:
        letter = name.rpartition("-")[0][-1:]
        named = list(dict.fromkeys(self.ledger.accounts.values()))
        at = LETTERS.find(letter) if letter else -1
        return named[at] if 0 <= at < len(named) else NOBODY
