"""The update log and the operator's commands: what a journal says of who moved what."""

import math
from typing import Any

import msgspec
import numpy as np
import pytest

from seawall.core.clock import SECOND
from seawall.core.commands import BAN, ROLL_BACK, UNBAN, Command
from seawall.core.errors import SeawallError
from seawall.core.events import EventFlag, EventKind, Raw
from seawall.core.instruments import Catalog
from seawall.core.records import (
    AnyRecord,
    BreakerChanged,
    ModelRolledBack,
    ModelUpdated,
    OperatorCommanded,
    SourceJudged,
    decode,
    encode,
)
from seawall.core.verdicts import Standing
from seawall.gating.certificate import Certificate
from seawall.node.provenance import INCIDENTS, UPDATES, Reviewed, UpdateLog, long_lists
from seawall.node.provenance_views import certificate_of, model_measures, statement
from tests.node.short_runs import START, every, node_on, records, tape


def updated(ts: int, decision: str, corroboration: float = 1.0, group: str = "BTC") -> ModelUpdated:
    return ModelUpdated(
        ts=ts * SECOND,
        group=group,
        decision=decision,
        reason="why",
        rows=1000,
        shift=0.1,
        corroboration=corroboration,
        influence={"a": 0.2},
        model=b"",
        certificate=b"c%d" % ts,
    )


def judged(ts: int, standing: Standing, reason: str = "level of price") -> SourceJudged:
    return SourceJudged(
        ts=ts * SECOND, source="a", trust=0.1, standing=int(standing), score=5.0, reason=reason
    )


STORY: list[AnyRecord] = [
    updated(1, "learned"),
    updated(2, "frozen", 0.9),
    updated(3, "frozen", 0.9),
    updated(4, "learned"),
    updated(5, "frozen", 0.1),
    judged(6, Standing.TRUSTED),
    judged(7, Standing.SUSPENDED),
    judged(8, Standing.SUSPENDED),
    ModelRolledBack(
        ts=9 * SECOND, group="BTC", to=0, reason="a rejected", corroboration=0.9, model=b""
    ),
    judged(10, Standing.PROBATION),
    judged(11, Standing.BANNED),
    BreakerChanged(
        ts=12 * SECOND, name="vpin_toxicity", scope="model", key="BTC", state="OPEN", measure=0.8,
        threshold=0.75, reason="toxic",
    ),
    OperatorCommanded(ts=13 * SECOND, command="ban", arguments={"source": "b"}, who="operator"),
    judged(14, Standing.PROBATION),
    judged(15, Standing.BANNED, "banned by operator"),
]  # fmt: skip


def told(story: list[AnyRecord]) -> UpdateLog:
    log = UpdateLog()
    for record in story:
        log.apply(decode(encode(record)))
    return log


def test_each_incident_is_told_once_and_whose_doing_it_was() -> None:
    incidents = [(i.ts // 1000, i.kind, i.what, i.verdict) for i in told(STORY).incidents]
    assert incidents == [
        (2, "freeze", "BTC", "market-wide"),
        (5, "freeze", "BTC", "targeted"),
        (7, "suspension", "a", "targeted"),
        (9, "rollback", "BTC", "targeted"),
        (11, "ban", "a", "targeted"),
        (12, "breaker", "vpin_toxicity of BTC", "targeted"),
        (13, "command", "b", None),
        (15, "ban", "a", None),
    ]


def test_every_update_is_kept_and_the_newest_comes_first() -> None:
    lists = long_lists(told(STORY), Reviewed(), 20 * SECOND)
    assert [u["decision"] for u in lists["updates"]] == [
        "rolled back", "frozen", "learned", "frozen", "frozen", "learned",
    ]  # fmt: skip
    assert lists["influences"]["BTC"] == {"ts": 5000, "influence": {"a": 0.2}}
    assert told(STORY).certificates == {"BTC": b"c5"}


@pytest.mark.parametrize("cut", range(len(STORY)))
def test_a_restored_log_goes_on_as_if_nothing_had_been(cut: int) -> None:
    before = told(STORY[:cut])
    after = UpdateLog()
    after.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(before.state())))
    for record in STORY[cut:]:
        after.apply(record)
    assert after.state() == told(STORY).state()


def test_it_is_bounded() -> None:
    log = told([updated(at, "learned" if at % 2 else "frozen") for at in range(2 * UPDATES)])
    assert len(log.updates) == UPDATES
    assert len(log.incidents) == INCIDENTS


