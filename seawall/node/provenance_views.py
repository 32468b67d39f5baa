"""The robust core as the page sees it: certificates, figures, standings, breakers of the models."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from seawall.core.clock import MILLISECOND
from seawall.core.consensus import FEATURES
from seawall.core.verdicts import GateDecision
from seawall.gating import Gating
from seawall.gating import reference as references
from seawall.gating.certificate import Certificate, Standing
from seawall.gating.corridor import Corridor
from seawall.gating.figures import Figures
from seawall.gating.group import MARKET_WIDE, Group
from seawall.gating.sources import SourceState
from seawall.node.provenance import MARKET, TARGETED

if TYPE_CHECKING:
    from seawall.node.action import Action

CORRIDOR = {"distance": 0.5, "spectrum": [0.85, 1.15], "divergence": 0.1}  # S0's figures


def robust_of(gating: Gating, action: "Action", every: int) -> dict[str, Any]:
    """Certificates, figures and bounds; times in ms. every: ns between two reviews."""
    worth = {
        group.name: group.certificate is not None and group.certificate.standing != Standing.NONE
        for group in gating.groups
    }
    catalog = action.prices.catalog.by_name
    certified = {name: worth[catalog[name].consensus_group] for name in action.orchestrator.bounds}
    return {
        "reviewed": gating.reviewed // MILLISECOND or None,
        "every": every // MILLISECOND,
        "groups": [_group(gating, at, group) for at, group in enumerate(gating.groups)],
        "exposures": [
            {
                "instrument": name,
                "wanted": exposure.wanted,
                "low": exposure.low,
                "high": exposure.high,
                "bound": exposure.bound if certified[name] else None,
                "ts": exposure.ts // MILLISECOND,
            }
            for name, exposure in action.orchestrator.bounds.items()
        ],
    }


def source_of(state: SourceState | None) -> dict[str, Any]:
    """How a source stands; None: it prices nothing that is judged."""
    known = state or SourceState()
    return {
        "standing": known.standing.name.lower(),
        "votes": known.votes,
        "score": known.score,
        "worst": known.worst,
        "reason": known.reason,
        "rejections": known.rejections,
        "strikes": known.strikes,
        "clean": known.clean,
        "until": known.until // MILLISECOND or None,
        "suspected": known.since // MILLISECOND or None,
    }


def model_measures(gating: Gating) -> dict[str, dict[str, float]]:
    """Breaker of scope MODEL → group → its measure; NaN where unknown."""
    measures: dict[str, dict[str, float]] = {
        "anchor_anomaly": {},
        "kl_divergence": {},
        "provenance_concentration": {},
        "vpin_toxicity": {},
    }
    for at, group in enumerate(gating.groups):
        figures, name = group.figures, group.name
        limit = max(group.shape.divergence, 2.0 * figures.limits[2])
        measures["anchor_anomaly"][name] = figures.anchor_surprise
        measures["kl_divergence"][name] = figures.window.divergence / limit
        measures["provenance_concentration"][name] = figures.concentration
        measures["vpin_toxicity"][name] = gating.vpin[at]
    return measures


def points_of(gating: Gating) -> dict[str, Any]:
    """What the charts keep of one moment: trust by source, certificate by group."""
    return {
        "trust": {name: state.trust for name, state in gating.sources.items()},
        "certificate": {
            group.name: group.certificate.past for group in gating.groups if group.certificate
        },
    }


def _group(gating: Gating, at: int, group: Group) -> dict[str, Any]:
    slots = len(group.sources)
    reference = group.reference
    return {
        "name": group.name,
        "sources": slots,
        "voting": int(gating.member[at, :slots].sum()),
        "decision": group.outcome,
        "reason": group.reason,
        "counts": dict(group.counts),
        "rolled_back": group.rolled_back,
        "corroboration": None
        if group.decision is GateDecision.REJECT  # it speaks of the market's moves
        else group.figures.corroboration,
        "verdict": _verdict(group),
        "reference": None
        if reference is None
        else {
            "name": reference.name,
            "rows": reference.rows,
            "provisional": reference.provisional,
            "features": references.describe(reference)["features"],
        },
        "certificate": certificate_of(group.certificate) if group.certificate else None,
        "figures": _figures(group.figures) if group.figures.ts else None,
    }


def _verdict(group: Group) -> str | None:
    """Whose move it is that the model does not follow; None while it learns."""
    if group.decision is GateDecision.REJECT:
        return TARGETED
    if group.decision is GateDecision.PASS or not math.isfinite(group.figures.corroboration):
        return None
    return MARKET if group.figures.corroboration >= MARKET_WIDE else TARGETED


def certificate_of(said: Certificate) -> dict[str, Any]:
    """The certificate's terms, each apart."""
    return {
        "standing": str(said.standing),
        "past": said.past,
        "next_hour": said.next_hour,
        "conditional": said.conditional,
        "sample": said.sample,
        "decisions": said.decisions,
        "reference": said.reference,
        "axes": dict(zip(FEATURES, said.axes, strict=True)),
        "sources": said.sources,
        "faulty": said.faulty,
        "excluded": said.excluded,
        "updates": said.updates,
        "ts": said.ts // MILLISECOND,
    }


def statement(group: Mapping[str, Any]) -> str:
    """A group's certificate (as the view has it) in one line."""
    said, name = group.get("certificate"), group["name"]
    if said is None:
        return f"{name}: no certificate: {group.get('reason') or 'nothing was reviewed yet'}"
    sources, faulty, excluded = said["sources"], said["faulty"], said["excluded"]
    if said["standing"] == "none":
        away = f" ({excluded} without a vote)" if excluded else ""
        return f"{name}: no certificate: {sources} sources{away} cannot withstand {faulty}"
    notes = {
        "vacuous": " (vacuous: too wide to be of use)",
        "sound": " (sound, but a hostile source could widen it)",
    }
    past = said["past"]
    most = "more than can be said" if past is None else f"{past:.3g} sigma"
    return (
        f"{name}: an attacker who owns {faulty} of {sources} sources can have moved the model by "
        f"at most {most}{notes.get(said['standing'], '')}"
    )


def _figures(figures: Figures) -> dict[str, Any]:
    distance, spectrum, divergence = figures.limits
    return {
        "shift": figures.shift,
        "window": _corridor(figures.window),
        "limits": {"distance": distance, "spectrum": spectrum, "divergence": divergence},
        "model": _corridor(figures.model),
        "corridor": CORRIDOR,
        "anchor_rate": figures.anchor_rate,
        "anchor_surprise": figures.anchor_surprise,
        "concentration": figures.concentration,
        "entropy": figures.entropy,
        "vpin": figures.vpin,
        "rows": figures.rows,
        "ts": figures.ts // MILLISECOND,
    }


def _corridor(figures: Corridor) -> dict[str, Any]:
    return {
        "distance": figures.distance,
        "spectrum": list(figures.spectrum),
        "divergence": figures.divergence,
    }
