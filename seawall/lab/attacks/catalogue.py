"""The attacks by name, and how one is made from words."""

import difflib
from collections.abc import Mapping

from seawall.core.errors import SettingError
from seawall.core.instruments import Catalog
from seawall.lab.attacks.attack import Attack
from seawall.lab.attacks.flow import LabelFlipping, Layering, Spoofing, WashTrading
from seawall.lab.attacks.parameters import parameters_of
from seawall.lab.attacks.timing import ReplayedFeed, StaleFeed, TimeSkew
from seawall.lab.attacks.values import (
    ColludingSources,
    DataPoisoning,
    FrozenFeed,
    MeanShift,
    OutlierBurst,
    QuoteNoise,
    RandomValues,
    Silence,
    SlowDrift,
)

TYPES: tuple[type[Attack], ...] = (
    MeanShift,
    DataPoisoning,
    SlowDrift,
    ColludingSources,
    WashTrading,
    Spoofing,
    Layering,
    StaleFeed,
    FrozenFeed,
    ReplayedFeed,
    TimeSkew,
    OutlierBurst,
    LabelFlipping,
    Silence,
    QuoteNoise,
    RandomValues,
)
ALIASES: dict[str, type[Attack]] = {"boiling_frog": SlowDrift}
ATTACKS: dict[str, type[Attack]] = {kind.name: kind for kind in TYPES} | ALIASES


def attack_of(
    name: str, catalog: Catalog, words: Mapping[str, str] | None = None, seed: int = 0
) -> Attack:
    """An attack on a catalog.

    Args:
        name: of ATTACKS; `-` for `_` will do.
        words: parameter → text, as after `--set`.

    Raises:
        SettingError: there is no such attack, parameter or source, or a value is out of range.
    """
    kind = ATTACKS.get(name.strip().lower().replace("-", "_"))
    if kind is None:
        near = difflib.get_close_matches(name, ATTACKS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise SettingError(
            f"there is no attack {name!r}; {hint}choose from {', '.join(sorted(ATTACKS))}"
        )
    return kind(catalog, parameters_of(kind.name, kind.Told, words or {}), seed)
