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
    BaseModel,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from seawall.core.errors import SettingError
from seawall.core.sections import (
    AccountEntries,
    AccountSettings,
    AdmissionSettings,
    Allowed,
    ApiSettings,
    DecisionSettings,
    EstimationSettings,
    ExecutionSettings,
    FeedSettings,
    Folder,
    GatingSettings,
    LiveSettings,
    RiskSettings,
    Section,
    VenueSettings,
)

FILE = Path("seawall.toml")
PREFIX = "SEAWALL_"
INPUTS = "inputs"  # where the canonical settings have the hashes of the files that they name
TRADED = {"exchange", "product", "network"}  # what of `live` says which account that is
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


class Settings(BaseSettings):
    """All settings of one run. Built by `load`; the constructor itself reads nothing from outside.

    Attributes:
        mode: set by the command, never by a file.
        seed: of every random draw.
        data_dir: where the tape, the journal and the venue's log are kept.
        numeraire: the asset that money is shown in; `auto` takes it from the instruments.
        capital: what the account starts with, in units of the asset that most spot and linear
            instruments settle in (USD, USDT).
        accounts: where there are several; each has capital of its own, in place of `capital`.
    """

    model_config = SettingsConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    mode: Literal["paper", "backtest", "live"] = "paper"
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
    execution: ExecutionSettings = ExecutionSettings()
    risk: RiskSettings = RiskSettings()
    venue: VenueSettings = VenueSettings()
    live: LiveSettings = LiveSettings()
    accounts: AccountEntries = ()
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

    def live_accounts(self) -> dict[str, LiveSettings]:
        """What a live run trades, by account; the only one has no name.

        Raises:
            SettingError: it is not said at which exchange one of them is.
        """
        found = {one.name: one.live_within(self.live) for one in self.accounts} or {"": self.live}
        for name, one in found.items():
            if one.exchange:
                continue
            where = "live.exchange is empty"
            how = 'exchange = "binance" below [live] in seawall.toml, or SEAWALL_LIVE__EXCHANGE'
            if name:
                where = f"account {name} has no live.exchange"
                how = 'exchange = "binance" below its [accounts.live] in seawall.toml'
            raise SettingError(
                f"{where}, so a live run has no account to trade; name one that ccxt knows: {how}"
            )
        return found

    def fingerprint(self, inputs: Mapping[str, str] | None = None) -> str:
        """SHA-256 (hex) over the settings that change results, as `canonical` writes them."""
        return hashlib.sha256(self.canonical(inputs).encode()).hexdigest()

    def canonical(self, inputs: Mapping[str, str] | None = None) -> str:
        """The settings that change results, as JSON with sorted keys.

        Args:
            inputs: name → SHA-256 of the files that they name; they stand under INPUTS.

        Left out: where things lie (data_dir, api, the tape's folder, the golden set's file, the
        venue's address), how fast a tape is played, the profile's name (its values are in), and
        all of `live` but the account, which is in where it is traded.
        """
        values = self.model_dump(mode="json", exclude={"data_dir", "api", "profile", "live"})
        if self.mode == "live":
            values["live"] = self.live.model_dump(include=TRADED)
        values["capital"] = format(self.capital.normalize(), "f")
        for section, name in (
            ("feed", "tape"),
            ("feed", "speed"),
            ("gating", "reference"),
            ("venue", "url"),
        ):
            del values[section][name]
        # Journals from before there were these still mean the same.
        for name in ("strategies", "stop_loss", "take_profit", "micro_prices"):
            if not values["decision"][name]:
                del values["decision"][name]
        if self.decision.trailing_stop == "off":
            del values["decision"]["trailing_stop"]
        if self.accounts:
            entries = self.model_dump(mode="json", include={"accounts"}, exclude_unset=True)
            values["accounts"] = entries["accounts"]
            for entry, one in zip(values["accounts"], self.accounts, strict=True):
                entry.get("venue", {}).pop("url", None)
                entry.pop("live", None)
                if self.mode == "live" or not (one.venues or one.instruments):
                    entry["live"] = one.live_within(self.live).model_dump(include=TRADED)
        else:
            del values["accounts"]
        if self.execution == ExecutionSettings():  # the same: there was no other way
            del values["execution"]
        elif not self.execution.depth_share:
            del values["execution"]["depth_share"]
        if inputs:
            values[INPUTS] = dict(inputs)
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
        settings = Settings(**build)
    except ValidationError as error:
        raise SettingError(_explained(error, layers)) from None
    if settings.mode == "live":
        settings.live_accounts()  # at once, since all else about a live run goes by it
    return settings


def _fields(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, Section):
            yield from _fields(field.annotation, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


KNOWN: dict[str, FieldInfo] = dict(_fields(Settings))  # dotted path → field
SECTIONS = tuple(dict.fromkeys(path.split(".")[0] for path in KNOWN if "." in path))

_FLAG_NAMES = {
    "mode": "the command",
    "feed.name": "--feed",
    "decision.parameters": "--param",
    "decision.instruments": "--symbol",
}  # else `--` and the last name


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
    if path == "accounts" and isinstance(given.value, list):
        entry = "".join(f" {int(part) + 1}" for part in location[1:2])
        rest = ".".join(location[2:])
        said = first["msg"].removeprefix("Value error, ")
        return f"{given.origin}{entry}{rest and ': '}{rest}: {said}{more}"
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


__all__ = [
    "DOCUMENTED",
    "FILE",
    "KNOWN",
    "PREFIX",
    "PROFILES",
    "SECRET_PREFIX",
    "SECTIONS",
    "AccountSettings",
    "AdmissionSettings",
    "ApiSettings",
    "DecisionSettings",
    "EstimationSettings",
    "ExecutionSettings",
    "FeedSettings",
    "GatingSettings",
    "Given",
    "LiveSettings",
    "Profile",
    "RiskSettings",
    "Settings",
    "VenueSettings",
    "load",
]
