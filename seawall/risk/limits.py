"""Limits: an intent becomes Approved here or nowhere, for the whole portfolio at its worst.

Worst means that of all open orders just those fill that make the position larger. What cannot be
known (a mark, the equity, an order's fate) allows reductions only.
"""

import math
from collections.abc import Mapping, Sequence

import msgspec

from seawall.core.errors import InvariantError, SettingError
from seawall.core.instruments import PRODUCT_LIMIT
from seawall.core.intents import (
    AnyIntent,
    Approved,
    Basket,
    Close,
    Quotes,
    Refused,
    Target,
    Urgency,
    within,
)
from seawall.risk.limit_kernels import LOTS_BOUND

STRATEGY = "risk"  # the sub-ledger of what risk trades of its own
NO_CAP = ""


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What the portfolio may hold (MAX_POSITION_SIZE, MAX_LEVERAGE).

    Attributes:
        position: gross notional of one asset, share of equity.
        leverage: gross notional of the portfolio, multiple of equity.
        per_trade: loss of one protected position at its stop, share of equity.
    """

    position: float = 0.2
    leverage: float = 2.0
    per_trade: float = 0.04

    def __post_init__(self) -> None:
        for name in ("position", "leverage", "per_trade"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise SettingError(f"risk limit {name} is {getattr(self, name)}; it must be >= 0")


class Stake(msgspec.Struct, frozen=True):
    """What one of several strategies holds of an instrument, signed lots.

    Attributes:
        worst_long, worst_short: the furthest that its open orders and its approved goal can bring
            it: worst_short <= lots <= worst_long.
    """

    lots: int
    worst_long: int
    worst_short: int


class Holding(msgspec.Struct, frozen=True, kw_only=True):
    """One instrument as risk sees it.

    Attributes:
        lots: signed position.
        worst_long, worst_short: signed position were all open buys (sells) filled and nothing
            else: worst_short <= lots <= worst_long.
        mark: quote units, by consensus; NaN where unknown.
        value: notional of one lot in the numeraire, > 0; NaN where unknown.
        asset: consensus group; its instruments share one position cap, long and short add up.
        tradable: whether new risk may be taken; if not, `reason` says why (stale, not valid, an
            order in state UNKNOWN, ...).
        shortable: false for spot without borrowing.
        bound: most lots either way that the exact books can hold.
        stakes: by strategy, where several share the account. An intent of one of them is about its
            own lots; what the others may come to on the same side takes up room, and what they
            hold on the other side gives none, since they may close it at any time.
        widening: factor of the distance of stops in this market's volatility, >= 1. What is
            protected is made smaller by it, so that the money at risk stays the same.
    """

    asset: str
    lots: int = 0
    worst_long: int = 0
    worst_short: int = 0
    mark: float = math.nan
    value: float = math.nan
    tradable: bool = True
    reason: str = ""
    shortable: bool = True
    bound: int = LOTS_BOUND
    stakes: Mapping[str, Stake] = {}
    widening: float = 1.0

    @property
    def known(self) -> bool:
        """Whether its lots can be valued."""
        return 0.0 < self.mark < math.inf and 0.0 < self.value < math.inf

    @property
    def worst(self) -> int:
        """Most lots, either way, that it can come to by open orders alone."""
        alone = max(self.lots, self.worst_long, -self.lots, -self.worst_short)
        if not self.stakes:
            return alone
        return max(alone, _taken(self.stakes, 1), _taken(self.stakes, -1))

    def seen_by(self, strategy: str) -> "Holding":
        """The holding with a strategy's own lots in place of all, where it has a stake."""
        stake = self.stakes.get(strategy)
        if stake is None:
            return self
        return msgspec.structs.replace(self, lots=stake.lots)


def approve(
    intents: Sequence[AnyIntent],
    holdings: Mapping[str, Holding],
    equity: float,
    limits: Limits,
    blocks: Sequence[str],
    now: int,
) -> tuple[list[Approved], list[Refused]]:
    """What may be done of each intent, one after the other; earlier ones use up room first.

    The position approved is the least of what was asked, every cap, and whole lots toward zero.
    Whoever executes it counts the open orders of a side toward it: never more than
    ``position - worst_long`` lots to buy, or ``worst_short - position`` to sell, on top of them.

    Args:
        holdings: instrument → holding, for every instrument that is held or may be traded.
        equity: numeraire, NaN where unknown.
        blocks: reasons why no new risk may be taken anywhere (open breakers, halted).
        now: ns UTC; expired intents are refused, Close excepted.

    Returns:
        Approved and refused intents, each in the order of `intents`.
    """
    portfolio = _Portfolio(holdings, equity, limits, blocks)
    approved: list[Approved] = []
    refused: list[Refused] = []
    for intent in intents:
        answer = portfolio.answer(intent, now)
        if isinstance(answer, Approved):
            portfolio.take(answer)
            approved.append(answer)
        else:
            refused.append(answer)
    return approved, refused


