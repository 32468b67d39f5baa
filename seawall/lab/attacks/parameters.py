"""What an attack can be told: frozen records, and the one parser of `key=value` words for them."""

import math
import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

from seawall.core.errors import SettingError

UNITS = {"ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
LENGTH = re.compile(r"(\d+(?:\.\d*)?|\.\d+)\s*(ms|s|m|h|d)?")

Seconds = Annotated[float, Meta(ge=0.0, extra={"unit": "s"})]
Sigmas = Annotated[float, Meta(extra={"unit": "sigma"})]
Share = Annotated[float, Meta(ge=0.0, le=1.0, extra={"unit": "share"})]
Number = Annotated[int, Meta(ge=0)]


class Parameters(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What every attack is told.

    A sigma is the standard deviation of the market's return in a frame (1 s, or a bar), as the
    attacker has measured it on the others.

    Attributes:
        sources: names of the attacker's own sources; none named: the catalog's last.
        after: seconds from the first row, or from where a run begins, to the attack.
        start: ns UTC; where it is given, `after` does not count.
        duration: seconds that the attack lasts; 0 is for good.
    """

    sources: tuple[str, ...] = ()
    after: Seconds = 60.0
    start: Number = 0
    duration: Seconds = 0.0


def seconds_of(text: str) -> float:
    """`24h`, `30m`, `90s`, `250ms`, `2d` or plain seconds.

    Raises:
        ValueError: it is none of these.
    """
    found = LENGTH.fullmatch(text.strip())
    if not found:
        raise ValueError(f"{text!r} is no length of time such as 90s, 30m or 24h")
    return float(found[1]) * UNITS[found[2] or "s"]


def length_of(seconds: float) -> str:
    """Seconds in words, in the largest unit that leaves no fraction: `24 h`, `90 s`, `250 ms`."""
    for unit, size in sorted(UNITS.items(), key=lambda one: -one[1]):
        if unit != "d" and seconds >= size and (seconds / size).is_integer():
            return f"{seconds / size:g} {'min' if unit == 'm' else unit}"
    return f"{seconds:g} s"


def parameters_of(attack: str, kind: type[Parameters], words: Mapping[str, str]) -> Parameters:
    """A record of parameters from words.

    Args:
        attack: the attack's name, for messages.
        kind: the record.
        words: parameter → text; several sources are divided by commas.

    Raises:
        SettingError: a parameter is unknown, no number, or out of its range.
    """
    fields = {field.name: field for field in msgspec.structs.fields(kind)}
    values: dict[str, Any] = {}
    for key, text in words.items():
        name = key.strip().replace("-", "_")
        if name not in fields:
            raise SettingError(
                f"attack {attack}: there is no parameter {key!r}; it knows {', '.join(fields)}"
            )
        try:
            values[name] = msgspec.convert(_word(fields[name].type, text), fields[name].type)
        except (msgspec.ValidationError, ValueError) as error:
            raise SettingError(
                f"attack {attack}: {name} is {text!r}: {str(error).lower()}; give another value"
            ) from None
    return kind(**values)


def _word(wanted: Any, text: str) -> Any:
    """The text as the plain value that `wanted` is made of."""
    if wanted == tuple[str, ...]:
        return tuple(part.strip() for part in text.split(",") if part.strip())
    notes = getattr(wanted, "__metadata__", ())
    if any(note.extra and note.extra.get("unit") == "s" for note in notes):
        return seconds_of(text)
    plain = getattr(wanted, "__origin__", wanted)
    if plain is float:
        value = float(text)
        if not math.isfinite(value):
            raise ValueError("not a finite number")
        return value
    if plain is int:
        return int(text)
    if plain is bool:
        if text.lower() not in ("yes", "no", "true", "false", "on", "off", "1", "0"):
            raise ValueError("neither yes nor no")
        return text.lower() in ("yes", "true", "on", "1")
    return text
