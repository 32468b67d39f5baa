"""The two gates between what was estimated and what is learned from it."""

from seawall.gating.gates import Gate, GateReport, OpenGate, standard_gates

__all__ = ["Gate", "GateReport", "OpenGate", "standard_gates"]