def approved_as(
    intent: Target | Close, position: int, reduce_only: bool, capped_by: str
) -> Approved:
    """What the compiled caps (`limit_kernels`) have approved of an intent."""
    return Approved(
        intent=intent,
        instrument=intent.instrument,
        position=position,
        reduce_only=reduce_only,
        capped_by=capped_by,
    )


def leg_of(basket: Basket, instrument: str, start: int, position: int) -> Approved:
    """What the approval of a whole basket allows of one leg: any position on its way, and back.

    Args:
        start: lots held before the basket began. position: lots to be held now.

    Raises:
        InvariantError: the position lies beyond where the leg leads.
    """
    end = start + sum(leg.lots for leg in basket.legs if leg.instrument == instrument)
    if not min(start, end) <= position <= max(start, end):
        raise InvariantError(
            f"basket of {basket.strategy}: {position} lots of {instrument} were never approved; "
            f"it leads from {start} to {end}"
        )
    return Approved(intent=basket, instrument=instrument, position=position)


def close_all(
    holdings: Mapping[str, Holding],
    now: int,
    tape: int,
    expiry: int,
    why: str,
    strategy: str = STRATEGY,
) -> list[Close]:
    """A close of every position that is held."""
    return [
        Close(
            strategy=strategy,
            ts=now,
            tape=tape,
            expiry=expiry,
            urgency=Urgency.URGENT,
            rationale=why,
            instrument=name,
        )
        for name, holding in holdings.items()
        if holding.lots
    ]


def deleverage(
    holdings: Mapping[str, Holding], equity: float, limits: Limits, now: int, tape: int, expiry: int
) -> list[Target | Close]:
    """Reductions that bring gross notional to 0.9 of the leverage cap, all positions pro rata.

    What the leverage breaker asks for. Empty where gross is under the cap, or where a mark or
    the equity is unknown (nothing is sold on a guess). Equity gone: everything is closed.
    """
    held = {name: holding for name, holding in holdings.items() if holding.lots}
    if not math.isfinite(equity) or not all(holding.known for holding in held.values()):
        return []
    gross = math.fsum(abs(holding.lots) * holding.value for holding in held.values())
    if gross <= limits.leverage * equity:
        return []
    share = max(0.0, 0.9 * limits.leverage * equity / gross)
    words = f"gross notional is {gross:.2f}, cap {limits.leverage * equity:.2f}"
    if share == 0.0:
        return [*close_all(held, now, tape, expiry, words)]
    return [
        Target(
            strategy=STRATEGY,
            ts=now,
            tape=tape,
            expiry=expiry,
            urgency=Urgency.URGENT,
            rationale=words,
            instrument=name,
            exposure=holding.lots * holding.value * share,
        )
        for name, holding in held.items()
    ]


