"""The two gates between what was estimated and what is learned from it, and the certificate."""

from seawall.gating.gates import GateReport, Gating, GatingShape
from seawall.gating.group import GroupShape
from seawall.gating.model import Models
from seawall.gating.sources import Sources

__all__ = ["GateReport", "Gating", "GatingShape", "GroupShape", "Models", "Sources"]
