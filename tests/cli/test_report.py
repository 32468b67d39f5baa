"""`seawall report` and `seawall backtest --report`: one file, and what a browser makes of it."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import polars as pl
import pytest

from seawall.core.clock import SECOND
from seawall.ingestion.simulated import SimulatedMarket
from seawall.ingestion.tape import write_tape
from seawall.lab.tearsheet import page
from tests.cli.processes import LIVELY, Shell, assert_one_line
from tests.lab.test_tearsheet import CASES

CHROMIUM = ("/usr/bin/chromium", "chromium", "chromium-browser", "google-chrome")
DESK, PHONE = {"width": 1200, "height": 900}, {"width": 390, "height": 844}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Shell:
    """A folder with a tape, the journal of its backtest, and its tear sheet."""
    folder = tmp_path_factory.mktemp("report")
    market = SimulatedMarket(7, 1_700_000_000 * SECOND)
    write_tape(folder / "tape", market.catalog, market.record(90 * SECOND))
    (folder / "seawall.toml").write_text(LIVELY)
    shell = Shell(folder)
    ended = shell("backtest", "tape", "--journal", "run.journal", "--report", "first.html")
    assert (ended.code, ended.err) == (0, "")
    return shell


def test_the_same_page_from_the_journal(made: Shell) -> None:
    """With the settings that the journal has, whatever stands in the file now."""
    text = (made.folder / "seawall.toml").read_text()
    (made.folder / "seawall.toml").write_text("[feed]\ncadence_ms = 250\n")
    ended = made("report", "run.journal", "--tape", "tape", "--out", "second.html")
    (made.folder / "seawall.toml").write_text(text)
    assert (ended.code, ended.err, ended.out) == (0, "", "written: second.html\n")
    first, second = (made.folder / name for name in ("first.html", "second.html"))
    assert first.read_bytes() == second.read_bytes()


def test_a_surface_of_a_search(made: Shell) -> None:
    table = pl.DataFrame(
        {
            "fast": [5, 5, 10, 10, 5],
            "slow": [20.0, 40.0, 20.0, 40.0, 20.0],
            "sharpe": [1.0, 0.5, 0.25, None, 1.5],
        }
    )
    table.write_csv(made.folder / "sets.csv")
    arguments = ("report", "run.journal", "--tape", "tape", "--out", "surface.html")
    assert made(*arguments, "--search", "sets.csv").code == 0
    text = (made.folder / "surface.html").read_text()
    assert "The best: 1.5 at fast 5, slow 20." in text
    table.drop("slow").write_csv(made.folder / "sets.csv")
    ended = made(*arguments, "--search", "sets.csv")
    assert_one_line(ended, 3, "sets.csv", "two parameters")
    assert_one_line(made(*arguments, "--search", "seawall.toml"), 3, ".csv, .parquet or .json")


def test_what_is_missing_is_said(made: Shell) -> None:
    ended = made("report", "run.journal", "--out", "x.html")
    assert_one_line(ended, 2, "run.journal is a journal", "--tape")
    ended = made("report", "run.journal", "--tape", "tape", "--out", "nowhere/x.html")
    assert_one_line(ended, 5, "nowhere/x.html", "folder that exists")
    ended = made("backtest", "tape", "--report", "nowhere/x.html")
    assert_one_line(ended, 5, "nowhere/x.html")
    assert_one_line(made("report", "no", "--tape", "tape", "--out", "x.html"), 5, "no such file")


# --- in a browser ---


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A browser that is on this machine anyway."""
    found = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if found is None:
        pytest.skip("no Chromium or Chrome here: the page is not looked at")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=found, args=["--no-sandbox", "--disable-gpu"]
        )
        yield started
        started.close()


class Seen:
    """A page in a browser without a network, and what it complained of."""

    def __init__(self, browser: Any, path: Path, size: dict[str, int]) -> None:
        self.page = browser.new_page(viewport=size)
        self.page.context.set_offline(True)
        self.wrong: list[str] = []
        self.page.on("console", lambda message: self.wrong.append(message.text))
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("requestfailed", lambda request: self.wrong.append(request.url))
        self.page.goto(path.as_uri())

    @property
    def overflow(self) -> int:
        """Pixels that the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))

    def painted(self) -> int:
        """Colours on the charts."""
        script = """() => { const c = document.getElementById("charts");
            const d = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
            const seen = new Set();
            for (let i = 0; i < d.length; i += 4) seen.add((d[i] << 16) | (d[i+1] << 8) | d[i+2]);
            return seen.size; }"""
        return int(self.page.evaluate(script))


@pytest.mark.browser
@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
def test_it_follows_the_pointer(made: Shell, browser: Any, size: dict[str, int]) -> None:
    seen = Seen(browser, made.folder / "first.html", size)
    page = seen.page
    assert seen.overflow == 0
    assert seen.painted() > 8
    charts, readout = page.locator("#charts"), page.locator("#readout")
    assert readout.inner_text().startswith("drag to zoom")
    page.evaluate("document.getElementById('charts').scrollIntoView()")
    box = charts.bounding_box()
    wide = box["width"]
    page.mouse.move(box["x"] + 0.5 * wide, box["y"] + 330)
    page.wait_for_function("document.getElementById('readout').textContent.includes('Equity')")
    assert "UTC" in readout.inner_text()
    page.mouse.move(box["x"] + 0.4 * wide, box["y"] + 330)
    page.mouse.down()
    page.mouse.move(box["x"] + 0.7 * wide, box["y"] + 330, steps=4)
    page.mouse.up()
    page.locator("#all").wait_for(state="visible")
    page.locator("#all").click()
    page.locator("#all").wait_for(state="hidden")
    rows = page.locator("tr[data-trip]")
    assert rows.count() > 1
    first = rows.nth(0).inner_text()
    page.locator("th[data-key='1']").click()
    assert rows.nth(0).inner_text() != first or rows.count() == 1
    rows.nth(0).click()
    page.locator("#all").wait_for(state="visible")
    assert seen.wrong == []


@pytest.mark.browser
@pytest.mark.parametrize("case", CASES)
def test_whatever_the_run_was_like(case: str, browser: Any, tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text(page(CASES[case]))
    seen = Seen(browser, tmp_path / "page.html", PHONE)
    seen.page.locator("#charts").hover(position={"x": 200, "y": 60})
    assert seen.overflow == 0
    seen.page.set_viewport_size(DESK)
    seen.page.emulate_media(media="print", color_scheme="dark")
    assert seen.page.pdf().startswith(b"%PDF")
    assert seen.overflow == 0
    assert seen.wrong == []


def test_the_costs_of_parent_orders(made: Shell) -> None:
    ended = made("report", "run.journal", "--tape", "tape", "--tca")
    assert (ended.code, ended.err) == (0, "")
    assert "  shortfall" in ended.out
    assert "    opportunity" in ended.out
    ended = made("report", "run.journal", "--tape", "tape", "--tca", "--json")
    told = msgspec.json.decode(ended.out)
    assert set(told) == {"parents", "totals"}
    for arguments in ((), ("--out", "x.html", "--tca"), ("--out", "x.html", "--json")):
        ended = made("report", "run.journal", "--tape", "tape", *arguments)
        assert "--tca" in assert_one_line(ended, 2)
