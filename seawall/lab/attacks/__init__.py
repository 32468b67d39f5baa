"""Attacks on the tape (DEFINITIONS 11): causal, deterministic, on the attacker's own sources."""

from seawall.lab.attacks.attack import Attack
from seawall.lab.attacks.catalogue import ATTACKS, attack_of
from seawall.lab.attacks.feed import HostileFeed, attacked

__all__ = ["ATTACKS", "Attack", "HostileFeed", "attack_of", "attacked"]
