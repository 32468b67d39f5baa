"""The house keeps its own rules, and every rule is able to fail."""

from pathlib import Path

import pytest

from tests import house
from tests.house import ROOT, RULES, Source

TREE = house.sources()

LONG_BODY = "\n".join(["    x = 1"] * 71)
LONG_DOCUMENTED = '    """' + "\n" * 69 + '    """\n    return 1'

# (rule, path, source that breaks it)
PLANTED = [
    (house.known_places, "seawall/strategies/__init__.py", ""),
    (house.known_places, "seawall/extra.py", ""),
    (house.known_places, "seawall/kernels/book.py", ""),
    (house.import_order, "seawall/core/events.py", "import seawall.market.books"),
    (house.import_order, "seawall/market/books.py", "from seawall.risk import limits"),
    (house.import_order, "seawall/market/books.py", "from seawall import risk"),
    (house.import_order, "seawall/market/books.py", "from ..risk.limits import check"),
    (house.import_order, "seawall/market/books.py", "def f():\n    import seawall.risk"),
    (house.import_order, "seawall/decision/agents.py", "from seawall.ledger import fold"),
    (house.import_order, "seawall/ledger/fold.py", "from seawall.decision import agents"),
    (house.import_order, "seawall/storage/journal.py", "from seawall.ledger import fold"),
    (house.import_order, "seawall/storage/journal.py", "from seawall.bus import memory"),
    (house.import_order, "seawall/execution/router.py", "from seawall.storage import journal"),
    (house.import_order, "seawall/venues/simulated/book.py", "import seawall.monitoring"),
    (house.import_order, "seawall/node.py", "import seawall.api"),
    (house.import_order, "seawall/api/app.py", "from seawall.cli import main"),
    (house.import_order, "seawall/__init__.py", "from seawall.core import clock"),
    (
        house.import_order,
        "seawall/core/lazy.py",
        "import importlib\nimportlib.import_module('seawall.node')",
    ),
    (house.outside, "seawall/market/books.py", "import time"),
    (house.outside, "seawall/market/books.py", "from time import perf_counter as now"),
    (house.outside, "seawall/core/orders.py", "import datetime as d\nd.datetime.now()"),
    (house.outside, "seawall/core/orders.py", "from datetime import datetime\nx = datetime.utcnow"),
    (house.outside, "seawall/core/orders.py", "from datetime import date\ndate.today()"),
    (house.outside, "seawall/cli/run.py", "import time\ntime.time()"),
    (house.outside, "seawall/lab/sweep.py", "import random"),
    (house.outside, "seawall/lab/sweep.py", "import numpy as np\nnp.random.default_rng(1)"),
    (house.outside, "seawall/lab/sweep.py", "from numpy import random as r\nr.normal()"),
    (house.outside, "seawall/lab/sweep.py", "from numpy.random import default_rng"),
    (house.outside, "seawall/lab/sweep.py", "from scipy import stats\nstats.norm.rvs(3)"),
    (house.outside, "seawall/core/randomness.py", "import numpy\nnumpy.random.normal()"),
    (house.outside, "seawall/core/randomness.py", "import secrets\nsecrets.token_hex()"),
    (house.outside, "seawall/core/randomness.py", "from secrets import *"),
    (house.outside, "seawall/lab/sweep.py", "import numpy as np\nr = np.random"),
    (house.outside, "seawall/ledger/ids.py", "import uuid\nuuid.uuid4()"),
    (house.outside, "seawall/ledger/ids.py", "import os\nos.urandom(8)"),
    (house.outside, "seawall/risk/limits.py", "import os\nos.environ['LIMIT']"),
    (house.outside, "seawall/risk/limits.py", "from os import getenv"),
    (house.outside, "seawall/risk/limits.py", "import pydantic_settings"),
    (house.outside, "seawall/execution/router.py", "import socket"),
    (house.outside, "seawall/execution/router.py", "import urllib.request"),
    (house.outside, "seawall/execution/router.py", "def f():\n    import ccxt.pro"),
    (house.outside, "seawall/execution/router.py", "import asyncio\nasyncio.open_connection('h')"),
    (house.outside, "seawall/venues/simulated/book.py", "import http.client"),
    (house.same_bits, "seawall/market/books.py", "@njit(fastmath=True)\ndef f(): ..."),
    (house.same_bits, "seawall/market/books.py", "@njit(fastmath={'nnan'})\ndef f(): ..."),
    (house.same_bits, "seawall/market/books.py", "@njit(parallel=True)\ndef f(): ..."),
    (house.same_bits, "seawall/market/books.py", "from numba import prange"),
    (house.same_bits, "seawall/market/books.py", "import numba\nnumba.prange(3)"),
    (house.kernels_alone, "seawall/market/books.py", "import numba\ndef f(): ..."),
    (
        house.kernels_alone,
        "seawall/market/books.py",
        "from numba import njit\n@cache\ndef f(): ...",
    ),
    (house.kernels_alone, "seawall/market/books.py", "from numba import njit\nclass Book: ..."),
    (
        house.made_in_place,
        "seawall/node/action.py",
        "from seawall.core.intents import Approved\nApproved(intent=i, instrument='x', position=1)",
    ),
    (
        house.made_in_place,
        "seawall/execution/executor.py",
        "from seawall.core import intents as i\ni.Approved(intent=0, instrument='', position=1)",
    ),
    (
        house.made_in_place,
        "seawall/execution/executor.py",
        "import msgspec\nfrom seawall.core.intents import Approved\nmsgspec.convert({}, Approved)",
    ),
    (
        house.made_in_place,
        "seawall/market/market.py",
        "from seawall.core.events import Admitted as A\nA(rows, reasons)",
    ),
    (
        house.made_in_place,
        "seawall/risk/limits.py",
        "from seawall.core.events import Admitted\nAdmitted(rows, reasons)",
    ),
    (house.docstring, "seawall/core/__init__.py", ""),
    (house.docstring, "seawall/core/events.py", "# says nothing\nx = 1"),
    (house.sizes, "seawall/core/events.py", "x = 1\n" * 601),
    (house.sizes, "seawall/core/events.py", "def f():\n" + LONG_BODY),
    (house.sizes, "seawall/core/events.py", "class A:\n  async def f(self):\n" + LONG_BODY),
    (house.sizes, "seawall/core/events.py", "def f():\n" + LONG_DOCUMENTED),
    (house.names, "seawall/core/utils.py", ""),
    (house.names, "seawall/core/order_helpers.py", ""),
    (house.names, "seawall/risk/manager/limits.py", ""),
    (house.bare_except, "seawall/core/events.py", "try: ...\nexcept: ..."),
    (house.bounded_queues, "seawall/node.py", "import queue\nqueue.Queue()"),
    (house.bounded_queues, "seawall/node.py", "from queue import Queue\nQueue(maxsize=0)"),
    (house.bounded_queues, "seawall/node.py", "import asyncio as a\na.PriorityQueue(-1)"),
    (house.bounded_queues, "seawall/node.py", "from queue import SimpleQueue\nSimpleQueue()"),
    (house.bounded_queues, "seawall/node.py", "import queue\nfield(default_factory=queue.Queue)"),
    (house.bounded_queues, "seawall/api/push.py", "from collections import deque\ndeque([])"),
    (house.bounded_queues, "seawall/bus/memory.py", "import collections\ncollections.deque()"),
]