class _Portfolio:
    """Holdings at their worst while intents are approved one by one."""

    def __init__(
        self,
        holdings: Mapping[str, Holding],
        equity: float,
        limits: Limits,
        blocks: Sequence[str],
    ) -> None:
        self._holdings = dict(holdings)
        self._equity = equity
        self._limits = limits
        self._worst: dict[str, float] = {}  # instrument → worst notional
        self._block = blocks[0] if blocks else ""
        if not self._block and not 0.0 < equity < math.inf:
            self._block = "equity is unknown" if math.isnan(equity) else "there is no equity"
        for name, holding in holdings.items():
            worst = holding.worst
            if worst and not holding.known and not self._block:
                self._block = f"mark of {name} is unknown"
            self._worst[name] = worst * holding.value if worst else 0.0

    def answer(self, intent: AnyIntent, now: int) -> Approved | Refused:
        """The intent, approved or refused."""
        if isinstance(intent, Basket):
            return self._carried(intent, now)
        holding = self._holdings.get(intent.instrument)
        if holding is None:
            return Refused(intent=intent, reason=f"{intent.instrument} is not traded here")
        if isinstance(intent, Close):
            return _reduction(intent, 0)
        if now >= intent.expiry:
            return Refused(intent=intent, reason="the intent has expired")
        if isinstance(intent, Quotes):
            return self._quoted(intent, holding.seen_by(intent.strategy))
        if not math.isfinite(intent.exposure):
            return Refused(intent=intent, reason="the wanted exposure is not a number")
        block = self._block or _obstacle(intent.instrument, holding)
        if block:
            return _reduced(intent, holding.seen_by(intent.strategy), block)
        return self._sized(intent, holding.seen_by(intent.strategy))

    def take(self, approved: Approved) -> None:
        """Count an approved position as if all of it could fill."""
        if isinstance(approved.intent, Basket):
            return  # its legs were counted one by one
        holding = self._holdings[approved.instrument]
        stake = holding.stakes.get(approved.intent.strategy)
        high = low = approved.position
        if isinstance(approved.intent, Quotes):
            high += sum(level.size for level in approved.intent.bids)
            low -= sum(level.size for level in approved.intent.asks)
        if stake is not None:
            if stake.worst_short <= low and high <= stake.worst_long:
                return
            wider = Stake(stake.lots, max(stake.worst_long, high), min(stake.worst_short, low))
            stakes = {**holding.stakes, approved.intent.strategy: wider}
            holding = msgspec.structs.replace(holding, stakes=stakes)
            self._holdings[approved.instrument] = holding
            self._worst[approved.instrument] = holding.worst * holding.value
        elif max(high, -low) > holding.worst:
            notional = max(high, -low) * holding.value
            self._worst[approved.instrument] = max(self._worst[approved.instrument], notional)

    def _sized(self, intent: Target, holding: Holding) -> Approved | Refused:
        """The least of what was asked and every cap."""
        protection, wanted = intent.protection, abs(intent.exposure)
        if protection is not None:
            wanted /= holding.widening
            protection = msgspec.structs.replace(
                protection, stop=min(1.0, protection.stop * holding.widening)
            )
        lots, capped_by = _whole_lots(wanted, holding.value), NO_CAP
        if protection is not None:
            at_risk = self._limits.per_trade * self._equity
            most = _whole_lots(at_risk / protection.stop, holding.value)
            if most < lots:
                lots, capped_by = most, "per_trade"
        for cap, most in self._caps(intent, holding, 1 if intent.exposure > 0.0 else -1):
            if most < lots:
                lots, capped_by = most, cap
        if lots == 0 and holding.lots == 0 and intent.exposure != 0.0:
            if capped_by == NO_CAP:
                return Refused(intent=intent, reason="smaller than one lot")
            return Refused(intent=intent, reason=f"the {capped_by} cap leaves no room")
        position = lots if intent.exposure > 0.0 else -lots
        return Approved(
            intent=intent,
            instrument=intent.instrument,
            position=position,
            reduce_only=_reduces(position, holding.lots),
            capped_by=capped_by,
            protection=protection,
        )

    def _quoted(self, intent: Quotes, holding: Holding) -> Approved | Refused:
        """The ladder, cut so that no cap is passed were one side filled and the other not.

        Where no new risk may be taken only the side that reduces the position is left.
        """
        block = self._block or _obstacle(intent.instrument, holding)
        longest, shortest = max(0, holding.lots), max(0, -holding.lots)
        capped_by = block
        if not block:
            capped_by, longest = min(self._caps(intent, holding, 1), key=lambda cap: cap[1])
            short, shortest = min(self._caps(intent, holding, -1), key=lambda cap: cap[1])
            capped_by = capped_by if longest < shortest else short
        bids = within(intent.bids, longest - holding.lots)
        asks = within(intent.asks, shortest + holding.lots)
        if not (bids or asks):
            words = block or f"the {capped_by} cap leaves no room"
            return Refused(intent=intent, reason=words if intent.bids or intent.asks else "empty")
        cut = (bids, asks) != (intent.bids, intent.asks)
        return Approved(
            intent=msgspec.structs.replace(intent, bids=bids, asks=asks),
            instrument=intent.instrument,
            position=holding.lots,
            reduce_only=bool(block),
            capped_by=capped_by if cut else NO_CAP,
        )

    def _carried(self, intent: Basket, now: int) -> Approved | Refused:
        """All legs of a basket at their full size, or none: a part of it is something else."""
        before = dict(self._holdings), dict(self._worst)
        reason = self._against(intent, now)
        if not reason:
            return Approved(intent=intent, instrument="", position=0)
        self._holdings, self._worst = before
        return Refused(intent=intent, reason=reason)

    def _against(self, intent: Basket, now: int) -> str:
        """What speaks against one of the legs, empty if nothing; each is counted as it passes."""
        names = [leg.instrument for leg in intent.legs]
        if not names or len(set(names)) < len(names) or not all(leg.lots for leg in intent.legs):
            return "a basket needs legs, each with lots and an instrument of its own"
        if now >= intent.expiry:
            return "the intent has expired"
        for leg in intent.legs:
            name, holding = leg.instrument, self._holdings.get(leg.instrument)
            if holding is None:
                return f"{name} is not traded here"
            block = self._block or _obstacle(name, holding)
            own = holding.seen_by(intent.strategy)
            position = own.lots + leg.lots
            target = Target(
                strategy=intent.strategy,
                ts=intent.ts,
                tape=intent.tape,
                expiry=intent.expiry,
                instrument=name,
                exposure=float(position),
            )
            most = min(self._caps(target, own, 1 if position > 0 else -1), key=lambda c: c[1])
            if block or (abs(position) > most[1] and not _reduces(position, own.lots)):
                return f"{name}: {block or f'the {most[0]} cap leaves no room'}"
            self.take(Approved(intent=target, instrument=name, position=position))
        return ""

    def _caps(
        self, intent: Target | Quotes, holding: Holding, side: int
    ) -> tuple[tuple[str, int], ...]:
        """Each cap's name and the most lots, long (side +1) or short (-1), that it allows."""
        same = gross = 0.0
        for name, notional in self._worst.items():
            if name != intent.instrument:
                gross += notional
                if self._holdings[name].asset == holding.asset:
                    same += notional
        position = self._limits.position * self._equity - same
        leverage = self._limits.leverage * self._equity - gross
        others = {n: s for n, s in holding.stakes.items() if n != intent.strategy}
        taken = _taken(others, side)
        return (
            ("position", max(0, _whole_lots(position, holding.value) - taken)),
            ("leverage", max(0, _whole_lots(leverage, holding.value) - taken)),
            ("exact books", max(0, holding.bound - taken)),
            ("short sale", holding.bound if holding.shortable or side > 0 else 0),
        )


