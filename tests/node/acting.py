"""An Action on a scripted venue, and markets written by hand."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from seawall.core.clock import MINUTE, SECOND
from seawall.core.consensus import CONSENSUS
from seawall.core.frames import FRAME, FrameFlag, Regime
from seawall.core.intents import Close, Target, Urgency
from seawall.core.records import (
    AnyRecord,
    BreakerChanged,
    Deposited,
    IntentRefused,
    RunStarted,
)
from seawall.execution import Executor
from seawall.node.accounts import AccountDesk
from seawall.node.action import Action
from seawall.node.books import Books
from seawall.node.perception import Perceived
from seawall.node.prices import Prices
from seawall.risk.breakers import BREAKERS
from seawall.risk.gauges import Gauges
from seawall.risk.limits import Limits
from seawall.storage import MemoryJournal, Recorder
from tests.execution.scripted_venue import (
    BALANCES,
    CATALOG,
    OTHER,
    PERP,
    SPOT,
    ScriptedVenue,
)

START = 1_000 * SECOND
GOOD, STALE = int(FrameFlag.VALID), int(FrameFlag.STALE)
GROUPS = sorted({instrument.consensus_group for instrument in CATALOG.instruments})
BOOK_OF = {PERP.name: 0, OTHER.name: 1, SPOT.name: 2}
PRICE = 10_000.0


class Wishes:
    """Stands where the orchestrator stands: it wants the same at every boundary."""

    strategy = "rules"

    def __init__(self) -> None:
        self.exposures: dict[str, float | None] = {}  # None: close
        self.urgency = Urgency.URGENT
        self.frozen: set[str] = set()

    def refused(self, instrument: str, until: int) -> None:
        """It asks all the same."""

    def again(self, frozen: set[str]) -> None:
        """As above."""
        self.frozen = frozen

    def decide(
        self, rows, opinions, equity, positions, ready, now, tape, strengths=None
    ) -> list[Any]:
        about = {"strategy": "rules", "ts": now, "tape": tape, "expiry": now + MINUTE}
        return [
            Close(**about, urgency=self.urgency, instrument=name)
            if exposure is None
            else Target(**about, urgency=self.urgency, instrument=name, exposure=exposure)
            for name, exposure in self.exposures.items()
        ]


class Desk:
    """An Action on a scripted venue, and frames written by hand."""

    def __init__(self) -> None:
        self.now = START
        self.venue = ScriptedVenue(now=START)
        self.journal = MemoryJournal()
        self.books = Books(BREAKERS)
        recorder = Recorder(self.journal, self.books.folds)
        self.record = recorder.record
        self.record(
            RunStarted(
                ts=START,
                run="r",
                mode="paper",
                seed=0,
                settings="",
                numeraire="USD",
                instruments=CATALOG.instruments,
            ),
            *(Deposited(ts=START, asset=a, amount=n) for a, n in BALANCES.items()),
        )
        self.wishes = Wishes()
        executor = Executor(
            CATALOG,
            self.venue,
            self.books.orders,
            "a",
            self.record,
            self.books.ledger.position,
            lambda: self.books.ledger.last_fill_sequence("v"),
        )
        self.action = Action(
            self.books,
            Prices(CATALOG),
            {},
            self.wishes,
            Gauges(BREAKERS, SECOND),
            Limits(),
            [AccountDesk("", executor, self.venue, self.books, CATALOG)],
            recorder,
        )
        executor.recover(START)
        self.action.reconcile(START)
        self.flags = dict.fromkeys(BOOK_OF, GOOD)
        self.prices = dict.fromkeys(BOOK_OF, PRICE)

    def frames(self) -> NDArray[Any]:
        """One row of each book that is not left out of `flags`."""
        rows = np.zeros(len(self.flags), FRAME)
        for row, (name, flags) in zip(rows, self.flags.items(), strict=True):
            price = self.prices[name]
            row["ts"], row["tape"], row["book"], row["flags"] = self.now, 7, BOOK_OF[name], flags
            row["bid"], row["ask"], row["mid"] = price - 1, price + 1, price
            row["votes"], row["consensus"], row["quote_mark"] = 1, price, 1.0
            row["regime"], row["volatility"] = Regime.NORMAL_VOL, 0.3
        return rows

    def rows(self, frames: NDArray[Any]) -> NDArray[Any]:
        """The consensus of the books that have frames."""
        rows = np.zeros(len(GROUPS), CONSENSUS)
        rows["ts"], rows["tape"], rows["group"] = self.now, 7, range(len(GROUPS))
        rows["regime"], rows["volatility"] = Regime.NORMAL_VOL, 0.3
        for row, group in zip(rows, GROUPS, strict=True):
            mine = [b for b, i in enumerate(CATALOG.instruments) if i.consensus_group == group]
            valid = frames[np.isin(frames["book"], mine) & (frames["flags"] & GOOD > 0)]
            row["votes"], row["flags"] = len(valid), GOOD if len(valid) else 0
            row["price"] = np.median(valid["mid"]) if len(valid) else 0.0
        return rows

    def step(self, boundaries: int = 1) -> None:
        for _ in range(boundaries):
            self.now += SECOND
            self.venue.pass_to(self.now)
            frames = self.frames()
            self.action.act(Perceived(frames, self.rows(frames)), {}, self.now)

    def wish(self, lots: int | None, name: str = PERP.name) -> None:
        """Want a position of so many lots at the price of now; None: closed."""
        self.wishes.exposures[name] = None if lots is None else lots * PRICE

    def lots(self, name: str = PERP.name) -> int:
        return self.books.ledger.position(name)

    def told(self, *kinds: type[AnyRecord]) -> list[Any]:
        return [r for _, r in self.journal.read() if isinstance(r, kinds)]

    def refusals(self) -> list[str]:
        return [r.refused.reason for r in self.told(IntentRefused)]

    def hold(self, lots: int, name: str = PERP.name) -> None:
        self.wish(lots, name)
        self.step(3)
        assert self.lots(name) == lots
        self.wishes.exposures.clear()
        assert not self.books.orders.open

    def breaker(self, name: str, key: str = "", state: str = "OPEN") -> None:
        self.record(
            BreakerChanged(
                ts=self.now,
                name=name,
                scope=BREAKERS[name].scope,
                key=key,
                state=state,
                measure=1.0,
                threshold=BREAKERS[name].threshold,
                reason="planted",
                since=self.now,
            )
        )
