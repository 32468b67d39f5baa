"""The executor: from what risk approved to orders at one venue, and their answers to our books.

Goals (`goals`) say what leaves; the desk (`desk`) sends it and takes in what the venue says.
"""

import math
from collections.abc import Callable, Container, Iterable, Mapping, Sequence

from seawall.core.instruments import Catalog
from seawall.core.intents import Approved, Basket, Quotes
from seawall.core.orders import PROTECTIVE
from seawall.core.ports import Venue
from seawall.execution.baskets import Baskets, Carrying
from seawall.execution.desk import RESTING, Desk, ExecutionShape
from seawall.execution.goals import ACCOUNT, Goals, Key, Pace, Strategies, Touch, at_once
from seawall.execution.orders import Orders, worst_of
from seawall.execution.pacing import Pacer
from seawall.execution.protection import Entry, Protecting, Protections
from seawall.execution.quoting import Ladder, Quoting


class Executor(Desk):
    """Works approved intents against one venue.

    Args:
        prefix: of client ids; never the same for two journals at one venue.
        record: journals records, durably, and applies them to the folds.
        position: signed lots held, by instrument, and by strategy where a second argument names
            one.
        last_fill: report sequence of the last fill that the ledger has booked.
        strategies: who shares the account. One, or none: all of it is theirs.
        shares: instrument → signed lots of each sub-ledger; needed for several strategies.
        pace: how much of what a goal lacks may go out now, and at what price.
        protections: what was approved; None: nothing is protected. entry: average price in ticks
            of what an owner (empty: the account) holds of an instrument.
        baskets: that are being worked.
    """

    def __init__(
        self,
        catalog: Catalog,
        venue: Venue,
        orders: Orders,
        prefix: str,
        record: Callable[..., None],
        position: Callable[..., int],
        last_fill: Callable[[], int],
        shape: ExecutionShape | None = None,
        strategies: Sequence[str] = (),
        shares: Callable[[str], Mapping[str, int]] = lambda instrument: {},
        pace: Pace = at_once,
        protections: Protections | None = None,
        entry: Entry = lambda instrument, owner: math.nan,
        baskets: Baskets | None = None,
    ) -> None:
        super().__init__(venue, orders, prefix, record, last_fill, shape)
        self.strategies = Strategies(strategies, position, shares)
        self._pacer = pace if isinstance(pace, Pacer) else None
        self._goals = Goals(self, catalog.by_name, self.strategies, record, pace)
        self._quoting = Quoting(self, self.strategies, self._goals.closing)
        self._baskets = baskets or Baskets()
        self._carrying = Carrying(
            self._goals, self.strategies, self._baskets, record, self._goals.under_way
        )
        self._stopping = False
        self._protections = protections or Protections()
        self._protecting = Protecting(
            self, catalog.by_name, self.strategies, self._protections, record, entry
        )

    @property
    def goals(self) -> dict[Key, Approved]:
        """What is to be reached, by instrument and owner."""
        return self._goals.standing

    @property
    def ladders(self) -> dict[Key, Ladder]:
        """What is quoted, by instrument and owner."""
        return self._quoting.standing

    def aim(self, approved: Iterable[Approved]) -> None:
        """Take over what risk approved; a newer approval replaces its owner's older one."""
        for approval in approved:
            intent = approval.intent
            if isinstance(intent, Basket):
                self._carrying.begin(intent, intent.ts)
                continue
            key = approval.instrument, self.strategies.owner(intent.strategy)
            if isinstance(intent, Quotes):
                self._goals.drop(*key)
                self._quoting.aim(approval)
                continue
            for other in list(self._quoting.standing):
                if other == key or (other[0] == key[0] and key[1] == ACCOUNT):
                    del self._quoting.standing[other]
            self._goals.aim(approval)

    def abandon(self) -> None:
        """Nothing is wanted any more; what stands at the venue is not touched, baskets are left."""
        self._goals.standing.clear()
        self._quoting.standing.clear()
        self._stopping = True

    @property
    def idle(self) -> bool:
        """Nothing is wanted that is not had, no order is open and no stop is to be watched."""
        watched = self._protections.barred or any(
            self.strategies.position(name) for name, _ in self._protections.agreed
        )
        wanted = self._goals.standing or self._quoting.standing or self._baskets.open
        return not (self.orders.open or wanted or watched)

    @property
    def settled(self) -> bool:
        """No order and no basket is under way: what is open waits to protect a position."""
        return not self._baskets.open and all(
            entry.state in RESTING and entry.order.purpose in PROTECTIVE
            for entry in self.orders.open.values()
        )

    @property
    def plain(self) -> bool:
        """See Desk; every goal goes out at once, and nothing is quoted or protected."""
        protected = self._protections.agreed or self._protections.barred
        special = bool(self._quoting.standing or self._baskets.open or protected)
        paced = self._pacer is not None and not self._pacer.idle
        return super().plain and not (special or paced)

    @property
    def watched(self) -> Mapping[Key, str]:
        """Positions whose stop the venue does not hold, and why."""
        return self._protecting.watched

    def settle(self, touches: Mapping[str, Touch], now: int) -> None:
        """Several strategies: all that the account holds is somebody's, before anybody decides.

        What was quoted where somebody came to hold more is to be approved anew.
        """
        if self.strategies.names and not self.silent:
            grown = self._goals.hand_out(touches, now)
            for key in [key for key in self.ladders if key[0] in grown]:
                del self.ladders[key]

    def work(self, touches: Mapping[str, Touch], now: int, blocked: Container[str]) -> None:
        """Send what is called for. `blocked`: instruments in which a position may only be reduced.

        Nothing goes to a venue that does not answer, or before the books agree with it again.
        """
        if self.orders.open or self._quoting.standing:
            self._quoting.work(touches, now, blocked)
        if self._baskets.open and not self.silent:
            self._carrying.work(now, self._stopping)
        self._goals.work(touches, now, blocked)
        if self._protections.agreed or self.orders.open:
            self._protecting.work(touches, now)
        if self._pacer is not None:
            self._pacer.finish(self.goals, self.strategies.owner, now)

    def heard(self, volumes: Mapping[str, float]) -> None:
        """Lots that the market traded since the last boundary, by instrument."""
        if self._pacer is not None:
            self._pacer.heard(volumes)

    def recover(self, now: int) -> None:
        """See Desk; parent orders that were being worked go on."""
        super().recover(now)
        if self._pacer is not None:
            self.aim(self._pacer.resumed(self.strategies.owner, now))

    def reach(self, instrument: str) -> dict[str, tuple[int, int, int]]:
        """Strategy → lots held, and the furthest long and short that its open orders and its goal
        can bring it; empty where one strategy has the whole account."""
        found = {}
        entries = self.orders.of(instrument) if self.strategies.names else []
        for name in self.strategies.names:
            held = self.strategies.position(instrument, name)
            buys, sells = worst_of(e for e in entries if e.order.strategy == name)
            goal = self.goals.get((instrument, name))
            aimed = self._goals.wanted(goal) if goal else held
            ladder = self._quoting.standing.get((instrument, name))
            high, low = (ladder.high, ladder.low) if ladder else (held, held)
            found[name] = (held, max(held + buys, aimed, high), min(held - sells, aimed, low))
        return found
