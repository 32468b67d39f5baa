"""The command line: one line per error, a documented exit code, and a node that is stopped."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from msgspec import structs

import seawall.node
from seawall import __version__
from seawall.cli import EXIT_CODES, doctor, main
from seawall.cli.backtest import rows
from seawall.core import errors
from seawall.core.settings import Settings
from seawall.ingestion.merging import FOREVER
from seawall.node.summary import Summary

DAY = 86_400_000_000_000
ROOT = Path(seawall.node.__file__).parents[2]


SUMMARY = Summary(
    run="r1",
    mode="paper",
    started=19_943 * DAY,
    ended=19_944 * DAY + DAY // 2,
    rows=3_000_000,
    frames=86_400,
    intents=12,
    orders=9,
    fills=8,
    refused={},
    equity_start=100_000.0,
    equity_end=100_500.5,
    realised=510.0,
    fees=9.5,
    max_drawdown=0.0123,
    numeraire="USD",
    journal_rows=99,
    journal_hash="ab" * 32,
    open_orders=(),
    breakers=(),
    notes=(),
    positions={},
)


class FakeNode:
    """Runs until it is stopped, and keeps why."""

    def __init__(self, while_running: Callable[[], None]) -> None:
        self.stopped: list[tuple[str, bool]] = []
        self._while_running = while_running
        self._stop = threading.Event()

    def stop(self, reason: str, flatten: bool = False) -> None:
        self.stopped.append((reason, flatten))
        self._stop.set()

    def run(self) -> Summary:
        self._while_running()
        assert self._stop.wait(10)
        held = {"BTC/USDT@sim": "0.5 BTC"}
        return structs.replace(SUMMARY, positions=held, open_orders=("a1 buy 1 BTC",))


class FakeAssembly(types.ModuleType):
    """Stands where the node is put together; keeps what it was asked for."""

    def __init__(self) -> None:
        super().__init__("seawall.node.assembly")
        self.settings = Settings()
        self.node = FakeNode(lambda: None)
        self.summary = SUMMARY
        self.trouble: BaseException | None = None
        self.asked: list[Any] = []
        self.span: tuple[int, ...] = ()
        self.while_running: Callable[[], None] = lambda: None

    def paper(
        self,
        settings: Settings,
        publisher: Any,
        say: Callable[[str], None],
        releases: Any = (),
        commands: Any = None,
    ) -> FakeNode:
        self.settings = settings
        if self.trouble:
            raise self.trouble
        publisher.publish("view", {"status": "trading"})
        say("feed: simulated, because no exchange answers")
        self.node = FakeNode(self.while_running)
        return self.node

    def backtest(
        self, settings: Settings, tape: Path, journal: Path | None, progress: Any, *span: int
    ) -> Summary:
        self.settings = settings
        self.asked = [tape, journal]
        self.span = span
        if self.trouble:
            raise self.trouble
        progress(1, 2)
        return self.summary


@pytest.fixture
def assembly(monkeypatch: pytest.MonkeyPatch) -> FakeAssembly:
    fake = FakeAssembly()
    monkeypatch.setitem(sys.modules, "seawall.node.assembly", fake)
    monkeypatch.setattr(seawall.node, "assembly", fake, raising=False)
    return fake


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An empty folder, none of the developer's settings, and signal handlers put back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("seawall.cli.console._folder", Path("seawall-data"))
    monkeypatch.setenv("COLUMNS", "80")
    for name in os.environ:
        if name.startswith("SEAWALL_") or name == "MAX_LEVERAGE":
            monkeypatch.delenv(name)
    before = signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)
    yield
    assert (signal.getsignal(signal.SIGINT), signal.getsignal(signal.SIGTERM)) == before


class Said:
    """What a command said and how it left."""

    def __init__(self, capsys: pytest.CaptureFixture[str]) -> None:
        self._capsys = capsys

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as left:
            main(arguments)
        out, err = self._capsys.readouterr()
        assert isinstance(left.value.code, int)
        return left.value.code, out, err


@pytest.fixture
def command(capsys: pytest.CaptureFixture[str]) -> Said:
    return Said(capsys)


def python(*arguments: str, stdout: int = subprocess.PIPE) -> subprocess.CompletedProcess[str]:
    """A process of its own, as a shell starts it."""
    return subprocess.run(
        [sys.executable, *arguments],
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )


def assert_one_line(err: str) -> str:
    assert err.startswith("seawall: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err.removeprefix("seawall: ").rstrip("\n")


# -- help ---------------------------------------------------------------------------------------


def test_help_names_the_verbs_and_the_exit_codes(command: Said) -> None:
    code, out, _ = command("--help")
    assert code == 0
    for verb in ("run", "backtest", "data", "doctor"):
        assert re.search(rf"^  {verb} ", out, re.MULTILINE)
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    for exit_code in {*(kind.exit_code for kind in kinds), 0, 70, 130}:
        assert re.search(rf"^ +{exit_code}  \w", EXIT_CODES, re.MULTILINE)
    assert max(map(len, out.splitlines())) <= 80


@pytest.mark.parametrize("verb", ["run", "backtest", "doctor"])
def test_each_verb_shows_examples_that_its_options_know(command: Said, verb: str) -> None:
    code, out, _ = command(verb, "--help")
    assert code == 0
    examples = [line for line in out.splitlines() if line.startswith(f"    seawall {verb}")]
    assert len(examples) >= 2
    known = set(re.findall(r"^  (?:-h, )?(--[a-z-]+)", out, re.MULTILINE))
    assert {word for line in examples for word in line.split() if word.startswith("--")} <= known
    assert max(map(len, out.splitlines())) <= 80


def test_version_and_no_verb(command: Said) -> None:
    assert command("--version") == (0, f"seawall {__version__}\n", "")
    for group in ((), ("data",)):
        code, out, err = command(*group)
        assert (code, err) == (2, "")
        assert out.startswith("Usage: seawall")


def test_help_loads_nothing_heavy() -> None:
    heavy = "{'numba', 'fastapi', 'polars', 'pydantic', 'ccxt', 'rich'}"
    program = (
        "import sys\nfrom seawall.cli import main\n"
        "try:\n    main(['--help'])\nexcept SystemExit:\n    pass\n"
        f"sys.exit(','.join({heavy} & set(sys.modules)) or 0)"
    )
    assert python("-c", program).stderr == ""


def test_python_m_seawall_is_the_same() -> None:
    assert python("-m", "seawall", "--version").stdout == f"seawall {__version__}\n"


# -- errors -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("bogus", "No such command 'bogus' (try: seawall --help)"),
        ("run --bogus", "No such option: --bogus (try: seawall run --help)"),
        ("backtest", "Missing argument 'TAPE' (try: seawall backtest --help)"),
        ("run --duration soon", "Invalid value for '--duration'"),
        ("run --duration nan", "--duration is nan, allowed is 0 to 31,536,000 seconds"),
        ("run --feed maybe", "--feed is 'maybe', allowed is auto, live, simulated or replay"),
        ("run --feed replay", "--feed: replay needs the folder of a tape"),
        ("run --feed live --tape x", "--tape is for --feed replay, not for --feed live"),
        ("run --profile wild", "--profile is 'wild', allowed is conservative, balanced or"),
        ("run --port 99999", "--port is '99999', allowed is a whole number from 0 to 65,535"),
        ("run --venue-url http://x", "--venue-url is 'http://x', allowed is"),
        ("run --config nope.toml", "nope.toml: there is no such file"),
        ("backtest x --cadence-ms 1", "--cadence-ms is '1', allowed is a whole number from 10"),
    ],
)
def test_a_wrong_command_line(command: Said, arguments: str, expected: str) -> None:
    code, out, err = command(*arguments.split())
    assert (code, out) == (2, "")
    assert assert_one_line(err).startswith(expected)


def test_a_wrong_variable(command: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAX_LEVERAGE", "abc")
    code, _, err = command("run")
    assert code == 2
    assert assert_one_line(err) == "environment MAX_LEVERAGE is 'abc', allowed is 0.1 to 2.0"


def test_a_tape_that_is_not_there(command: Said) -> None:
    code, _, err = command("backtest", "nope")
    assert code == 3
    assert assert_one_line(err).startswith("nope: there is no such tape; `seawall data import`")


@pytest.mark.parametrize("kind", [errors.FeedError, errors.StoreError, errors.InvariantError])
def test_errors_for_the_user_are_one_line_with_their_code(
    command: Said, assembly: FakeAssembly, kind: type[errors.SeawallError]
) -> None:
    assembly.trouble = kind("no exchange answers:\n  binance\n  kraken")
    code, _, err = command("run", "--no-dashboard")
    assert code == kind.exit_code
    assert assert_one_line(err) == "no exchange answers: binance kraken"
    assert not Path("seawall-data").exists()


def test_a_defect_is_one_line_and_a_file(command: Said, assembly: FakeAssembly) -> None:
    assembly.trouble = ZeroDivisionError("boom")
    code, _, err = command("run", "--no-dashboard", "--data-dir", "here")
    assert code == 70
    said = assert_one_line(err)
    assert said == "internal error: ZeroDivisionError: boom; details in here/crash.log"
    log = Path("here/crash.log").read_text()
    assert log.startswith("20")
    assert "Traceback" in log
    assert "ZeroDivisionError: boom" in log


def test_a_defect_where_nothing_can_be_written(command: Said, assembly: FakeAssembly) -> None:
    Path("here").write_text("in the way")
    assembly.trouble = ZeroDivisionError("boom")
    code, _, err = command("run", "--no-dashboard", "--data-dir", "here")
    assert code == 70
    assert assert_one_line(err).endswith("details could not be written to here/crash.log")


def test_an_interruption_while_starting(command: Said, assembly: FakeAssembly) -> None:
    assembly.trouble = KeyboardInterrupt()
    assert command("run", "--no-dashboard")[0] == 130


def test_a_port_in_use_is_found_before_anything_is_opened(
    command: Said, assembly: FakeAssembly
) -> None:
    assembly.trouble = AssertionError("opened")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, out, err = command("run", "--port", str(port))
    assert (code, out) == (6, "")
    assert assert_one_line(err).startswith(f"127.0.0.1:{port} is taken by another program")


def test_whoever_reads_us_may_leave() -> None:
    read, write = os.pipe()
    os.close(read)
    done = python("-m", "seawall", "doctor", "--json", stdout=write)
    os.close(write)
    assert (done.returncode, done.stderr) == (141, "")


# -- run ----------------------------------------------------------------------------------------


def test_run_hands_its_flags_on(command: Said, assembly: FakeAssembly) -> None:
    Path("my.toml").write_text("profile = 'aggressive'\n[api]\nhost = 'localhost'\n")
    code, _, _ = command(
        *[
            "run",
            "--config",
            "my.toml",
            "--tape",
            "t",
            "--speed",
            "10",
            "--profile",
            "conservative",
            "--port",
            "0",
        ],
        *[
            "--data-dir",
            "d",
            "--seed",
            "7",
            "--venue-url",
            "unix:/v",
            "--no-dashboard",
            "--duration",
            "0",
        ],
    )
    assert code == 0
    settings = assembly.settings
    assert (settings.mode, settings.profile, settings.seed) == ("paper", "conservative", 7)
    assert (settings.feed.name, settings.feed.tape, settings.feed.speed) == (
        "replay",
        Path("t"),
        10,
    )
    assert (settings.api.host, settings.api.port) == ("localhost", 0)
    assert (settings.data_dir, settings.venue.url) == (Path("d"), "unix:/v")
    assert settings.risk.max_leverage == 1.0


def test_run_shows_the_dashboard_and_then_what_came_of_it(
    command: Said, assembly: FakeAssembly, capsys: pytest.CaptureFixture[str]
) -> None:
    def look() -> None:
        said = capsys.readouterr().out
        seen.append(said)
        address = said.split()[1]
        answer = httpx.get(f"{address}/api/health", trust_env=False)
        assert answer.json()["status"] == "trading"

    seen: list[str] = []
    assembly.while_running = look
    code, out, _ = command("run", "--port", "0", "--duration", "0")
    assert code == 0
    assert re.match(r"dashboard: http://127\.0\.0\.1:\d+\nfeed: simulated", seen[0])
    assert assembly.node.stopped == [("0 s are over", False)]
    assert "equity        100,500.50 USD (+500.50 USD), largest drawdown 1.23%" in out
    assert "realised      +510.00 USD, fees 9.50 USD" in out
    assert "still held    BTC/USDT@sim 0.5 BTC" in out
    assert "stays open    a1 buy 1 BTC" in out


def test_run_as_json(command: Said, assembly: FakeAssembly) -> None:
    code, out, err = command("run", "--port", "0", "--duration", "0", "--json")
    assert code == 0
    assert json.loads(out)["equity_end"] == 100_500.5
    assert err.startswith("dashboard: http://")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_stops_the_node_in_order(
    command: Said, assembly: FakeAssembly, number: signal.Signals
) -> None:
    assembly.while_running = lambda: signal.raise_signal(number)
    code, out, _ = command("run", "--no-dashboard", "--flatten")
    assert code == 0
    assert assembly.node.stopped == [(number.name, True)]
    assert "stopped: 2024-08-09 12:00:00 UTC, run r1" in out


def test_a_second_signal_leaves_at_once(command: Said, assembly: FakeAssembly) -> None:
    def twice() -> None:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    assembly.while_running = twice
    assert command("run", "--no-dashboard")[0] == 130
    assert assembly.node.stopped == [("SIGINT", False)]


def test_a_defect_in_the_node_frees_the_port(command: Said, assembly: FakeAssembly) -> None:
    def fail() -> None:
        raise RuntimeError("boom")

    assembly.while_running = fail
    code, out, err = command("run", "--port", "0")
    assert code == 70
    assert_one_line(err)
    port = int(re.search(r":(\d+)\n", out).group(1))  # type: ignore[union-attr]
    socket.create_server(("127.0.0.1", port)).close()


# -- backtest -----------------------------------------------------------------------------------


def test_backtest_hands_its_flags_on(command: Said, assembly: FakeAssembly) -> None:
    Path("t").mkdir()
    line = (
        "backtest t --profile conservative --seed 7 --cadence-ms 100 --numeraire USDT --journal j"
    )
    code, _, _ = command(*line.split())
    assert code == 0
    settings = assembly.settings
    assert (settings.mode, settings.profile, settings.seed) == ("backtest", "conservative", 7)
    assert (settings.feed.name, settings.feed.tape, settings.feed.speed) == (
        "replay",
        Path("t"),
        None,
    )
    assert (settings.feed.cadence_ms, settings.numeraire) == (100, "USDT")
    assert assembly.asked == [Path("t"), Path("j")]
    assert assembly.span == (-FOREVER, FOREVER)
    line = (
        "backtest t --risk-profile aggressive --strategy trend --param fast=2 --param slow=9 "
        "--symbol A@v --symbol B@v --start 1970-01-02 --end 1970-01-03 --capital 5000"
    )
    assert command(*line.split())[0] == 0
    settings = assembly.settings
    assert (settings.profile, settings.capital) == ("aggressive", 5000)
    assert settings.decision.strategy == "trend"
    assert settings.decision.parameters == ("fast=2", "slow=9")
    assert settings.decision.instruments == ("A@v", "B@v")
    assert assembly.span == (DAY, 2 * DAY)


def test_backtest_prints_what_a_quant_wants_first(command: Said, assembly: FakeAssembly) -> None:
    Path("t").mkdir()
    assembly.summary = structs.replace(
        SUMMARY,
        refused={"stale": 1_200, "price band": 3},
        notes=("gap of 243 days from 2023-01-01", "receive clock 1.27 s behind"),
        breakers=("drawdown opened 2024-08-08 01:00:00 UTC",),
    )
    code, out, err = command("backtest", "t")
    assert (code, err) == (0, "")
    said = {line[:14].rstrip(): line[16:].rstrip() for line in out.splitlines() if line[0] != " "}
    assert said["span"] == "2024-08-08 00:00:00 UTC to 2024-08-09 12:00:00 UTC"
    assert "1 day 12 hours" in out
    assert said["PnL after fees"] == "+500.50 USD (+0.50%)"
    assert said["max drawdown"] == "1.23%"
    assert said["refusals"] == "1,200 stale"
    assert said["breakers"].startswith("drawdown opened")
    assert said["open orders"] == "none"
    assert "receive clock 1.27 s behind" in out
    assert "ab" * 32 in out  # whole, so that it can be copied
    assert max(map(len, out.splitlines())) <= 80


def test_backtest_shows_progress_on_a_terminal_and_nowhere_else(
    command: Said, assembly: FakeAssembly, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("t").mkdir()
    assert command("backtest", "t", "--json")[2] == ""
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")
    code, out, err = command("backtest", "t", "--json")
    assert code == 0
    assert json.loads(out)["fills"] == 8
    assert "backtest" in err
    assert "1 of 2 rows" in err


def test_backtest_speed_is_rows_over_seconds() -> None:
    shown = dict(rows(SUMMARY, 1.5))
    assert shown["rows"] == "3,000,000 in 1.5 s: 2,000,000 rows/s"


def test_backtest_as_json(command: Said, assembly: FakeAssembly) -> None:
    Path("t").mkdir()
    code, out, _ = command("backtest", "t", "--json")
    result = json.loads(out)
    assert code == 0
    assert result["journal_hash"] == "ab" * 32
    assert result["seconds"] >= 0
    assert result["rows_per_s"] > 0


# -- doctor -------------------------------------------------------------------------------------


def test_doctor_checks_what_a_run_needs(command: Said) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        Path("seawall.toml").write_text(f"[api]\nport = {taken.getsockname()[1]}\n")
        code, out, _ = command("doctor", "--json")
    checks = {check["name"]: check for check in json.loads(out)}
    assert code == 0
    assert list(checks) == [
        "Python", "libraries", "processors", "clock", "settings", "data folder", "disk", "port",
        "dashboard", "kernels",
    ]  # fmt: skip
    assert checks["Python"]["state"] == "ok"
    assert checks["data folder"] == {
        "name": "data folder",
        "state": "ok",
        "found": "seawall-data (made on first use)",
        "todo": "",
    }
    assert checks["port"]["state"] == "warn"
    assert list(Path().iterdir()) == [Path("seawall.toml")]


def test_doctor_fails_with_one_and_says_what_to_do(command: Said) -> None:
    Path("seawall.toml").write_text("seed = -1")
    code, out, err = command("doctor")
    assert (code, err) == (1, "")
    assert re.search(r"^fail +settings +seawall\.toml: seed is -1, allowed is", out, re.MULTILINE)
    assert "→ correct it" in out
    assert max(map(len, out.splitlines())) <= 80


def test_doctor_compiles_kernels(command: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    def compile_kernels(say: Callable[[str], None], trading_only: bool) -> None:
        say(f"compiled {1 if trading_only else 3} kernels")

    monkeypatch.setattr("seawall.node.rehearsal.compile_kernels", compile_kernels)
    assert "compiled 3 kernels\n" in command("doctor", "--compile")[1]
    assert "compiled 1 kernels\n" in command("doctor", "--compile", "--trading-only")[1]


def test_each_check_can_fail(tmp_path: Path) -> None:
    assert doctor.python((3, 10, 1)).state == "fail"
    assert doctor.python((3, 14, 0)).state == "fail"
    assert doctor.libraries(("numpy", "no_such_library")).found == "missing: no_such_library"
    assert doctor.processors(1).state == "warn"
    assert doctor.clock(0, 3 * DAY).state == "fail"
    assert doctor.disk(tmp_path, doctor.GIB).state == "warn"
    assert doctor.disk(tmp_path, 1_000).state == "fail"
    assert doctor.dashboard(tmp_path).state == "warn"
    (tmp_path / "index.html").touch()
    assert doctor.dashboard(tmp_path).state == "ok"


def test_a_data_folder_that_cannot_be_written(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    check = doctor.folder(Path("d"))
    assert (check.state, check.found) == ("fail", "d: Permission denied")
    assert "--data-dir" in check.todo


def test_a_data_folder_that_is_a_file() -> None:
    Path("d").touch()
    assert doctor.folder(Path("d")).state == "fail"


def test_kernels_are_compiled_when_their_cache_is_newer(tmp_path: Path) -> None:
    (tmp_path / "kernels.py").write_text("@njit(cache=True)\ndef f(): ...\n")
    (tmp_path / "plain.py").write_text("def f(): ...\n")
    (tmp_path / "template.py").write_text("TEXT = '''\n@njit(cache=True)\ndef f(): ...\n'''\n")
    assert doctor.kernels(tmp_path).state == "warn"
    cache = tmp_path / "__pycache__"
    cache.mkdir()
    version = f"py{sys.version_info[0]}{sys.version_info[1]}"
    index = cache / f"kernels.f-1.{version}.nbi"
    index.touch()
    os.utime(index, ns=(0, 0))
    assert doctor.kernels(tmp_path).state == "warn"
    os.utime(index)
    assert doctor.kernels(tmp_path).found == "1 files compiled"
    (tmp_path / "lab").mkdir()
    (tmp_path / "lab" / "kernels.py").write_text("@njit(cache=True)\ndef f(): ...\n")
    assert doctor.kernels(tmp_path).state == "ok"
    assert "research at their first use" in doctor.kernels(tmp_path).found
