"""The gates of this version pass everything, leave the verdict alone, and say so."""

import numpy as np

from seawall.core.frames import FRAME
from seawall.core.verdicts import VERDICT, GateDecision
from seawall.gating import Gate, OpenGate, standard_gates


def test_the_node_has_an_authenticity_gate_and_then_a_market_gate() -> None:
    gates: list[Gate] = standard_gates()
    assert [gate.name for gate in gates] == ["authenticity", "market"]
    assert [gate.report().name for gate in gates] == ["authenticity", "market"]


def test_an_open_gate_passes_what_it_sees_and_leaves_the_verdict_alone() -> None:
    frames = np.zeros(3, FRAME)
    frames["ts"] = [1, 2, 3]
    frames["return_"] = [0, 1e6, np.nan]
    verdict = np.zeros(2, VERDICT)
    verdict["trust"] = [1.0, 0.1]
    before = verdict.copy()
    assert OpenGate("market").judge(frames, verdict) is GateDecision.PASS
    assert frames["gate"].tolist() == [GateDecision.PASS] * 3
    assert verdict.tobytes() == before.tobytes()


def test_an_open_gate_says_that_it_is_not_armed_and_how_far_it_has_looked() -> None:
    gate = OpenGate("market")
    assert gate.report().ts == 0
    frames = np.zeros(2, FRAME)
    frames["ts"] = [10, 20]
    gate.judge(frames, np.zeros(1, VERDICT))
    gate.judge(frames[:0], np.zeros(1, VERDICT))
    report = gate.report()
    assert (report.ts, report.decision) == (20, GateDecision.PASS)
    assert "passes everything" in report.detail
