"""Passes over the boundaries at which the action side has nothing to do.

Most are: no order is open, nothing new is wanted, no breaker is near. For these it does at once,
compiled, what `Action.act` would do one by one (the gauges read, the account is valued), and stops
before the first at which anything may be due. Acting at every boundary gives the same journal.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from seawall.core.instruments import Catalog, Instrument, Kind
from seawall.ledger.kernels import CASH, HELD
from seawall.node import quiet_kernels as kernels
from seawall.node.action import Action
from seawall.node.prices import SILENT
from seawall.risk.breakers import Action as BreakerAction


class Quiet:
    """Looks ahead for one action side."""

    def __init__(self, action: Action, catalog: Catalog) -> None:
        self._action = action
        self._primary = {book: name for name, book in catalog.primary.items()}
        self._catalog = catalog
        self.assets: dict[str, int] = {}
        for instrument in catalog.instruments:
            for asset in (instrument.base, instrument.quote, instrument.settle_asset):
                self.assets.setdefault(asset, len(self.assets))
        self._names = {name: at for at, name in enumerate(catalog.by_name)}

    def pass_over(
        self,
        frames: NDArray[Any],
        edges: NDArray[np.int64],
        strengths: NDArray[np.float64],
        groups: int,
        boundary: int,
        digest: tuple[int, int, int],
    ) -> int:
        """The first boundary from `boundary` on at which something may be due.

        Args:
            edges: where each boundary's frames begin, and their end. strengths: (boundaries x
                groups, 3) of the orchestrator.
            digest: when the last one was made (ns UTC), the least span to the next (ns), and after
                how many boundaries, this one included, it may be due.
        """
        action = self._action
        if not self._still() or boundary >= len(edges) - 1:
            return boundary
        plan = self.plan(frames[edges[boundary] : edges[boundary + 1]], digest)
        if plan is None:
            return boundary
        gauges = action.gauges
        reached = kernels.pass_over(
            frames,
            edges,
            strengths,
            groups,
            boundary,
            plan,
            self.scratch(plan),
            action.orchestrator.wishes,
            gauges.gauge[0],
            gauges.falls[0],
            gauges.ranges,
            gauges.measures,
            gauges.models,
        )
        action.max_drawdown = max(action.max_drawdown, float(plan.limits["drawdown"][0]))
        return int(reached)

    def scratch(self, plan: kernels.Plan) -> kernels.Scratch:
        """Room for one boundary."""
        gauges = self._action.gauges
        return kernels.Scratch(
            np.zeros(len(plan.primary)),
            np.zeros(len(plan.assets)),
            np.full(len(gauges.groups), np.nan),
            np.zeros(len(gauges.groups)),
            np.ones(len(gauges.measures), np.bool_),
            np.zeros((2, max(len(plan.assets), len(plan.primary)) + 1)),
        )

    def _still(self) -> bool:
        """Whether nothing is under way that each boundary could move on."""
        action, executor = self._action, self._action.executor
        return not (
            action.accounts.several
            or not executor.idle
            or executor.unreachable
            or executor.behind
            or action.compare_due
            or action.portfolio is None
            or action.several
            or action.books.breakers.acts(BreakerAction.REDUCE)
            or action.books.breakers.acts(BreakerAction.CLOSE)
        )

    def plan(self, frames: NDArray[Any], digest: tuple[int, int, int]) -> kernels.Plan | None:
        """What the boundaries to come must look like: like this one. None: it is not regular."""
        action, catalog = self._action, self._catalog
        books: list[int] = frames["book"].tolist()
        names = [self._primary.get(book) for book in books]
        slots = {name: slot for slot, name in enumerate(names) if name is not None}
        for name, trouble in action.prices.trouble.items():
            if trouble != ("" if name in slots else SILENT):
                return None  # something has just changed, or cannot be traded on
        instruments = [None if n is None else catalog.by_name[n] for n in names]
        groups = [i.consensus_group for i in instruments if i is not None]
        gauges = action.gauges
        gauges.know(groups)
        if set(gauges.groups) != set(groups):
            return None
        gauges.listen(action.books.breakers, action.model_measures)
        limits = np.zeros(1, kernels.LIMITS)
        orchestrator = action.orchestrator
        limits["cap_fraction"] = orchestrator.shape.cap_fraction
        limits["deadband"] = orchestrator.shape.deadband
        limits["hold"] = orchestrator.hold
        limits["digest_ts"], limits["digest_span"], limits["digest_left"] = digest
        return kernels.Plan(
            np.array(books, np.int64),
            np.array([i is not None for i in instruments], np.bool_),
            np.array([gauges.groups.index(i.consensus_group) if i else 0 for i in instruments]),
            self._primaries(slots),
            self._sources_of_marks(instruments),
            self._cash(),
            self._held(),
            self._traded(slots),
            limits,
        )

    def _primaries(self, slots: dict[str, int]) -> NDArray[Any]:
        """(instruments,) MARK: the frame that tells of each, or the mark that it was left with."""
        marks = np.zeros(len(self._names), kernels.MARK)
        for name, at in self._names.items():
            told = [n for n in (name, *self._catalog.alike[name]) if n in slots]
            if told:
                marks[at] = (slots[told[0]], kernels.CONSENSUS, 0.0)
            else:
                last = self._action.prices.marks.get(name, np.nan)
                marks[at] = (0, kernels.FIXED, last)
        return marks

    def _sources_of_marks(self, instruments: list[Instrument | None]) -> NDArray[Any]:
        """(assets,) MARK; the last frame that tells of an asset counts, as in `Prices.update`."""
        known = {self._action.books.ledger.numeraire: 1.0, **self._action.prices.asset_marks}
        marks = np.zeros(len(self.assets), kernels.MARK)
        for asset, at in self.assets.items():
            marks[at] = (0, kernels.FIXED, known.get(asset, np.nan))
        for slot, instrument in enumerate(instruments):
            if instrument is not None:
                marks[self.assets[instrument.quote]] = (slot, kernels.QUOTE, 0.0)
                marks[self.assets[instrument.base]] = (slot, kernels.CONSENSUS, 0.0)
        return marks

    def _cash(self) -> NDArray[Any]:
        ledger = self._action.books.ledger
        held = [(a, n) for a, n in ledger.cash.items() if n and a in self.assets]  # none foreign
        cash = np.zeros(len(held), CASH)
        for row, (asset, amount) in zip(cash, held, strict=True):
            row["units"] = float(amount) / float(10 ** ledger.decimals(asset))
            row["asset"] = self.assets[asset]
        return cash

    def _held(self) -> NDArray[Any]:
        catalog = self._catalog.by_name
        books = [(n, b) for n, b in self._action.books.ledger.books().items() if b.position]
        held = np.zeros(len(books), HELD)
        for row, (name, book) in zip(held, books, strict=True):
            instrument = catalog[name]
            unit = instrument.cash_unit
            inverse = instrument.kind is Kind.INVERSE
            row["instrument"] = self._names[name]
            row["settle"] = self.assets[instrument.settle_asset]
            row["quote"] = self.assets[instrument.quote]
            row["spot"], row["inverse"] = instrument.kind is Kind.SPOT, inverse
            row["size"] = book.position * instrument.lot_float
            row["unit"] = abs(book.position) * unit.numerator / unit.denominator
            row["cost"] = float(book.cost)
            row["gain"] = -1.0 if inverse is (book.position > 0) else 1.0
            row["tick"] = instrument.tick_float
            row["divisor"] = float(10**instrument.settle_decimals)
        return held

    def _traded(self, slots: dict[str, int]) -> NDArray[Any]:
        orchestrator, ledger = self._action.orchestrator, self._action.books.ledger
        traded = np.zeros(len(orchestrator.traded), kernels.TRADED)
        for row, (name, group) in zip(traded, orchestrator.traded, strict=True):
            row["ready"] = name in slots
            instrument = self._catalog.by_name[name]
            row["group"], row["instrument"] = group, self._names[name]
            row["quote"] = self.assets[instrument.quote]
            row["inverse"] = instrument.kind is Kind.INVERSE
            row["lot"], row["lots"] = instrument.lot_float, float(ledger.position(name))
        return traded
