"""A hostile source in the simulated market: which one, what it does, and how that is shown.

A paper run on the simulated market has one by default, so that a user sees within minutes what the
gates do. Live feeds, replays and backtests never have one.
"""

from collections.abc import Collection
from typing import Any

from seawall.core.clock import MILLISECOND
from seawall.core.errors import SettingError
from seawall.core.instruments import Catalog
from seawall.core.ports import Feed
from seawall.lab.attacks import Attack, HostileFeed, attack_of
from seawall.lab.attacks.attack import FOREVER

AUTO, NONE = "auto", "none"
# A price that runs away, on a book that is heavy on one side: plainly hostile, and what a naive
# average follows. 300 sigma a minute is some 3 % of an asset with a volatility of 30 %.
STORY = (
    "spoofing intensity=20 lifetime=86400s layers=4 distance=1 + slow_drift speed=300 limit=2000"
)
OFF = "--hostile none"


def attacks_of(setting: str, catalog: Catalog, traded: Collection[str], seed: int) -> list[Attack]:
    """The attacks of the setting `feed.hostile`; none for `none`.

    Where no source is named it is the last one on which nothing is traded.

    Raises:
        SettingError: no such attack, parameter or source.
    """
    if setting == NONE:
        return []
    story = STORY if setting == AUTO else setting
    attacks = []
    for part in story.split("+"):
        name, *words = part.split()
        told = dict(word.split("=", 1) for word in words)
        if setting == AUTO or "sources" not in told:
            told["sources"] = _victim(catalog, traded)
        try:
            attacks.append(attack_of(name, catalog, told, seed))
        except SettingError as error:
            raise SettingError(f"feed.hostile (--hostile): {error}") from None
    return attacks


def _victim(catalog: Catalog, traded: Collection[str]) -> str:
    """The last source that does not list what we trade, or simply the last."""
    ours = {catalog.by_name[name].venue for name in traded}
    free = [source.name for source in catalog.sources if source.venue not in ours]
    return (free or [source.name for source in catalog.sources])[-1]


def hostile(feed: Feed, attacks: list[Attack]) -> Feed:
    """The feed under all attacks, one after the other."""
    for attack in attacks:
        feed = HostileFeed(feed, attack)
    return feed


def announced(attacks: list[Attack]) -> str:
    """One line for the user."""
    after = min(attack.parameters.after for attack in attacks)
    when = f"{after:g} s from now" if not attacks[0].parameters.start else "at a given time"
    what = "; ".join(f"{attack.name}: {attack.detail()}" for attack in attacks)
    return (
        f"{_names(attacks)} will turn hostile {when}, to show the gates at work ({what}); "
        f"{OFF} stops that"
    )


def shown(attacks: list[Attack], now: int) -> dict[str, Any] | None:
    """What the page is told; times in ms. None where nobody is hostile."""
    if not attacks:
        return None
    since = min(attack.start for attack in attacks)
    return {
        "source": _names(attacks),
        "attack": " + ".join(attack.name for attack in attacks),
        "detail": "; ".join(attack.detail() for attack in attacks),
        "since": since // MILLISECOND if since < FOREVER else None,
        "active": any(attack.active(now) for attack in attacks),
        "off": OFF,
    }


def _names(attacks: list[Attack]) -> str:
    attack = attacks[0]
    names = {attack.catalog.sources[i].name for one in attacks for i in one.sources}
    return ", ".join(sorted(names))