def _taken(stakes: Mapping[str, Stake], side: int) -> int:
    """Most lots that strategies may come to hold long (side +1), or short (-1), together."""
    if side > 0:
        return sum(max(0, stake.worst_long) for stake in stakes.values())
    return sum(max(0, -stake.worst_short) for stake in stakes.values())


def _whole_lots(notional: float, value: float) -> int:
    """Whole lots, toward zero, that are worth no more than `notional`; 0 where it is negative."""
    if notional <= 0.0:
        return 0
    lots = int(min(notional / value, float(PRODUCT_LIMIT)))
    return lots if lots * value <= notional else lots - 1


def _obstacle(name: str, holding: Holding) -> str:
    """Why this instrument takes no new risk, empty if it does."""
    if not holding.tradable:
        return holding.reason or f"{name} cannot be traded"
    return "" if holding.known else f"mark of {name} is unknown"


def _reduces(position: int, lots: int) -> bool:
    """Whether going from `lots` to `position` neither grows nor turns."""
    return min(0, lots) <= position <= max(0, lots)


def _reduced(intent: Target, holding: Holding, reason: str) -> Approved | Refused:
    """As much of the intent as goes toward zero, else refused."""
    toward = intent.exposure * holding.lots
    if holding.lots and (toward <= 0.0):
        return _reduction(intent, 0, reason if intent.exposure else NO_CAP)
    if holding.lots and holding.known:
        lots = _whole_lots(abs(intent.exposure), holding.value)
        position = lots if intent.exposure > 0.0 else -lots
        if _reduces(position, holding.lots):
            return _reduction(intent, position)
    return Refused(intent=intent, reason=reason)


def _reduction(intent: Target | Close, position: int, capped_by: str = NO_CAP) -> Approved:
    """An approval that can only make the position smaller."""
    return Approved(
        intent=intent,
        instrument=intent.instrument,
        position=position,
        reduce_only=True,
        capped_by=capped_by,
    )
