"""kill -9 at random points of a paper run: of the node, of its exchange, and of both.

Whatever dies when, afterwards nothing is lost, nothing is double, and the books agree to the last
unit. The moments are seeded and follow the journal, not the clock; half of them lie just after the
row that is written before an order leaves.
"""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.audit import Audit, audit
from tests.node.crash import Run

FEW, MANY = 2, 20
TIMES = [FEW, pytest.param(MANY, marks=pytest.mark.slow)]
DRAIN = 10.0  # seconds of the tape that a stopping node waits for answers


@pytest.fixture
def socket() -> Iterator[Path]:
    """A short path: sockets allow no long ones."""
    with tempfile.TemporaryDirectory(prefix="seawall-") as folder:
        yield Path(folder) / "venue"


def finish(run: Run, *, remote: bool) -> Audit:
    """Stop in order, then look at what the stores say."""
    run.stop("node")
    if remote:
        run.stop("venue")
    found = audit(run.journal, run.log)
    assert found.lives == run.lives
    print(f"\n{run.lives} lives: {found}")
    return found


@pytest.mark.parametrize("times", TIMES)
def test_the_node_dies(tmp_path: Path, socket: Path, times: int) -> None:
    run = Run(tmp_path, socket, seed=11)
    try:
        run.start_venue()
        run.start_node()
        for _ in range(times):
            run.trade()
            run.await_moment()
            run.kill("node")
            run.start_node()
        run.trade()
        found = finish(run, remote=True)
    finally:
        run.end()
    assert found.fills > 5 * times


@pytest.mark.parametrize("times", TIMES)
def test_the_exchange_dies(tmp_path: Path, socket: Path, times: int) -> None:
    """The node survives, sends nothing in the dark, and goes on when the exchange is back."""
    run = Run(tmp_path, socket, seed=22)
    try:
        run.start_venue()
        run.start_node()
        for _ in range(times):
            run.trade()
            run.await_moment()
            run.kill("venue")
            before, taped = run.orders, run.taped
            length = run.random.choice((0, 50_000, 500_000))
            run.until("rows", lambda goal=taped + length: run.taped >= goal)
            assert run.orders <= before + 1  # at most the one that was about to leave
            run.start_venue()
        run.trade()
        found = finish(run, remote=True)
    finally:
        run.end()
    assert found.fills > 5 * times


@pytest.mark.parametrize("times", TIMES)
def test_both_die(tmp_path: Path, socket: Path, times: int) -> None:
    run = Run(tmp_path, socket, seed=33)
    try:
        run.start_venue()
        run.start_node()
        for _ in range(times):
            run.trade()
            run.await_moment()
            run.kill(*run.random.sample(("node", "venue"), 2))
            assert socket.exists()  # nobody was left to remove it
            first, second = run.random.sample((run.start_node, run.start_venue), 2)
            first()
            second()
        run.trade()
        found = finish(run, remote=True)
    finally:
        run.end()
    assert found.fills > 5 * times


@pytest.mark.parametrize("times", TIMES)
def test_the_node_dies_with_the_exchange_inside(tmp_path: Path, times: int) -> None:
    run = Run(tmp_path, None, seed=44)
    try:
        run.start_node()
        for _ in range(times):
            run.trade()
            run.await_moment()
            run.kill("node")
            run.start_node()
        run.trade()
        found = finish(run, remote=False)
    finally:
        run.end()
    assert found.fills > 5 * times


def test_a_node_that_starts_and_stops_without_its_exchange(tmp_path: Path, socket: Path) -> None:
    """It waits and says so, trades when the exchange comes, and ends in time when it has gone."""
    run = Run(tmp_path, socket, seed=55)
    try:
        run.start_node()
        run.until("a tape", lambda: run.taped > 200_000)
        assert run.orders == 0
        run.start_venue()
        run.trade()
        run.await_moment()
        run.kill("venue")
        taped = run.taped
        run.until("rows", lambda: run.taped > taped + 200_000)
        assert run.stop("node") < DRAIN + 5.0
        assert "not trading: the venue does not answer" in run.words("node")
        assert "stays open" in run.words("node")
        run.start_venue()
        run.start_node()
        run.trade()
        finish(run, remote=True)
    finally:
        run.end()
