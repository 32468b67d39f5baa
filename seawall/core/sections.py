"""The sections of the settings: every number a user may choose, with its unit and its range.

`settings` puts them together and says where each value came from.
"""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from seawall.core.commands import EVERY_ACCOUNT


@dataclass(frozen=True)
class Allowed:
    """What a setting may be, in words, where its type does not say it."""

    text: str


def _split(value: object) -> object:
    """Lists may be written ``a,b`` in the environment and on the command line."""
    return [part.strip() for part in value.split(",")] if isinstance(value, str) else value


def _distinct(values: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(values)) != len(values):
        raise ValueError("a name twice")
    return values


Names = Annotated[
    tuple[Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]+$")], ...],
    BeforeValidator(_split),
    AfterValidator(_distinct),
    Field(min_length=1, max_length=32),
    Allowed('different names of exchanges, such as ["binance", "kraken"]'),
]
Symbols = Annotated[
    tuple[Annotated[str, StringConstraints(pattern=r"^[A-Z0-9]+/[A-Z0-9]+(:[A-Z0-9]+)?$")], ...],
    BeforeValidator(_split),
    AfterValidator(_distinct),
    Field(min_length=1, max_length=256),
    Allowed('different symbols in capitals, such as ["BTC/USDT", "ETH/USDT"]'),
]
Instruments = Annotated[
    tuple[str, ...],
    BeforeValidator(_split),
    AfterValidator(_distinct),
    Field(max_length=256),
    Allowed('different names of instruments, such as ["BTCUSDT@binance-usdm"]'),
]
Parameters = Annotated[
    tuple[Annotated[str, StringConstraints(pattern=r"^[a-z_0-9]+=[^=]+$")], ...],
    BeforeValidator(_split),
    AfterValidator(_distinct),
    Field(max_length=64),
    Allowed('NAME=VALUE, such as ["fast=10", "slow=50"]'),
]
Strategies = Annotated[
    tuple[Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)], ...],
    BeforeValidator(_split),
    AfterValidator(_distinct),
    Field(max_length=32),
    Allowed('strategies with shares and parameters, such as ["trend share=0.6 fast=5", "rules"]'),
]
MicroPrices = Annotated[
    tuple[Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)], ...],
    BeforeValidator(_split),
    AfterValidator(_distinct),
    Field(max_length=256),
    Allowed("fits of the micro-price, as `seawall calibrate micro-price` writes them"),
]
Folder = Annotated[
    Path,
    BeforeValidator(lambda value: None if value == "" else value),
    AfterValidator(Path.expanduser),
    Allowed("the path of a folder"),
]
Tape = Annotated[
    Path | None,
    BeforeValidator(lambda value: None if value == "" else value),
    AfterValidator(lambda value: value and value.expanduser()),
    Allowed("the path of a recorded tape"),
]
Speed = Annotated[
    Annotated[float, Field(gt=0, le=1_000_000)] | None,
    BeforeValidator(lambda value: None if value == "max" else value),
    Allowed('a factor of real time above 0, or "max" for as fast as possible'),
]


Tiers = Annotated[
    tuple[Annotated[str, StringConstraints(pattern=r"^[0-9]{1,15}(:-?[0-9]{1,6}){2}$")], ...],
    BeforeValidator(_split),
    AfterValidator(_distinct),
    Field(max_length=32),
    Allowed('VOLUME:MAKER_PPM:TAKER_PPM by growing volume, such as ["1000000:160:400"]'),
]


