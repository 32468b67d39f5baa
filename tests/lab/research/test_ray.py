"""A search on a Ray cluster: a real one, with a head of its own on this machine.

Needs Ray, which is an extra (`pip install 'seawall[ray]'`); where it is missing all is skipped.
"""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from seawall.core.errors import SettingError
from seawall.lab.research import market as markets
from seawall.lab.research.search import SearchShape, search
from seawall.lab.research.workers import workers
from tests.lab.research.test_search import PLAN, SPACE, plain
from tests.lab.research.walks import walk

pytest.importorskip("ray", reason="Ray is not installed: pip install 'seawall[ray]'")
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

WORKERS = 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("market")
    markets.save(walk(20_000, 1, drift=0.0002), made)
    return made


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a head with two workers."""
    os.environ["RAY_AUTH_MODE"] = "disabled"  # else it keeps a token in the home folder
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = Path(sys.executable).with_name("ray")
    options = ["--block", "--node-ip-address=127.0.0.1", f"--port={port}"]
    options += [f"--num-cpus={WORKERS}", "--include-dashboard=false"]
    head = subprocess.Popen(
        [command, "start", "--head", "--object-store-memory=100000000", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert head.stdout is not None
    said = []
    for line in head.stdout:
        said.append(line)
        if "Ray runtime started" in line:
            break
    else:
        pytest.fail(f"Ray did not start: {''.join(said)}")
    yield f"127.0.0.1:{port}"
    ours = psutil.Process(head.pid).children(recursive=True)
    head.terminate()
    head.wait(timeout=60)
    for one in psutil.wait_procs(ours, timeout=10)[1]:
        one.kill()


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_it_finds_what_this_machine_finds(folder: Path, cluster: str, sampler: str) -> None:
    shape = SearchShape(sampler=sampler, sets=60, prune=True)
    here = search(folder, PLAN, SPACE, shape)
    there = search(folder, PLAN, SPACE, shape, ray=cluster)
    assert len(there.tried) == 60
    assert plain(there) == plain(here)


def test_killed_workers_cost_no_set(folder: Path, cluster: str) -> None:
    """All that work are killed while sets are under way: Ray starts others, and nothing is lost."""
    shape = SearchShape(sampler="random", sets=600)
    killed: list[int] = []

    def report(done: int, total: int) -> None:
        if done == 100:
            for process in psutil.process_iter(["cmdline"]):
                name = " ".join(process.info["cmdline"] or [])
                if name.startswith(("ray::_remote", "ray::IDLE")):
                    killed.append(process.pid)
                    process.kill()

    there = search(folder, PLAN, SPACE, shape, ray=cluster, report=report)
    assert killed
    assert plain(there) == plain(search(folder, PLAN, SPACE, shape))


def test_an_address_where_nothing_listens_is_one_line_at_once(folder: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    for given, words in (
        (address, "connection refused; start a head there"),
        (f"ray://{address}", "connection refused; start a head there"),
        ("nonsense", "Invalid address"),
    ):
        with (
            pytest.raises(SettingError, match=words) as raised,
            workers(folder, PLAN, 1, given),
        ):
            pass
        assert "\n" not in str(raised.value)
