"""Faults on request: what an exchange does on a bad day, drawn from a seed.

| kind | what happens |
|---|---|
| delay | a request waits `seconds` before anything is done |
| error | HTTP `status`, nothing was done |
| rate_limit, ban | 429 or 418 with Retry-After `seconds`, nothing was done |
| request_lost | the connection ends, nothing was done |
| ack_lost | it is done, and the connection ends without an answer |
| timeout | it is done, and answered with -1007: the status is unknown |
| late | the connection ends; it is done `seconds` later, if its recvWindow still allows |
| drop | WebSockets end: all of them when asked for, one per message where it is drawn |
| duplicate, reorder | a user stream's event comes twice, or after the one that follows |
| silent | for `seconds` nothing is answered and nothing is sent |
| skew | the exchange's clock is `seconds` ahead (below 0: behind) |
"""

from typing import Literal, get_args

import msgspec

from seawall.core.errors import SettingError
from seawall.core.randomness import generator

Kind = Literal[
    "delay",
    "error",
    "rate_limit",
    "ban",
    "request_lost",
    "ack_lost",
    "timeout",
    "late",
    "drop",
    "duplicate",
    "reorder",
    "silent",
    "skew",
]
KINDS: tuple[str, ...] = get_args(Kind)


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One rule.

    Attributes:
        path: a part of the request's path (or the WebSocket API's method); empty: any.
        method: of HTTP; empty: any.
        probability: of each event that fits. count: it happens so often at most; 0: no end.
    """

    kind: Kind
    path: str = ""
    method: str = ""
    probability: float = 1.0
    count: int = 0
    seconds: float = 1.0
    status: int = 503

    def check(self) -> "Fault":
        """Self. SettingError: out of range."""
        good = (
            0 <= self.probability <= 1
            and self.count >= 0
            and abs(self.seconds) <= 86_400
            and (self.seconds >= 0 or self.kind == "skew")
            and 500 <= self.status <= 599
        )
        if not good:
            raise SettingError(
                f"fault {self.kind}: probability is 0 to 1, count 0 or more, seconds up to a day "
                "(below 0 for skew alone), status 500 to 599"
            )
        return self


def fault_of(text: str) -> Fault:
    """``ack_lost path=order probability=0.1`` → a rule.

    Raises:
        SettingError: it is none.
    """
    kind, *options = text.split()
    given: dict[str, str] = {"kind": kind}
    for option in options:
        name, equals, value = option.partition("=")
        if not equals:
            raise SettingError(f"fault {text!r}: {option!r} is not NAME=VALUE")
        given[name] = value
    unknown = set(given) - set(Fault.__struct_fields__)
    try:
        if unknown or kind not in KINDS:
            raise msgspec.ValidationError(f"there is no {', '.join(unknown) or kind}")
        return msgspec.convert(given, Fault, strict=False).check()
    except msgspec.ValidationError as error:
        raise SettingError(
            f"fault {text!r}: {error}; kinds are {', '.join(KINDS)}, with path, method, "
            "probability, count, seconds and status"
        ) from None


class Faults:
    """The rules in force, and what they come to; each rule draws for itself."""

    def __init__(self, seed: int, rules: tuple[Fault, ...] = ()) -> None:
        self.injected: dict[str, int] = {}
        self._seed = seed
        self._rules: list[Fault] = []
        self._seen: list[int] = []  # events that fitted each rule
        self._hits: list[int] = []
        for rule in rules:
            self.add(rule)

    def add(self, rule: Fault) -> None:
        """One more rule."""
        self._rules.append(rule)
        self._seen.append(0)
        self._hits.append(0)

    def clear(self) -> None:
        """No rule any more."""
        self._rules.clear()
        self._seen.clear()
        self._hits.clear()

    @property
    def rules(self) -> tuple[Fault, ...]:
        """Those in force."""
        return tuple(self._rules)

    def draw(self, kind: Kind, path: str = "", method: str = "") -> Fault | None:
        """The rule of a kind that an event meets, if any."""
        for at, rule in enumerate(self._rules):
            fits = rule.kind == kind and rule.path in path and rule.method in ("", method)
            if not fits or (rule.count and self._hits[at] >= rule.count):
                continue
            self._seen[at] += 1
            draw = generator(self._seed, f"exchange.fault.{at}.{kind}", self._seen[at]).random()
            if draw < rule.probability:
                self._hits[at] += 1
                self.injected[kind] = self.injected.get(kind, 0) + 1
                return rule
        return None