class Section(BaseModel):
    """A table of `seawall.toml`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: object) -> object:
        if isinstance(value, bool):
            raise ValueError("not a number")
        return value


class FeedSettings(Section):
    """Where market data comes from.

    Attributes:
        name: `auto` is `live` if an exchange answers, else `simulated`.
        exchanges: names as ccxt has them. symbols: as ccxt has them.
        tape: the folder of a recorded tape, for `replay`.
        speed: of a replay, as a factor of real time; None (``max``) is as fast as possible.
        cadence_ms: milliseconds from frame to frame.
        outages_per_hour: of each source of the simulated market.
        hostile: one source of the simulated market turns hostile a minute after the start of a
            paper run; `none` leaves all honest; else an attack's name and its parameters, several
            divided by ``+``. Live feeds and replays are never attacked.
    """

    name: Literal["auto", "live", "simulated", "replay"] = "auto"
    exchanges: Names = ("binance", "kraken", "coinbase")
    symbols: Symbols = ("BTC/USDT", "ETH/USDT")
    tape: Tape = None
    speed: Speed = None
    cadence_ms: int = Field(default=1_000, ge=10, le=3_600_000)
    outages_per_hour: float = Field(default=2.0, ge=0, le=3_600)
    hostile: Annotated[
        str,
        StringConstraints(
            strip_whitespace=True,
            pattern=r"^[a-z_-]+( +[a-z_-]+=[^ +]+)*( *\+ *[a-z_-]+( +[a-z_-]+=[^ +]+)*)*$",
            max_length=500,
        ),
        Allowed('auto, none, or an attack such as "mean_shift offset=200 after=60s"'),
    ] = "auto"

    @model_validator(mode="after")
    def _replay_has_a_tape(self) -> "FeedSettings":
        if self.name == "replay" and self.tape is None:
            raise ValueError("replay needs the folder of a tape: --tape FOLDER or feed.tape")
        return self


class AdmissionSettings(Section):
    """What a source must keep to, so that its rows are let in.

    Attributes:
        trust_minimum: in [0, 1]; sources below are refused.
        rows_per_second, burst_rows: the token bucket of each source.
        rows_per_epoch: quota of each source per epoch of 60 s.
        stale_ms: a row whose corrected age is above this is refused.
        clock_step_ms: a source whose clock jumps by more is stale.
        price_band: largest move of the touch within one epoch, as a fraction.
        silent_s: a silence longer than this is a gap, which resets windows.
    """

    trust_minimum: float = Field(default=0.3, ge=0, le=1)
    rows_per_second: int = Field(default=50_000, ge=1, le=100_000_000)
    burst_rows: int = Field(default=200_000, ge=1, le=1_000_000_000)
    rows_per_epoch: int = Field(default=5_000_000, ge=1, le=6_000_000_000)
    stale_ms: int = Field(default=5_000, ge=1, le=3_600_000)
    clock_step_ms: int = Field(default=250, ge=1, le=60_000)
    price_band: float = Field(default=0.25, ge=0.001, le=1.0)
    silent_s: float = Field(default=30.0, ge=0.1, le=86_400)


class EstimationSettings(Section):
    """How fast estimates forget.

    Attributes:
        halflife_s: of location and scale, seconds.
        volatility_halflife_s: of the volatility, seconds.
    """

    halflife_s: float = Field(default=300.0, ge=1, le=604_800)
    volatility_halflife_s: float = Field(default=600.0, ge=1, le=604_800)


class GatingSettings(Section):
    """How the model of each group learns, and what it is measured against.

    Attributes:
        reference: a golden set of `seawall calibrate reference`; empty: `reference.golden` in the
            feed's data folder if it is there, else a provisional one of the run's own beginning.
        faulty: hostile sources that are withstood; certified with 4 x faulty + 1 sources or more.
        window: rows of the sample that one update learns from.
        rate: share of the way to the sample's location that one update goes.
    """

    reference: Annotated[str, Allowed("the path of a golden set, or empty for the usual place")] = (
        ""
    )
    faulty: int = Field(default=1, ge=1, le=10)
    window: int = Field(default=1_000, ge=128, le=10_000)
    rate: float = Field(default=0.05, ge=0.001, le=0.05)


class DecisionSettings(Section):
    """How the agents form opinions, and when an opinion becomes an intent.

    Attributes:
        trend_fast_s, trend_slow_s: half-lives of the trend agent's averages, seconds.
        deadband: a target that moves by less than this fraction of the position cap is left alone.
        order_flow_halflife_s: of the order-flow agent, seconds.
        minimum_hold_s: shortest time between two changes of one target, seconds.
        instruments: what to trade, such as BTCUSDT@binance-usdm; empty: one of each asset, the
            first that the deposit pays for, a derivative rather than a spot pair.
        strategy: `rules` (all agents), another strategy's name, or the path of a file of your own.
        parameters: of the strategy, `name=value`, in place of its defaults.
        stop_loss: every position is left where it is down by this fraction of its entry; 0: never.
        take_profit: and where it is up by this fraction; 0: never. trailing_stop: the stop follows
            the best price since.
        strategies: several at once on one account, in place of `strategy`: each its name and, after
            blanks, `share=` of the capital, `name=` of its sub-ledger and its parameters.
        micro_prices: fits of the micro-price, as `seawall calibrate micro-price` writes them.
    """

    trend_fast_s: float = Field(default=60.0, ge=1, le=604_800)
    trend_slow_s: float = Field(default=600.0, ge=1, le=2_592_000)
    deadband: float = Field(default=0.15, ge=0, le=1)
    order_flow_halflife_s: float = Field(default=30.0, ge=1, le=86_400)
    minimum_hold_s: float = Field(default=30.0, ge=0, le=86_400)
    instruments: Instruments = ()
    strategy: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=500),
        Allowed("the name of a strategy, or the path of a file that defines one"),
    ] = "rules"
    parameters: Parameters = ()
    strategies: Strategies = ()
    micro_prices: MicroPrices = ()
    stop_loss: float = Field(default=0.0, ge=0, le=0.5)
    take_profit: float = Field(default=0.0, ge=0, le=10.0)
    trailing_stop: Literal["off", "on"] = "off"

    @model_validator(mode="after")
    def _a_stop_behind_it(self) -> "DecisionSettings":
        if not self.stop_loss and (self.take_profit or self.trailing_stop == "on"):
            raise ValueError(
                "decision.take_profit and decision.trailing_stop need a decision.stop_loss above 0"
            )
        return self

    @model_validator(mode="after")
    def _one_or_several(self) -> "DecisionSettings":
        if self.strategies and (self.strategy != "rules" or self.parameters):
            raise ValueError(
                "decision.strategies stands in place of decision.strategy and decision.parameters: "
                "leave these out, parameters go behind each name"
            )
        return self

    @model_validator(mode="after")
    def _fast_is_faster(self) -> "DecisionSettings":
        if self.trend_fast_s >= self.trend_slow_s:
            raise ValueError(
                f"decision.trend_fast_s ({self.trend_fast_s:g}) must be below "
                f"decision.trend_slow_s ({self.trend_slow_s:g})"
            )
        return self


class ExecutionSettings(Section):
    """How an approved change of a position is worked.

    Attributes:
        schedule: `at_once`, or how a parent order is divided over the horizon.
        horizon_s: seconds that a parent order should take. slices: parts it is divided into.
        jitter: share of a slice that sizes and times are drawn from.
        bend: of `almgren_chriss`: 0 is even, more is sooner; kappa times the horizon.
        participation: of `participation`: our share of all that is traded.
        visible: of `iceberg`: share of the parent that is shown at once.
        smallest_order: value in quote units that the exchange takes at least; smaller parts of a
            parent order wait for the next one.
        volume_bars: a table of bars that `vwap` learns the day's volume from, CSV or Parquet.
        slippage_model: of `seawall calibrate slippage`: bounds prices and judges fills.
        depth_share: of what the best five levels show, that one order may take; 0: all it likes.
    """

    schedule: Literal["at_once", "twap", "vwap", "almgren_chriss", "participation", "iceberg"] = (
        "at_once"
    )
    horizon_s: float = Field(default=300.0, ge=1, le=604_800)
    slices: int = Field(default=20, ge=1, le=10_000)
    jitter: float = Field(default=0.3, ge=0, le=1)
    bend: float = Field(default=2.0, ge=0, le=50)
    participation: float = Field(default=0.1, ge=0.001, le=0.9)
    visible: float = Field(default=0.1, ge=0.001, le=1)
    smallest_order: float = Field(default=10.0, ge=0, le=1_000_000)
    volume_bars: Annotated[str, Allowed("the path of a CSV or Parquet table, or empty")] = ""
    slippage_model: Annotated[str, Allowed("the path of a slippage model, or empty")] = ""
    depth_share: float = Field(default=0.0, ge=0, le=1)

    @model_validator(mode="after")
    def _vwap_has_bars(self) -> "ExecutionSettings":
        if self.schedule == "vwap" and not self.volume_bars:
            raise ValueError(
                "vwap goes by the volume of a day: name a table of bars, execution.volume_bars"
            )
        return self


class RiskSettings(Section):
    """What may be lost and held.

    Attributes:
        max_leverage: gross exposure over equity.
        max_position_size: per asset, as a fraction of capital.
        drawdown_threshold: fall from the peak of equity that opens the breaker, as a fraction.
        flash_crash_threshold: price move within one minute that opens the breaker, as a fraction.
        volatility_threshold: annualised (365 days) volatility, as a fraction.
    """

    max_leverage: float = Field(default=2.0, ge=0.1, le=2.0)
    max_position_size: float = Field(default=0.2, ge=0.001, le=1.0)
    drawdown_threshold: float = Field(default=0.20, ge=0.01, le=0.5)
    flash_crash_threshold: float = Field(default=0.05, ge=0.005, le=0.5)
    volatility_threshold: float = Field(default=0.60, ge=0.05, le=10.0)


class VenueSettings(Section):
    """The simulated exchange.

    Attributes:
        maker_fee_ppm, taker_fee_ppm: millionths of the traded value; below 0 is a rebate.
        fee_tiers: lower fees from a volume of thirty days on, in units of the settle asset.
        entry_latency_ms, response_latency_ms: from us to the venue, and back.
        latency_jitter: both are drawn from latency x [1 - jitter, 1 + jitter].
        latency_source: `feed` adds what the feed's last row was later than its fastest.
        half_spread_ppm: assumed where the tape has bars only, millionths of the price.
        bar_participation: largest share of a bar's volume that our orders may take.
        queue_model: who of those that leave our price stood before us.
        queue_power: of the probabilistic model.
        trade_lots: `shared`: our orders share the lots of a trade; `whole`: each meets all of it.
        impact: how what we took of late moves the prices that we take next.
        impact_ppm: that move, where we took as much as was traded in `impact_window_s`.
        funding: a table of the funding rates of perpetual contracts, CSV or Parquet.
        maintenance_ppm: of a position's value that equity must cover, else it is closed; 0: never.
        liquidation_fee_ppm: what that costs beside the taker's fee.
        url: empty: in this process; `unix:/path` or `tcp:127.0.0.1:port`: a process of its own.
    """

    maker_fee_ppm: int = Field(default=200, ge=-1_000, le=10_000)
    taker_fee_ppm: int = Field(default=500, ge=-1_000, le=10_000)
    entry_latency_ms: float = Field(default=5.0, ge=0, le=60_000)
    response_latency_ms: float = Field(default=5.0, ge=0, le=60_000)
    half_spread_ppm: int = Field(default=100, ge=0, le=100_000)
    bar_participation: float = Field(default=0.1, ge=0.001, le=1.0)
    fee_tiers: Tiers = ()
    latency_jitter: float = Field(default=0.0, ge=0, le=0.999)
    latency_source: Literal["own", "feed"] = "own"
    queue_model: Literal["risk_averse", "probabilistic"] = "risk_averse"
    queue_power: int = Field(default=1, ge=1, le=64)
    trade_lots: Literal["shared", "whole"] = "shared"
    impact: Literal["none", "linear", "square_root"] = "none"
    impact_ppm: int = Field(default=1_000, ge=0, le=100_000)
    impact_window_s: float = Field(default=60.0, ge=0.001, le=86_400)
    funding: Annotated[str, Allowed("the path of a CSV or Parquet table, or empty")] = ""
    maintenance_ppm: int = Field(default=0, ge=0, le=500_000)
    liquidation_fee_ppm: int = Field(default=5_000, ge=0, le=100_000)
    url: Annotated[
        str,
        StringConstraints(pattern=r"^(unix:.+|tcp:(127\.0\.0\.1|localhost):[0-9]{1,5})?$"),
        Allowed('"" for in this process, unix:/path or tcp:127.0.0.1:port'),
    ] = ""


class LiveSettings(Section):
    """The account that a live run trades. Its keys are secrets, not settings: `seawall keys`.

    Attributes:
        exchange: ccxt's name, such as binance or kraken; empty: none, so no live run.
        product: `spot`, or `linear` for contracts that settle in what they are quoted in.
        keys: what its secrets' names begin with; empty: the exchange's name.
        url: of a practice exchange on this machine, in place of the real one.
        network: `testnet`: the exchange's own practice network, where it has one.
        tls: the oldest version of TLS that is spoken.
        deadline_ms: longest wait of the path for an answer about the account.
        dead_man: `armed`: the exchange cancels our orders a minute after our last sign, where it
            offers that; `off`: it does not.
        vault: mount and path of a HashiCorp Vault (KV version 2) that holds the keys, such as
            `secret/trading`; its address and token come from VAULT_ADDR and VAULT_TOKEN.
    """

    exchange: Annotated[
        str,
        StringConstraints(pattern=r"^[a-z0-9_]*$", max_length=40),
        Allowed("the name of an exchange in ccxt, such as binance"),
    ] = ""
    product: Literal["spot", "linear"] = "spot"
    keys: Annotated[
        str,
        StringConstraints(pattern=r"^[a-z0-9._-]*$", max_length=100),
        Allowed("small letters, digits, '.', '_' and '-'"),
    ] = ""
    url: Annotated[
        str,
        StringConstraints(pattern=r"^(https?://(127\.0\.0\.1|localhost)(:[0-9]{1,5})?/?)?$"),
        Allowed('"" for the real exchange, or http://127.0.0.1:PORT'),
    ] = ""
    network: Literal["real", "testnet"] = "real"
    tls: Literal["1.2", "1.3"] = "1.3"
    deadline_ms: int = Field(default=3_000, ge=100, le=30_000)
    dead_man: Literal["armed", "off"] = "armed"
    vault: Annotated[
        str,
        StringConstraints(pattern=r"^([A-Za-z0-9_-]+/[A-Za-z0-9_/-]+)?$", max_length=200),
        Allowed('"" or MOUNT/PATH, such as secret/trading'),
    ] = ""


class AccountSettings(Section):
    """One of several accounts, an entry of `[[accounts]]`.

    Attributes:
        name: small letters and digits.
        venues: the markets' venues, as the catalog has them, whose instruments are traded in it.
        instruments: by name, in place of all of a venue's.
        capital: as `capital`, of this account.
        venue: what of `[venue]` is different here.
        live: what of `[live]` is different here, in a live run. Without `venues` and `instruments`
            all that its exchange has of its product is traded in it.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9]{0,15}$")
    venues: tuple[str, ...] = ()
    instruments: tuple[str, ...] = ()
    capital: Decimal = Field(gt=0, le=1_000_000_000_000)
    venue: VenueSettings = VenueSettings()
    live: LiveSettings = LiveSettings()

    def within(self, venue: VenueSettings) -> VenueSettings:
        """The simulated exchange of this account, where `[venue]` is `venue`."""
        given = {name: getattr(self.venue, name) for name in self.venue.model_fields_set}
        return venue.model_copy(update=given)

    def live_within(self, live: LiveSettings) -> LiveSettings:
        """Where this account is traded live, where `[live]` is `live`."""
        given = {name: getattr(self.live, name) for name in self.live.model_fields_set}
        return live.model_copy(update=given)


