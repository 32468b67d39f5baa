"""The dashboard in a real browser, on a real node: it lives by itself, and it looks dead when dead.

DASHBOARD_PICTURE=FILE keeps a picture of 1440 x 900, taken after DASHBOARD_MINUTES (default 0).
"""

import contextlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

import seawall.api.server
from seawall.api.board import Board
from seawall.api.server import ApiServer
from tests.cli.processes import LIVELY, PATIENCE, Running, Shell, until

pytestmark = pytest.mark.browser

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
SIZE = {"width": 1440, "height": 900}


@pytest.fixture
def browser() -> Iterator[Any]:
    """A browser that is on this machine anyway."""
    fixed = "/usr/bin/chromium"
    found = fixed if Path(fixed).exists() else next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        pytest.skip("no Chromium or Chrome here: the page is not tested")
    if not (seawall.api.server.PAGE / "index.html").is_file():
        pytest.skip("the page is not built (`make setup`, with Node): it is not tested")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=found, args=FLAGS)
        yield started
        started.close()


class Page:
    """The dashboard as a person sees it, and what the browser did behind it."""

    def __init__(self, browser: Any, address: str, size: dict[str, int] = SIZE) -> None:
        self.page = browser.new_page(viewport=size, color_scheme="dark")
        self.complaints: list[str] = []
        self.hosts: set[str] = set()
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on("request", lambda request: self._on_request(request.url))
        self.page.goto(address)

    def _on_console(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(message.text)

    def _on_request(self, url: str) -> None:
        if urlsplit(url).scheme != "data":
            self.hosts.add(urlsplit(url).netloc)

    def text(self, selector: str) -> str:
        """All the text below it, empty where it is not there."""
        return " ".join(self.page.locator(selector).all_inner_texts())

    def part(self, name: str) -> str:
        """The text of a panel or a tile."""
        return self.text(f'[data-testid="{name}"]')

    def rows(self, name: str) -> list[str]:
        """The keys of a panel's rows."""
        found = self.page.locator(f'[data-testid="{name}"] [data-row]')
        return [str(key) for key in found.evaluate_all("rows => rows.map(r => r.dataset.row)")]

    def ages(self) -> list[str]:
        """Every age on the page."""
        return list(self.page.locator(".age-text").all_inner_texts())

    def status(self) -> str:
        """What the node is said to do."""
        found = self.page.locator('[data-testid="status"]')
        return str(found.get_attribute("data-status", timeout=1_000)) if found.count() else ""

    def wait(self, condition: Any, what: str, patience: float = PATIENCE) -> None:
        """Wait while the browser lives on."""

        def met() -> bool:
            self.page.wait_for_timeout(50)  # lets the browser's events through
            return bool(condition())

        until(met, f"{what}: {self.part('status')}", patience)


def journal_rows(page: Page) -> int:
    found = re.search(r"([\d,\s]+) rows", page.part("journal"))
    return int(re.sub(r"\D", "", found[1])) if found else 0


def address_of(node: Running) -> str:
    node.said("simulated market: ")
    found = re.search(r"dashboard: (\S+)", node.out)
    assert found
    return found[1]


def test_the_page_lives_and_dies_with_its_node(tmp_path: Path, browser: Any) -> None:
    (tmp_path / "seawall.toml").write_text(LIVELY)
    shell = Shell(tmp_path)
    with shell.start("run", "--feed", "simulated", "--seed", "7", "--port", "0") as node:
        address = address_of(node)
        page = Page(browser, address)
        page.wait(lambda: page.status() == "trading", "trading")
        page.wait(lambda: page.text("h1").upper() == "TRADING", "the word TRADING")
        assert page.page.title().startswith("TRADING")
        _it_moves(page)
        for width in (1360, 1024):
            page.page.set_viewport_size({"width": width, "height": 900})
            table = page.page.locator('[data-testid="positions"] .scroll')
            page.wait(table.is_visible, "the positions")
            assert table.evaluate("one => one.scrollWidth <= one.clientWidth"), (
                f"cut off at {width}"
            )
        page.page.set_viewport_size(SIZE)
        page.page.screenshot(path=tmp_path / "trading.png")
        assert page.complaints == []
        assert page.hosts == {urlsplit(address).netloc}
        _keep_a_picture(page)

        node.process.kill()  # nobody says goodbye
        node.process.wait(PATIENCE)
        page.wait(lambda: page.text("h1").upper() == "DISCONNECTED", "DISCONNECTED", 30)
        assert page.status() == "lost"
        assert page.page.title().startswith("DISCONNECTED")
        assert "nothing below is live" in page.part("status")
        page.page.screenshot(path=tmp_path / "disconnected.png")
    assert page.hosts == {urlsplit(address).netloc}
    assert shell.hosts_asked == []


def _it_moves(page: Page) -> None:
    """Without a reload: ages, fills, positions, the journal, the charts."""
    page.page.evaluate("window.mark = 'not reloaded'")
    ages = page.ages()
    assert len(ages) > 20
    page.wait(lambda: page.ages() != ages, "ages that change")
    page.wait(lambda: page.rows("fills"), "a first fill")
    fills, rows = set(page.rows("fills")), journal_rows(page)
    page.wait(lambda: set(page.rows("fills")) - fills, "more fills")
    page.wait(lambda: journal_rows(page) > rows, "a journal that grows")
    page.wait(lambda: page.rows("positions"), "a position")
    positions = page.part("positions")
    page.wait(lambda: page.part("positions") != positions, "positions that change")
    assert page.page.locator('[data-testid="price-chart"] canvas').count() > 0
    small = r"\de[-+−]\d"  # 3e-05 is no way to write a quantity
    assert not re.search(small, page.part("positions") + page.part("orders") + page.part("fills"))
    assert len(page.rows("sources")) == 5
    assert len(page.rows("breakers")) >= 4
    assert page.page.evaluate("window.mark") == "not reloaded"
    size = page.page.evaluate("[document.body.scrollWidth, window.innerWidth]")
    assert size[0] <= size[1], "the page is wider than the window"


def _keep_a_picture(page: Page) -> None:
    """For the README, where a person asks for it."""
    picture = os.environ.get("DASHBOARD_PICTURE", "")
    if not picture:
        return
    end = time.monotonic() + 60 * float(os.environ.get("DASHBOARD_MINUTES", "0"))
    page.wait(lambda: time.monotonic() >= end, "some minutes of trading", 3_600)
    page.page.screenshot(path=picture)


# -- the robust core, from a view that a test publishes ------------------------------------------

PHONE = {"width": 390, "height": 844}
NAMES_OF_SOURCES = ("sim-a", "sim-b", "sim-c", "sim-d", "sim-e")


def certificate(standing: str, past: float, now: int) -> dict[str, Any]:
    return {
        "standing": standing, "past": past, "next_hour": 0.05, "conditional": True,
        "sample": 0.02, "decisions": 0.0, "reference": 1.9, "axes": {"return": past},
        "sources": 5, "faulty": 1, "excluded": 0, "updates": 12, "ts": now - 12_000,
    }  # fmt: skip


def group(name: str, standing: str, past: float, now: int, **changed: Any) -> dict[str, Any]:
    figures = {
        "shift": 0.1, "rows": 1000, "ts": now - 12_000, "anchor_rate": 0.0, "anchor_surprise": 0.0,
        "window": {"distance": 0.31, "spectrum": [0.9, 1.1], "divergence": 0.052},
        "limits": {"distance": 0.94, "spectrum": 0.6, "divergence": 0.41},
        "model": {"distance": 0.12, "spectrum": [0.95, 1.05], "divergence": 0.013},
        "corridor": {"distance": 0.5, "spectrum": [0.85, 1.15], "divergence": 0.1},
        "concentration": 0.0, "entropy": 2.32, "vpin": 0.2,
    }  # fmt: skip
    return {
        "name": name, "sources": 5, "voting": 5, "decision": "learned", "reason": "",
        "counts": {"learned": 12, "frozen": 0, "rejected": 1, "held": 0}, "rolled_back": 0,
        "corroboration": 0.8, "verdict": "market-wide", "figures": figures,
        "reference": {"name": "0123456789ab", "rows": 480, "provisional": True, "features": []},
        "certificate": certificate(standing, past, now), **changed,
    }  # fmt: skip


def robust_view(now: int) -> dict[str, Any]:
    """A view of a node while sim-e lies and is suspended."""
    prices = {"BTC": 60_000.0, "ETH": 3_000.0, "SOL": 150.0}
    sources = [
        {
            "name": name, "state": "live", "rate": 118.4, "admitted": 182_331, "refused": 4,
            "refusals": {"stale": 3, "rate": 1}, "trust": 0.93, "last": now, "standing": "trusted",
            "votes": True, "score": 0.42, "worst": 0.61, "reason": "", "rejections": 0,
            "strikes": 0, "clean": 0, "until": None, "suspected": None,
        }
        for name in NAMES_OF_SOURCES
    ]  # fmt: skip
    sources[-1] |= {
        "trust": 0.12, "standing": "suspended", "votes": False, "score": 5.3, "worst": 5.6,
        "reason": "location of micro 45 over 8", "rejections": 2, "strikes": 1, "refused": 2_310,
        "refusals": {"untrusted": 2_306, "stale": 4}, "until": now + 70_000,
        "suspected": now - 90_000,
    }  # fmt: skip
    frozen = {"decision": "rejected", "reason": "under suspicion: sim-e", "voting": 4}
    targeted = {"corroboration": 0.2, "verdict": "targeted"}
    instruments = [
        {
            "name": f"{name}/USD@sim-a", "group": name, "bid": mid * 0.9999, "ask": mid * 1.0001,
            "mid": mid, "spread_bps": 2.0, "volatility": 0.6, "regime": "NORMAL_VOL",
            "consensus": mid, "deviation_bps": 0.0, "sources": 5, "ts": now,
        }
        for name, mid in prices.items()
    ]  # fmt: skip
    wanted = {"wanted": 0.3, "low": 0.28, "high": 0.33, "bound": 0.03}
    exposures = [{**wanted, "instrument": row["name"], "ts": now} for row in instruments]
    breakers = [
        {
            "name": f"{name} {key}".strip(), "scope": scope, "state": "CLOSED", "reason": "",
            "measure": 0.2 * limit, "threshold": limit, "unit": unit, "since": None, "ts": now,
        }
        for name, scope, limit, unit, keys in (
            ("drawdown", "account", 0.2, "fraction", [""]),
            ("flash_crash", "market", 0.1, "fraction", [""]),
            ("anchor_anomaly", "model", 4.0, "-log10 p", prices),
            ("kl_divergence", "model", 1.0, "× limit", prices),
            ("provenance_concentration", "model", 0.15, "normalised HHI", prices),
            ("vpin_toxicity", "model", 0.75, "VPIN", prices),
        )
        for key in keys
    ]  # fmt: skip
    gates = (
        ("authenticity", "freeze", "sim-e (location of micro 45 over 8)"),
        ("market", "pass", ""),
    )
    money = {"value": 100_986.57, "cash": 83_211.4, "unrealised": -31.2, "realised": 212.93,
             "fees": 48.12, "peak": 101_043.6, "drawdown": 0.0006, "leverage": 0.31}  # fmt: skip
    return {
        "now": now, "mode": "paper", "status": "trading", "reasons": [], "numeraire": "USD",
        "feed": {"name": "simulated", "detail": "no exchange answered"}, "uptime_s": 300.0,
        "equity": {**money, "ts": now}, "positions": [], "orders": [], "fills": [],
        "breakers": breakers, "sources": sources, "instruments": instruments,
        "gates": [{"name": n, "decision": d, "detail": why, "ts": now} for n, d, why in gates],
        "journal": {"rows": 182_331, "hash": "9f3ab27c41d0e88a"},
        "robust": {
            "reviewed": now - 12_000,
            "groups": [
                group("BTC", "certified", 0.012, now),
                group("ETH", "sound", 0.034, now, **frozen, **targeted),
                group("SOL", "vacuous", 1.4, now),
            ],
            "exposures": exposures,
        },
        "hostile": {
            "source": "sim-e", "attack": "mean_shift", "since": now - 120_000,
            "detail": "mids +200 sigma in 100% of the frames",
            "active": True, "off": "--hostile none",
        },
        "naive": {
            name: {
                "price": mid * 1.002, "consensus": mid, "price_off_bps": 20.0, "shift": 2.1,
                "ts": now,
            }
            for name, mid in prices.items()
        },
    }  # fmt: skip


def robust_points(now: int, count: int = 300) -> list[dict[str, Any]]:
    """The history that goes with it: trust falls and the naive model walks off."""
    points = []
    for i in range(count):
        lying = max(0, i - count // 2)
        trust = dict.fromkeys(NAMES_OF_SOURCES, 0.5 + 0.43 * min(1.0, i / count * 1.4))
        trust["sim-e"] = 0.12 if lying > 60 else trust["sim-e"]
        points.append({
            "ts": now - 1_000 * (count - i), "equity": 100_000.0 + i, "drawdown": 0.0,
            "prices": {"BTC/USD@sim-a": 60_000.0 + i}, "trust": trust,
            "certificate": {"BTC": 0.012 + 0.004 * (lying > 0), "ETH": 0.034, "SOL": 1.4},
            "naive": dict.fromkeys(("BTC", "ETH", "SOL"), 0.01 + 0.014 * lying),
        })  # fmt: skip
    return points


@contextlib.contextmanager
def published(browser: Any, size: dict[str, int]) -> Iterator["Published"]:
    """A page whose board shows what the test pins to it."""
    board = Board()
    server = ApiServer(board, "127.0.0.1", 0)
    now = time.time_ns() // 1_000_000
    for point in robust_points(now):
        board.publish("point", point)
    server.start()
    try:
        pinned = Published(board, now)
        pinned.show()
        pinned.page = Page(browser, server.address, size)
        yield pinned
    finally:
        server.stop()


class Published:
    """A board that repeats its view, as a node does, and the page that shows it."""

    page: Page

    def __init__(self, board: Board, now: int) -> None:
        self.board = board
        self.view = robust_view(now)

    def show(self, **changed: Any) -> None:
        """Pin the view, changed; times stay as they were."""
        self.view |= changed
        self.board.publish("view", self.view)

    def wait(self, condition: Any, what: str) -> None:
        """Wait while the node goes on speaking."""

        def met() -> bool:
            self.show()
            return bool(condition())

        self.page.wait(met, what)


def standing(page: Page, name: str) -> str:
    """What a group's certificate is said to be worth."""
    found = page.page.locator(f'[data-testid="certificates"] [data-row="{name}"]')
    return str(found.get_attribute("data-standing", timeout=1_000)) if found.count() else ""


SIZES = pytest.mark.parametrize("size", [SIZE, PHONE], ids=["desk", "phone"])


@SIZES
def test_the_page_says_what_an_attacker_can_have_done(browser: Any, size: dict[str, int]) -> None:
    with published(browser, size) as shown:
        page = shown.page
        shown.wait(lambda: standing(page, "SOL") == "vacuous", "three certificates")
        assert [standing(page, name) for name in ("BTC", "ETH")] == ["certified", "sound"]
        text = page.part("certificates")
        for said in (
            "An attacker who owns 1 of 5 sources can have moved the model by at most",
            "0.012 σ", "1.40 σ", "sample 0.020 σ", "decisions 0 σ", "reference 1.90 σ",
            "≤ 0.050 σ conditional", "3.0 % of the cap", "learned 12", "rejected 1",
            "under suspicion: sim-e", "targeted", "market-wide", "0.85–1.15", "0.55–1.82", "0.94",
        ):  # fmt: skip
            assert said in re.sub(r"\s+", " ", text), said
        _it_fits(page)
        assert page.complaints == []


@SIZES
def test_the_page_says_who_lies_and_what_it_does_to_the_naive(
    browser: Any, size: dict[str, int]
) -> None:
    with published(browser, size) as shown:
        page = shown.page
        shown.wait(lambda: page.part("hostile"), "the banner")
        banner = page.part("hostile")
        for said in ("sim-e is lying", "mean shift", "mids +200 sigma", "--hostile none", "2 min"):
            assert said in banner, said
        assert "shut out: sim-e is suspended, without a vote" in banner
        naive = re.sub(r"\s+", " ", page.part("naive"))
        assert "2.10 σ" in naive
        assert "it sees 60,120.00 USD (+20.0 bps), we see 60,000.00" in naive
        row = page.text('[data-testid="sources"] [data-row="sim-e"]')
        for said in ("0.12", "suspended", "5.30", "location of micro 45 over 8", "untrusted 2,306"):
            assert said in row, said
        assert "source not trusted: sim-e (suspended)" in page.part("status")
        assert "vacuous certificate: SOL" in page.part("status")
        assert page.page.locator('[data-testid="trust-chart"] canvas').count() > 0
        assert "naive model" in page.part("trust-chart")
        _it_fits(page)

        voting = [*shown.view["sources"][:-1], {**shown.view["sources"][-1], "votes": True}]
        shown.view |= {"sources": voting}
        shown.wait(
            lambda: "not shut out: sim-e has a vote" in page.part("hostile"), "a liar with a vote"
        )
        assert "nothing bounds what it can do to SOL" in page.part("hostile")
        assert "lies and has a vote: sim-e" in page.part("status")

        shown.view |= {"hostile": None, "naive": None}
        shown.wait(lambda: not page.part("hostile") and not page.part("naive"), "no banner")
        assert page.complaints == []


def test_the_page_of_an_older_node_has_no_certificate(browser: Any) -> None:
    with published(browser, SIZE) as shown:
        for name in ("robust", "hostile", "naive"):
            del shown.view[name]
        known = ("name", "state", "rate", "admitted", "refused", "refusals", "trust", "last")
        shown.view["sources"] = [{k: s[k] for k in known} for s in shown.view["sources"]]
        page = shown.page
        shown.wait(lambda: "does not report" in page.part("certificates"), "an empty panel")
        assert not page.part("hostile")
        assert "certificate" not in page.part("status")
        assert "–" in page.text('[data-testid="sources"] [data-row="sim-a"]')
        assert "of 5 trusted" not in page.part("sources")
        assert len(page.rows("sources")) == 5
        assert page.complaints == []


def _it_fits(page: Page) -> None:
    size = page.page.evaluate("[document.body.scrollWidth, window.innerWidth]")
    assert size[0] <= size[1], "the page is wider than the window"