def test_a_certificate_in_words() -> None:
    said = Certificate(
        group="BTC", ts=1, standing="certified", past=0.5, axes=(0.0,) * 8, next_hour=1.0,
        conditional=True, sample=0.1, decisions=0.0, reference=2.0, sources=5, faulty=1, excluded=0,
        updates=3,
    )  # type: ignore[arg-type]  # fmt: skip
    group = {"name": "BTC", "reason": "", "certificate": certificate_of(said)}
    assert statement(group).endswith("can have moved the model by at most 0.5 sigma")
    waiting = {"name": "BTC", "reason": "waiting for a reference", "certificate": None}
    assert statement(waiting) == "BTC: no certificate: waiting for a reference"


# -- commands in a running node -------------------------------------------------------------------


class Desk:
    """Hands out each list of commands once."""

    def __init__(self, *lists: list[Command]) -> None:
        self._lists = list(lists)

    def poll(self) -> list[Command]:
        return self._lists.pop(0) if self._lists else []


def command(name: str, target: str) -> Command:
    return Command(name=name, target=target, who="operator")


def obeyed(*lists: list[Command]) -> tuple[Any, list[str]]:
    """A node on ten seconds of tape in blocks, with these commands at its blocks; what it said."""
    catalog, rows = tape(10)
    said: list[str] = []
    node = node_on(catalog, rows, cuts=every(rows, len(rows) // 8), say=said.append)
    node.ports.commands = Desk(*lists)
    node.run()
    return node, said


def test_a_ban_is_journaled_and_holds_at_once() -> None:
    node, said = obeyed([], [], [command(BAN, "sim-c")])
    (order,) = records(node, OperatorCommanded)
    assert (order.command, order.arguments, order.who) == ("ban", {"source": "sim-c"}, "operator")
    (judgement,) = [r for r in records(node, SourceJudged) if r.source == "sim-c"]
    assert (judgement.standing, judgement.ts) == (Standing.BANNED, order.ts)
    assert START < order.ts < START + 10 * SECOND
    counts = node.perception.admission.counts()
    assert counts["sim-c"]["banned"] > 0
    assert all("banned" not in counts[s] for s in counts if s != "sim-c")
    assert said == ["trading"]


def test_an_unban_lets_it_in_on_probation() -> None:
    node, _ = obeyed([command(BAN, "sim-c")], [], [command(UNBAN, "sim-c")])
    assert node.perception.gating.sources["sim-c"].standing is Standing.PROBATION
    refused = node.perception.admission.counts()["sim-c"]["banned"]
    banned_for_good = obeyed([command(BAN, "sim-c")])[0].perception.admission.counts()
    assert 0 < refused < banned_for_good["sim-c"]["banned"]


def test_what_cannot_be_done_is_journaled_and_said_and_the_run_goes_on() -> None:
    node, said = obeyed([command(BAN, "nobody"), command(ROLL_BACK, "BTC")], [])
    assert [r.command for r in records(node, OperatorCommanded)] == ["ban", "rollback"]
    assert said[0].startswith("ban nobody: there is no source nobody")
    assert said[1].startswith("rollback BTC: BTC has no model yet")
    assert node.summary().frames > 0
    with pytest.raises(SeawallError):
        node.perception.gating.roll_back("BTC", "operator", 0)


def test_before_a_review_the_models_measures_are_unknown() -> None:
    node, _ = obeyed()
    measures = model_measures(node.perception.gating)
    assert set(measures) == {
        "anchor_anomaly", "kl_divergence", "provenance_concentration", "vpin_toxicity",
    }  # fmt: skip
    assert all(math.isnan(v) for groups in measures.values() for v in groups.values())
    assert not [reason for reason in node.action.blocks() if "unknown measure" in reason]


# -- what the simulated exchange is told ----------------------------------------------------------


def genuine(flags: int, signature: str, kind: EventKind = EventKind.TRADE) -> int:
    """How many of one row with these flags the exchange is given."""
    catalog, rows = tape(10)
    sources = tuple(
        msgspec.structs.replace(s, signature=signature if s.name == "sim-b" else "")
        for s in catalog.sources
    )
    catalog = Catalog(instruments=catalog.instruments, sources=sources, books=catalog.books).check()
    row = np.array(rows[rows["source"] == 1][:1])
    row["flags"], row["kind"] = flags, kind
    return len(node_on(catalog, Raw(rows[:0]))._genuine.of(Raw(row)))


def test_a_forged_trade_never_reaches_the_exchange() -> None:
    both = int(EventFlag.BEGIN | EventFlag.END)
    signed = int(EventFlag.SIGNED)
    assert genuine(both, "") == 1
    assert genuine(both | signed, "ed25519") == 1
    assert genuine(both, "ed25519") == 0
    for flag in (EventFlag.FORGED, EventFlag.REPLAYED, EventFlag.REORDERED):
        assert genuine(both | signed | int(flag), "ed25519") == 0
