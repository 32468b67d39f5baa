"""Settings: every number a user may choose, with its unit, its range and where it came from.

A flag beats the environment, which beats `seawall.toml`, the profile and the defaults. A wrong
setting is one SettingError line that names its file, variable or flag, the value and the range.
"""

import difflib
import hashlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from seawall.core.errors import SettingError

FILE = Path("seawall.toml")
PREFIX = "SEAWALL_"
SECRET_PREFIX = "SEAWALL_SECRET_"  # secrets are no settings; they have a port of their own

Profile = Literal["conservative", "balanced", "aggressive"]
PROFILES: dict[str, dict[str, float]] = {  # what each profile says of [risk]
    "conservative": {
        "max_leverage": 1.0,
        "max_position_size": 0.10,
        "drawdown_threshold": 0.10,
        "flash_crash_threshold": 0.03,
    },
    "balanced": {},  # the documented defaults
    "aggressive": {
        "max_leverage": 2.0,
        "max_position_size": 0.40,
        "drawdown_threshold": 0.20,
        "flash_crash_threshold": 0.05,
    },
}

DOCUMENTED = {  # variables that are known by a name of their own
    "MAX_LEVERAGE": "risk.max_leverage",
    "MAX_POSITION_SIZE": "risk.max_position_size",
    "CB_DRAWDOWN_THRESHOLD": "risk.drawdown_threshold",
    "CB_FLASH_CRASH_THRESHOLD": "risk.flash_crash_threshold",
    "CB_VOLATILITY_THRESHOLD": "risk.volatility_threshold",
}

_SECRET_NAME = re.compile(r"key|secret|token|passw|webhook|credential|private", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"(?=.*\d)(?=.*[A-Za-z])[A-Za-z0-9+/=_-]{16,}|://[^/\s]*:[^/\s]*@")


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
    """

    trend_fast_s: float = Field(default=60.0, ge=1, le=604_800)
    trend_slow_s: float = Field(default=600.0, ge=1, le=2_592_000)
    deadband: float = Field(default=0.15, ge=0, le=1)
    order_flow_halflife_s: float = Field(default=30.0, ge=1, le=86_400)
    minimum_hold_s: float = Field(default=30.0, ge=0, le=86_400)
    instruments: Instruments = ()

    @model_validator(mode="after")
    def _fast_is_faster(self) -> "DecisionSettings":
        if self.trend_fast_s >= self.trend_slow_s:
            raise ValueError(
                f"decision.trend_fast_s ({self.trend_fast_s:g}) must be below "
                f"decision.trend_slow_s ({self.trend_slow_s:g})"
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
        entry_latency_ms, response_latency_ms: from us to the venue, and back.
        half_spread_ppm: assumed where the tape has bars only, millionths of the price.
        bar_participation: largest share of a bar's volume that our orders may take.
        url: empty: in this process; `unix:/path` or `tcp:127.0.0.1:port`: a process of its own.
    """

    maker_fee_ppm: int = Field(default=200, ge=-1_000, le=10_000)
    taker_fee_ppm: int = Field(default=500, ge=-1_000, le=10_000)
    entry_latency_ms: float = Field(default=5.0, ge=0, le=60_000)
    response_latency_ms: float = Field(default=5.0, ge=0, le=60_000)
    half_spread_ppm: int = Field(default=100, ge=0, le=100_000)
    bar_participation: float = Field(default=0.1, ge=0.001, le=1.0)
    url: Annotated[
        str,
        StringConstraints(pattern=r"^(unix:.+|tcp:(127\.0\.0\.1|localhost):[0-9]{1,5})?$"),
        Allowed('"" for in this process, unix:/path or tcp:127.0.0.1:port'),
    ] = ""


class ApiSettings(Section):
    """Where the dashboard is served. port: 0 takes any free one."""

    host: Annotated[
        str,
        StringConstraints(pattern=r"^[A-Za-z0-9.:_-]+$"),
        Allowed("an address or name of this machine, such as 127.0.0.1"),
    ] = "127.0.0.1"
    port: int = Field(default=8_000, ge=0, le=65_535)