# (rule, path, source that keeps it, though it looks alike)
INNOCENT = [
    (house.known_places, "seawall/node/loop.py", ""),
    (house.known_places, "seawall/__init__.py", ""),
    (house.import_order, "seawall/risk/limits.py", "from seawall.ledger import fold\nimport numpy"),
    (house.import_order, "seawall/risk/limits.py", "from .sizing import size"),
    (house.import_order, "seawall/core/__init__.py", "from .events import EVENT"),
    (house.import_order, "seawall/node.py", "import seawall.storage.journal"),
    (house.import_order, "seawall/lab/sweep.py", "import seawall.bus"),
    (house.import_order, "seawall/bus/memory.py", "import seawall.core.events"),
    (
        house.import_order,
        "seawall/cli/run.py",
        "from seawall import __version__, api",
    ),
    (house.import_order, "seawall/__main__.py", "from seawall.cli import main"),
    (house.outside, "seawall/core/clock.py", "import time\ntime.time_ns()"),
    (house.outside, "seawall/core/orders.py", "from datetime import datetime, UTC"),
    (house.outside, "seawall/core/orders.py", "def f(time):\n    return time.time"),
    (
        house.outside,
        "seawall/core/randomness.py",
        "import numpy as np\nnp.random.Generator(np.random.Philox(1))",
    ),
    (
        house.outside,
        "seawall/lab/sweep.py",
        "import numpy as np\ndef f(g: np.random.Generator): ...",
    ),
    (house.outside, "seawall/cli/run.py", "import time\ntime.perf_counter()"),
    (house.outside, "seawall/api/app.py", "import fastapi\nfrom http import HTTPStatus"),
    (house.outside, "seawall/risk/limits.py", "import os\nos.path.join('a', 'b')"),
    (house.outside, "seawall/ingestion/live.py", "import ccxt.pro as exchange\nexchange.binance()"),
    (house.same_bits, "seawall/market/books.py", "@njit(cache=True, fastmath=False)\ndef f(): ..."),
    (
        house.kernels_alone,
        "seawall/market/books.py",
        "import numba\nfrom numba import njit\nfrom typing import NamedTuple\n"
        "class Book(NamedTuple): ...\n@njit(cache=True)\ndef f(): ...\n@numba.njit\ndef g(): ...",
    ),
    (house.kernels_alone, "seawall/market/frames.py", "def f(): ..."),
    (
        house.made_in_place,
        "seawall/risk/limits.py",
        "from seawall.core.intents import Approved\nApproved(intent=i, instrument='x', position=1)",
    ),
    (
        house.made_in_place,
        "seawall/node/action.py",
        "from seawall.core.intents import Approved\nisinstance(x, Approved)\nlist[Approved]",
    ),
    (
        house.made_in_place,
        "seawall/admission/admission.py",
        "from seawall.core.events import Admitted\nAdmitted(rows, reasons)",
    ),
    (house.sizes, "seawall/core/events.py", "def f():\n" + "\n".join(["    x = 1"] * 70)),
    (house.names, "seawall/risk/management.py", ""),
    (house.bare_except, "seawall/core/events.py", "try: ...\nexcept ValueError: ..."),
    (house.bounded_queues, "seawall/node.py", "import queue\nqueue.Queue(100)"),
    (house.bounded_queues, "seawall/node.py", "import asyncio\nasyncio.Queue(maxsize=LIMIT)"),
    (house.bounded_queues, "seawall/bus/memory.py", "import collections\ncollections.deque((), 9)"),
    (house.bounded_queues, "seawall/lab/sweep.py", "from collections import deque\ndeque()"),
]


