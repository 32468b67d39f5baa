"""The first minutes of a paper run: a source turns hostile, the gates find it and nobody else."""

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np
import pytest

from seawall.core.clock import MINUTE, SECOND, TapeClock
from seawall.core.errors import SettingError
from seawall.core.events import Raw
from seawall.core.ports import Feed
from seawall.core.records import ModelRolledBack, SourceJudged
from seawall.core.settings import FeedSettings, Settings
from seawall.core.verdicts import Standing
from seawall.ingestion.simulated import SimulatedFeed, SimulatedMarket
from seawall.node.assembly import HISTORY, Silent, _turned, build
from seawall.node.hostile import announced, attacks_of
from seawall.node.node import Node
from seawall.node.views import view_of
from seawall.storage.journal import MemoryJournal
from tests.node.short_runs import records

START = 1_700_000_000 * SECOND
BEGINS = START + HISTORY
LENGTH = 8 * MINUTE
TURNS = BEGINS + MINUTE


class Fast(TapeClock):
    """A second for whoever waits a moment."""

    def wait(self, until: int) -> None:
        super().wait(max(until, self.now() + SECOND))


class Ending:
    """A feed that ends at a moment."""

    def __init__(self, inner: Feed, clock: TapeClock, end: int) -> None:
        self._inner, self._clock, self._end = inner, clock, end
        self.catalog = inner.catalog
        self.history = inner.history  # type: ignore[attr-defined]
        self.close = inner.close

    def read(self, timeout: float) -> Raw | None:
        return None if self._clock.now() >= self._end else self._inner.read(timeout)


@dataclass
class Run:
    """A run, and what was seen at each review: ts → group → (mean, certificate's axes, past)."""

    node: Node
    said: list[str]
    reviews: dict[int, dict[str, Any]] = field(default_factory=dict)
    naive: list[dict[str, Any]] = field(default_factory=list)
    hostile: list[Any] = field(default_factory=list)

    def watch(self, node: Node, _: Any) -> None:
        gating = node.perception.gating
        if gating.reviewed and gating.reviewed not in self.reviews:
            self.reviews[gating.reviewed] = {
                group.name: (
                    np.array(group.model.mean),
                    np.array(group.certificate.axes),
                    group.certificate.past,
                )
                for group in gating.groups
                if group.model and group.certificate
            }
            self.naive.append(dict(node.window.beliefs or {}))
            self.hostile.append(view_of(node, 0.0)["hostile"])


@cache
def ran(hostile: str) -> Run:
    """Eight minutes of the simulated market, as `make run` has it."""
    settings = Settings(feed=FeedSettings(name="simulated", hostile=hostile))
    clock = Fast(BEGINS)
    market = SimulatedMarket(settings.seed, START)
    said: list[str] = []
    inner: Feed = Ending(SimulatedFeed(market, clock), clock, BEGINS + LENGTH)
    feed, turned = _turned(settings, inner, said.append)
    run = Run(None, said)  # type: ignore[arg-type]
    run.node = build(
        settings,
        feed.catalog,
        feed,
        MemoryJournal(),
        Silent(),
        "r",
        feed_name="simulated",
        strict=True,
        watch=run.watch,
        **turned,
    )
    run.node.warm(feed.history(BEGINS))  # type: ignore[attr-defined]
    run.node.run()
    return run


def judged(run: Run) -> dict[str, list[SourceJudged]]:
    found: dict[str, list[SourceJudged]] = {}
    for record in records(run.node, SourceJudged):
        found.setdefault(record.source, []).append(record)
    return found


def test_the_user_is_told_and_how_to_stop_it() -> None:
    (line,) = ran("auto").said
    assert line.startswith("sim-e will turn hostile 60 s from now")
    assert "--hostile none" in line
    assert ran("none").said == []


def test_the_liar_is_distrusted_refused_and_banned() -> None:
    run = ran("auto")
    said = judged(run)["sim-e"]
    standings = [Standing(record.standing) for record in said]
    assert Standing.SUSPENDED in standings
    assert standings[-1] is Standing.BANNED
    banned = next(r.ts for r in said if r.standing == Standing.BANNED)
    assert TURNS < banned <= BEGINS + LENGTH
    assert min(r.ts for r in said if r.score >= 1.0) - TURNS <= 2 * MINUTE
    refused = run.node.perception.admission.counts()["sim-e"]
    assert refused["untrusted"] > 1_000
    assert refused["banned"] > 100
    assert records(run.node, ModelRolledBack)


@pytest.mark.parametrize("hostile", ["auto", "none"])
def test_nobody_honest_is_ever_without_a_vote(hostile: str) -> None:
    run = ran(hostile)
    for source, said in judged(run).items():
        if source != "sim-e" or hostile == "none":
            assert {Standing(r.standing) for r in said} == {Standing.TRUSTED}, source
            assert max(r.score for r in said) < 1.0, source


def test_the_certificate_holds_against_the_clean_twin() -> None:
    """The same market, seed and reviews without the attack: never further away than certified."""
    attacked, clean = ran("auto").reviews, ran("none").reviews
    assert attacked.keys() == clean.keys()
    assert len(attacked) >= 7
    parted = 0.0
    for ts, groups in attacked.items():
        for name, (mean, axes, past) in groups.items():
            away = np.abs(mean - clean[ts][name][0])
            assert np.all(away <= axes + 1e-9), (ts, name)
            assert np.linalg.norm(away) <= past + 1e-9, (ts, name)
            parted = max(parted, float(np.linalg.norm(away)))
    assert 0.0 < parted < 0.1  # the attack had an effect, and a small one


def test_a_naive_system_follows_the_liar() -> None:
    run = ran("auto")
    before, after = run.naive[0]["BTC"], run.naive[-1]["BTC"]
    assert abs(before["price_off_bps"]) < 1.0
    assert after["price_off_bps"] > 50.0
    assert after["shift"] > before["shift"] + 0.5
    assert ran("none").naive[-1] == {}


def test_the_page_is_told_who_lies_and_since_when() -> None:
    run = ran("auto")
    assert [one["active"] for one in run.hostile] == [one["since"] * 10**6 <= ts for one, ts in zip(
        run.hostile, run.reviews, strict=True)]  # fmt: skip
    last = run.hostile[-1]
    assert (last["source"], last["off"]) == ("sim-e", "--hostile none")
    assert last["since"] * 1_000_000 == TURNS
    assert ran("none").hostile[-1] is None


def test_whose_books_we_trade_on_is_left_honest_unless_named() -> None:
    catalog = SimulatedMarket(0, START).catalog
    for traded, victim in (
        (["BTC/USD@sim-a"], "sim-e"),
        (["BTC/USD@sim-e", "ETH/USD@sim-d"], "sim-c"),
        ([i.name for i in catalog.instruments], "sim-e"),
    ):
        for attack in attacks_of("auto", catalog, traded, 0):
            assert [catalog.sources[i].name for i in attack.sources] == [victim]
    (named,) = attacks_of("mean_shift offset=200 sources=sim-a after=5m", catalog, [], 0)
    assert [catalog.sources[i].name for i in named.sources] == ["sim-a"]
    assert "sim-a will turn hostile 300 s from now" in announced([named])
    assert attacks_of("none", catalog, [], 0) == []
    with pytest.raises(SettingError, match=r"--hostile.*no attack 'mean_shit'; did you mean"):
        attacks_of("mean_shit", catalog, [], 0)
    with pytest.raises(SettingError, match=r"--hostile.*no source 'sim-z'"):
        attacks_of("silence sources=sim-z", catalog, [], 0)