class Settings(BaseSettings):
    """All settings of one run. Built by `load`; the constructor itself reads nothing from outside.

    Attributes:
        mode: set by the command, never by a file.
        seed: of every random draw.
        data_dir: where the tape, the journal and the venue's log are kept.
        numeraire: the asset that money is shown in; `auto` takes it from the instruments.
        capital: what the account starts with, in units of the asset that most spot and linear
            instruments settle in (USD, USDT).
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mode: Literal["paper", "backtest"] = "paper"
    profile: Profile = "balanced"
    seed: int = Field(default=0, ge=0, le=2**63 - 1)
    data_dir: Folder = Path("seawall-data")
    numeraire: Annotated[
        str,
        StringConstraints(pattern=r"^(auto|[A-Z0-9]{2,12})$"),
        Allowed("auto, or an asset in capitals, such as USD or USDT"),
    ] = "auto"
    capital: Decimal = Field(default=Decimal(100_000), gt=0, le=1_000_000_000_000)
    feed: FeedSettings = FeedSettings()
    admission: AdmissionSettings = AdmissionSettings()
    estimation: EstimationSettings = EstimationSettings()
    gating: GatingSettings = GatingSettings()
    decision: DecisionSettings = DecisionSettings()
    risk: RiskSettings = RiskSettings()
    venue: VenueSettings = VenueSettings()
    api: ApiSettings = ApiSettings()

    @field_validator("seed", "capital", mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, value: object, info: ValidationInfo) -> object:
        if isinstance(value, bool):
            raise ValueError(f"{info.field_name} is a number")
        return value

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Nothing but arguments: the environment is read at the edge alone, through `load`."""
        return (init_settings,)

    def fingerprint(self) -> str:
        """SHA-256 (hex) over the settings that change results, as `canonical` writes them."""
        return hashlib.sha256(self.canonical().encode()).hexdigest()

    def canonical(self) -> str:
        """The settings that change results, as JSON with sorted keys.

        Left out: where things lie (data_dir, api, the tape's folder, the golden set's file, the
        venue's address), how fast a tape is played, and the profile's name (its values are in).
        """
        values = self.model_dump(mode="json", exclude={"data_dir", "api", "profile"})
        values["capital"] = format(self.capital.normalize(), "f")
        for section, name in (
            ("feed", "tape"),
            ("feed", "speed"),
            ("gating", "reference"),
            ("venue", "url"),
        ):
            del values[section][name]
        return json.dumps(values, sort_keys=True, separators=(",", ":"))


@dataclass(frozen=True)
class Given:
    """A value somebody gave, and where: `seawall.toml: seed`, `environment X` or `--seed`."""

    value: Any
    origin: str


Layer = dict[str, Given]  # dotted path, such as `risk.max_leverage` → what was given


def load(config: Path | None, flags: Mapping[str, Any], environment: Mapping[str, str]) -> Settings:
    """The settings of a run; SettingError names the first that is wrong.

    Args:
        config: a TOML file that must exist; None takes `seawall.toml` here, if there is one.
        flags: dotted path → value, as in ``{"feed.name": "live"}``; None: not given.
        environment: usually `os.environ`.
    """
    layers = [_from_flags(flags), _from_environment(environment), _from_file(config)]
    layers.append(_assumed(layers))
    sources = tuple(InitSettingsSource(Settings, _nested(layer)) for layer in layers)
    build: dict[str, Any] = {"_build_sources": (sources, {})}  # an argument mypy does not know
    try:
        return Settings(**build)
    except ValidationError as error:
        raise SettingError(_explained(error, layers)) from None