def rule_and_case(value: object) -> str | None:
    return getattr(value, "__name__", None)


@pytest.mark.parametrize("rule", RULES, ids=rule_and_case)
def test_the_house_keeps(rule):
    assert TREE
    assert [finding for source in TREE for finding in rule(source)] == []


@pytest.mark.parametrize(("rule", "path", "text"), PLANTED, ids=rule_and_case)
def test_a_planted_fault_is_found(rule, path, text):
    findings = rule(Source(path, text))
    assert findings
    assert all(finding.startswith(path) for finding in findings)


@pytest.mark.parametrize(("rule", "path", "text"), INNOCENT, ids=rule_and_case)
def test_what_only_looks_alike_is_let_through(rule, path, text):
    assert rule(Source(path, text)) == []


def test_every_rule_has_been_seen_to_fail():
    assert {rule for rule, _, _ in PLANTED} == set(RULES)


def test_modules_import_in_no_circle():
    assert house.cycles(TREE) == []


def test_a_circle_is_found_even_through_a_package_and_a_function():
    tree = [
        Source("seawall/core/__init__.py", "from seawall.core.b import x"),
        Source("seawall/core/a.py", "def f():\n    from seawall.core import x"),
        Source("seawall/core/b.py", "from . import a"),
    ]
    assert house.cycles(tree) != []
    assert house.cycles(tree[1:]) == []


@pytest.mark.parametrize(("path", "names", "reason"), house.PORTS)
def test_every_port_says_what_it_may_use_and_why(path, names, reason):
    assert path.startswith("seawall/")
    assert reason
    assert all(house._within(name, house.OUTSIDE) for name in names)


def test_links_in_the_documents_lead_somewhere():
    assert [f for page in house.pages() for f in house.links(page, page.read_text("utf-8"))] == []


@pytest.mark.parametrize("text", ["[a](missing.md)", "[a](missing.md#part)", "[a]: missing/b.md"])
def test_a_link_to_nowhere_is_found(tmp_path: Path, text):
    assert house.links(tmp_path / "page.md", text) != []


def test_a_link_to_somewhere_is_let_through(tmp_path: Path):
    (tmp_path / "there.md").touch()
    text = "[a](there.md#part) [b](https://example.org) [c](#here) `[d](code.md)`"
    text += "\n```\n[e](f.md)\n```"
    assert house.links(tmp_path / "page.md", text) == []


def test_tests_mirror_the_house():
    packages = {source.layer for source in TREE} - {""}
    assert house.strangers(_folders(ROOT / "tests"), packages) == []


def test_a_folder_that_mirrors_nothing_is_found():
    assert house.strangers(["core", "misc"], ["core", "risk"]) == ["tests/misc mirrors nothing"]


def test_the_root_stays_readable():
    shown = [path.name for path in ROOT.iterdir() if path.is_file() and path.name[0] != "."]
    assert len(shown) <= 12, shown


def _folders(parent: Path) -> list[str]:
    return [p.name for p in parent.iterdir() if p.is_dir() and p.name[0] not in "._"]