def _apart(accounts: tuple[AccountSettings, ...]) -> tuple[AccountSettings, ...]:
    """ValueError where two accounts have a name, or one of their markets, in common."""
    for what, named in (
        ("the name", [one.name for one in accounts]),
        ("the venue", [name for one in accounts for name in one.venues]),
        ("the instrument", [name for one in accounts for name in one.instruments]),
    ):
        twice = [name for name in named if named.count(name) > 1]
        if twice:
            raise ValueError(f"{what} {twice[0]} is given twice")
    for one in accounts:
        if not (one.venues or one.instruments or one.live.model_fields_set):
            raise ValueError(
                f"account {one.name} has no venues and no instruments to trade, nor [accounts.live]"
            )
    if any(one.name == EVERY_ACCOUNT for one in accounts):
        raise ValueError(f"{EVERY_ACCOUNT} is no name for one of several; choose another")
    return accounts


AccountEntries = Annotated[
    tuple[AccountSettings, ...],
    AfterValidator(_apart),
    Field(max_length=16),
    Allowed("tables [[accounts]] in a file, each with name, capital and venues or instruments"),
]


class ApiSettings(Section):
    """Where the dashboard is served. port: 0 takes any free one."""

    host: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z0-9.:_-]+$"),
        Allowed("an address or name of this machine, such as 127.0.0.1"),
    ] = "127.0.0.1"
    port: int = Field(default=8_000, ge=0, le=65_535)
