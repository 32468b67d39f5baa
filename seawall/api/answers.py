"""The shapes of the API's answers."""

from typing import Annotated, Any, Literal

import msgspec
from fastapi import Response
from pydantic import BaseModel, ConfigDict, Field

from seawall import __version__


class Answer(BaseModel):
    """What all answers share: a node may tell more than is promised here."""

    model_config = ConfigDict(extra="allow")


Milliseconds = Annotated[int | None, Field(description="ms UTC since 1970, the node's clock")]


class Feed(Answer):
    """Where the market data comes from."""

    name: str | None = Field(examples=["live"])
    detail: str | None = Field(examples=["binance, kraken"])


class Health(Answer):
    """Whether the node is alive. `stale`: it has not spoken for more than ten seconds."""

    status: Literal["starting", "stale", "trading", "halted", "recovering", "stopping"]
    reasons: list[str] = Field(examples=[["drawdown breaker is open"]])
    mode: str | None = Field(examples=["paper"])
    feed: Feed | None
    uptime_s: float | None = Field(description="seconds since the run began")
    age_s: float = Field(description="seconds since the node spoke last", examples=[0.4])
    versions: dict[str, str] = Field(examples=[{"seawall": __version__}])


class Equity(Answer):
    """The account in the numeraire. drawdown: fraction of the peak. leverage: gross over equity."""

    value: float | None
    cash: float | None
    unrealised: float | None
    realised: float | None
    fees: float | None
    peak: float | None
    drawdown: float | None
    leverage: float | None
    ts: Milliseconds


class Position(Answer):
    """What is held of one instrument. quantity: exact, in `unit`; target: wanted, same unit."""

    instrument: str = Field(examples=["BTC/USDT@binance"])
    quantity: str | None = Field(examples=["-0.015"])
    unit: str = Field(examples=["BTC"])
    average_price: float | None
    mark: float | None
    notional: float | None
    unrealised: float | None
    realised: float | None
    target: float | None
    ts: Milliseconds


class Portfolio(Answer):
    """What is held, and how much of it is allowed."""

    now: Milliseconds
    numeraire: str = Field(examples=["USD"])
    equity: Equity
    positions: list[Position]
    limits: dict[str, float] = Field(examples=[{"max_leverage": 2.0, "max_position_size": 0.2}])


class Account(Answer):
    """One account. state: trading, waiting (for its venue) or halted (until somebody has looked).

    balances: asset → a plain decimal. positions: instrument → quantity and unit. compared: when its
    books and its venue were last found equal. name: empty where there is one alone.
    """

    name: str = Field(examples=["kraken"])
    state: str = Field(examples=["trading"])
    reason: str | None
    equity: float | None
    cash: float | None
    unrealised: float | None
    realised: float | None
    fees: float | None
    balances: dict[str, str] = Field(examples=[{"USDT": "60000"}])
    positions: dict[str, str] = Field(examples=[{"BTC/USDT@binance": "0.01 BTC"}])
    orders: int
    compared: Milliseconds | None
    ts: Milliseconds


class Accounts(Answer):
    """All accounts that are traded in."""

    now: Milliseconds
    numeraire: str
    accounts: list[Account]


class Breaker(Answer):
    """A circuit breaker. state: CLOSED, OPEN or HALF_OPEN."""

    name: str = Field(examples=["drawdown"])
    scope: str = Field(examples=["portfolio"])
    state: str = Field(examples=["CLOSED"])
    measure: float | None = Field(examples=[0.031])
    threshold: float | None = Field(examples=[0.2])
    unit: str = Field(examples=["fraction"])
    reason: str | None
    since: Milliseconds
    ts: Milliseconds


class Breakers(Answer):
    """All circuit breakers; active: the names of those that are open."""

    now: Milliseconds
    active: list[str]
    breakers: list[Breaker]


class Point(Answer):
    """One moment of the run. prices: instrument → price."""

    ts: Milliseconds
    equity: float | None
    drawdown: float | None
    prices: dict[str, float | None]


class History(Answer):
    """The last points, oldest first, at most 3,600."""

    points: list[Point]


class Problem(Answer):
    """Why there is no answer."""

    detail: str = Field(examples=["the node has not spoken yet"])


class JsonResponse(Response):
    """A body that is JSON already, or is made so."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        return content if isinstance(content, bytes) else msgspec.json.encode(content)
