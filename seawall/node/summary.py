"""What a run came to, in the words of the person who pays for it."""

import msgspec


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What one strategy's sub-ledger came to, numeraire: PnL after fees and funding, and fills."""

    pnl: float
    fees: float
    fills: int


class Summary(msgspec.Struct, frozen=True, kw_only=True):
    """The end of a run. Times in ns UTC of the tape; money in the numeraire.

    Attributes:
        refused: rows refused by admission, by reason.
        positions: instrument → quantity with its unit, what is still held.
        strategies: what each one came to, where the account has more than one.
        breakers: what opened, as text. notes: gaps, clock skew and other things worth a line.
    """

    run: str
    mode: str
    started: int
    ended: int
    rows: int
    frames: int
    intents: int
    orders: int
    fills: int
    refused: dict[str, int]
    equity_start: float
    equity_end: float
    realised: float
    fees: float
    max_drawdown: float
    numeraire: str
    journal_rows: int
    journal_hash: str
    open_orders: tuple[str, ...]
    breakers: tuple[str, ...]
    notes: tuple[str, ...]
    positions: dict[str, str]
    strategies: dict[str, Result] = {}