def _fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from _fields(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


KNOWN: dict[str, FieldInfo] = dict(_fields(Settings))  # dotted path → field
SECTIONS = tuple(dict.fromkeys(path.split(".")[0] for path in KNOWN if "." in path))

_FLAG_NAMES = {"mode": "the command", "feed.name": "--feed"}  # else `--` and the last name


def _from_flags(flags: Mapping[str, Any]) -> Layer:
    def origin(path: str) -> str:
        section, _, name = path.rpartition(".")
        words = f"{section}-{name}" if section == "venue" else name
        return _FLAG_NAMES.get(path, "--" + words.replace("_", "-"))

    if unknown := [path for path in flags if path not in KNOWN]:
        raise SettingError(f"the command line: {unknown[0]} is no setting{_nearest(unknown[0])}")
    return {path: Given(v, origin(path)) for path, v in flags.items() if v is not None}


def _from_environment(environment: Mapping[str, str]) -> Layer:
    """`SEAWALL_SECTION__NAME` and the documented names. An empty variable counts as not set."""
    layer: Layer = {}
    for variable in sorted(environment):
        if variable.startswith(SECRET_PREFIX):
            continue
        value = environment[variable]
        path = DOCUMENTED.get(variable)
        if path is None and variable.startswith(PREFIX):
            path = variable.removeprefix(PREFIX).lower().replace("__", ".")
            _check_known(path, f"environment {variable}", environment_names=True)
        if path is None or value == "":
            continue
        given = layer.setdefault(path, Given(value, f"environment {variable}"))
        if given.value != value:
            raise SettingError(
                f"{given.origin} is {_shown(path, given.value)}, but {variable} is "
                f"{_shown(path, value)}: both mean {path}, so set one of them"
            )
    return layer


def _from_file(config: Path | None) -> Layer:
    file = FILE if config is None else config
    try:
        table = tomllib.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if config is None:
            return {}
        raise SettingError(f"{file}: there is no such file") from None
    except OSError as error:
        raise SettingError(f"{file}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise SettingError(f"{file}: is not text in UTF-8") from None
    except tomllib.TOMLDecodeError as error:
        raise SettingError(f"{file}: is not valid TOML: {error}") from None
    layer: Layer = {}
    for name, value in table.items():
        if name in SECTIONS and not isinstance(value, dict):
            raise SettingError(f"{file}: {name} is a section, write its settings below [{name}]")
        inside = value.items() if isinstance(value, dict) else ()
        for path, leaf in [(f"{name}.{key}", v) for key, v in inside] or [(name, value)]:
            if path in SECTIONS:
                continue  # a section with nothing in it
            _check_known(path, f"{file}: {path}")
            layer[path] = Given(leaf, f"{file}: {path}")
    return layer


def _check_known(path: str, origin: str, environment_names: bool = False) -> None:
    if path == "mode":
        raise SettingError(f"{origin} is not for you to set: the command sets it")
    if path not in KNOWN:
        raise SettingError(f"{origin} is no setting{_nearest(path, environment_names)}")


def _nearest(path: str, environment_names: bool = False) -> str:
    """What the user may have meant by an unknown name."""
    by_name = {known.rpartition(".")[2]: known for known in KNOWN}
    close = difflib.get_close_matches(path, KNOWN, 1, 0.75) or [
        by_name[name]
        for name in difflib.get_close_matches(path.rpartition(".")[2], by_name, 1, 0.75)
    ]
    spelled = _variable if environment_names else str
    if close:
        return f"; did you mean {spelled(close[0])}?"
    section = path.partition(".")[0]
    if inside := [spelled(known) for known in KNOWN if known.startswith(f"{section}.")]:
        return f"; known are {', '.join(inside)}"
    top = [spelled(known) for known in KNOWN if "." not in known and known != "mode"]
    return f"; known are {', '.join(top)}, and those of the sections {', '.join(SECTIONS)}"


def _variable(path: str) -> str:
    return PREFIX + path.upper().replace(".", "__")


def _assumed(layers: list[Layer]) -> Layer:
    """What the profile says, and that a tape is there to be replayed."""
    profile = next((layer["profile"].value for layer in layers if "profile" in layer), "balanced")
    said = PROFILES.get(profile, {}) if isinstance(profile, str) else {}
    layer = {f"risk.{name}": Given(v, f"profile {profile}") for name, v in said.items()}
    tape = next((layer["feed.tape"] for layer in layers if "feed.tape" in layer), None)
    if tape is not None:
        layer["feed.name"] = Given("replay", tape.origin)
    return layer


def _nested(layer: Layer) -> dict[str, Any]:
    nested: dict[str, Any] = {}
    for path, given in layer.items():
        section, _, name = path.rpartition(".")
        (nested.setdefault(section, {}) if section else nested)[name] = given.value
    return nested


def _explained(error: ValidationError, layers: list[Layer]) -> str:
    """One line for what pydantic found: the first complaint, and how many more there are."""
    complaints = error.errors(include_url=False)
    more = f" (and {len(complaints) - 1} more)" if len(complaints) > 1 else ""
    first = complaints[0]
    location = [str(part) for part in first["loc"]]
    path = next((p for p in (".".join(location[:2]), ".".join(location[:1])) if p in KNOWN), None)
    if path is None:  # settings that do not go together: any one of the section is to blame
        section = f"{location[0]}." if location else ""
        blamed = [given for layer in layers for p, given in layer.items() if p.startswith(section)]
        origin = blamed[0].origin if blamed else "settings"
        return f"{origin}: {first['msg'].removeprefix('Value error, ')}{more}"
    given = next(layer[path] for layer in layers if path in layer)
    return f"{given.origin} is {_shown(path, given.value)}, allowed is {_allowed(path)}{more}"


def _shown(path: str, value: object) -> str:
    """The value as given, unless it looks like a secret."""
    text = repr(value)
    if _SECRET_NAME.search(path) or _SECRET_VALUE.search(text):
        return "(a value that looks like a secret)"
    return text if len(text) <= 60 else text[:57] + "…"


def _allowed(path: str) -> str:
    """The type and range of a setting, in words."""
    field = KNOWN[path]
    for note in field.metadata:
        if isinstance(note, Allowed):
            return note.text
    if get_origin(field.annotation) is Literal:
        *names, last = get_args(field.annotation)
        return f"{', '.join(names)} or {last}" if names else str(last)
    bounds: dict[str, Any] = {
        name: getattr(note, name)
        for note in field.metadata
        for name in ("ge", "gt", "le")
        if hasattr(note, name)
    }
    whole = "a whole number from " if field.annotation is int else ""
    above = "more than " if "gt" in bounds else ""
    low, high = bounds["gt" if above else "ge"], bounds["le"]
    if field.annotation is float:
        low, high = float(low), float(high)
    return f"{whole}{above}{low:,} to {high:,}"
