"""The dashboard in a real browser, on a real node: it lives by itself, and it looks dead when dead.

DASHBOARD_PICTURE=FILE keeps a picture of 1440 x 900, taken after DASHBOARD_MINUTES (default 0).
"""

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

    def __init__(self, browser: Any, address: str) -> None:
        self.page = browser.new_page(viewport=SIZE, color_scheme="dark")
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
