"""What a run was told: its settings, from the journal, and the files that they name, by SHA-256.

A path says where a strategy, a golden set or a table of funding rates lies; only its content says
what the run did with it.
"""

import hashlib
from pathlib import Path

import msgspec

from seawall.core.errors import DataError, SettingError
from seawall.core.records import RunStarted
from seawall.core.settings import INPUTS, Settings
from seawall.decision.strategies import own_file
from seawall.node.calibration import golden_path
from seawall.node.strategy import sleeves_of

SHOWN = 12  # hexadecimal digits of a hash


def files_of(settings: Settings, feed: str = "") -> dict[str, Path]:
    """Name → file, for each that a run with these settings reads beside its tape.

    Args:
        feed: whose folder may hold a golden set; empty where there is none.
    """
    decision = settings.decision
    strategies = [sleeve.named for sleeve in sleeves_of(decision.strategies)]
    named = {f"strategy {one}": one for one in strategies or [decision.strategy] if own_file(one)}
    if settings.venue.funding and not settings.venue.url:
        named[f"funding rates {settings.venue.funding}"] = settings.venue.funding
    for one in settings.accounts:
        if one.venue.funding and not one.venue.url:
            named[f"funding rates {one.venue.funding}"] = one.venue.funding
    if settings.execution.slippage_model:
        named["slippage model"] = settings.execution.slippage_model
    if settings.execution.volume_bars:
        named[f"bars of volume {settings.execution.volume_bars}"] = settings.execution.volume_bars
    found = {name: Path(path).expanduser() for name, path in named.items()}
    golden = golden_path(settings, feed)
    if golden is not None:
        found["golden set"] = golden
    return found


def inputs_of(settings: Settings, feed: str = "") -> dict[str, str]:
    """Name → SHA-256 (hex) of each file's content.

    Raises:
        SettingError: there is no such file. DataError: one cannot be read.
    """
    return {name: _hash(name, path) for name, path in files_of(settings, feed).items()}


def settings_of(started: RunStarted, data_dir: Path) -> Settings:
    """The settings of a run from its journal.

    Raises:
        SettingError: they are not in it, or this version reads them in another way.
    """
    found = settings_in(started, data_dir)
    if found.fingerprint(recorded_inputs(started)) != started.settings:
        raise SettingError(
            f"the settings of run {started.run} mean something else to this version of Seawall; "
            "replay it with the version that recorded it"
        )
    return found


def settings_in(started: RunStarted, data_dir: Path) -> Settings:
    """The same, with what an older version did not know yet as it is by default."""
    if not started.values:
        raise SettingError(f"run {started.run} is of a version that did not journal its settings")
    values = msgspec.json.decode(started.values)
    values.pop(INPUTS, None)
    if values["feed"]["name"] == "replay":
        values["feed"]["tape"] = str(data_dir)  # where the tape lay is no setting that counts
    try:
        return Settings(**{**values, "data_dir": data_dir})
    except ValueError as error:
        raise SettingError(f"the settings of run {started.run}: {error}") from None


def recorded_inputs(started: RunStarted) -> dict[str, str]:
    """What a run noted of its files; nothing where it read none, or an older version ran."""
    values = msgspec.json.decode(started.values or "{}")
    found: dict[str, str] = values.get(INPUTS, {})
    return found


def changed_inputs(started: RunStarted, settings: Settings, feed: str) -> list[str]:
    """A line for each file that says something else than at the run, by its name.

    Args:
        settings: of the replay. feed: as in `files_of`.
    """
    then, files = recorded_inputs(started), files_of(settings, feed)
    return [
        line
        for name in sorted({*then, *files})
        if (line := _change(name, then.get(name), files.get(name)))
    ]


def _change(name: str, then: str | None, file: Path | None) -> str:
    now = _hash(name, file) if file is not None and file.is_file() else None
    if then == now:
        return ""
    if now is None:
        return f"{name}: the run read SHA-256 {_short(then)}, and there is no such file any more"
    if then is None:
        return f"{name}: {file} is there now; the run had none, or did not note it"
    return f"{name}: changed since the run, SHA-256 {_short(then)} then and {_short(now)} now"


def _short(digest: str | None) -> str:
    return (digest or "")[:SHOWN]


def _hash(name: str, path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        raise SettingError(f"{name}: there is no such file, {path}; see the settings") from None
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise DataError(f"{name}: {path} cannot be read: {why}; see the settings") from None
