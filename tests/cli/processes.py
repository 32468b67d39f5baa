"""Real processes of `python -m seawall`, cut off from every machine but this one.

The cut is an audit hook in the process itself: whoever looks up or connects to another host gets
the error of a machine without a network, and is written down. So no test can reach an exchange.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).parents[2]
DOCUMENTED = ("MAX_LEVERAGE", "MAX_POSITION_SIZE", "CB_")
PATIENCE = 120.0  # seconds; no test needs them on an idle machine
LIVELY = """
[decision]
trend_fast_s = 5
trend_slow_s = 20
order_flow_halflife_s = 5
deadband = 0.2
minimum_hold_s = 3

[estimation]
halflife_s = 10
volatility_halflife_s = 10

[risk]
volatility_threshold = 10.0
"""  # settings that trade within seconds
OFFLINE = """
import errno, os, socket, sys

LOCAL = ("127.", "::1", "localhost", "0.0.0.0")
FILE = os.environ["NETWORK_ASKED"]


def refuse(event, arguments):
    if event == "socket.getaddrinfo":
        host, error = arguments[0], socket.gaierror(socket.EAI_AGAIN, "no network in this test")
    elif event in ("socket.connect", "socket.sendto") and isinstance(arguments[1], tuple):
        host, error = arguments[1][0], OSError(errno.ENETUNREACH, "no network in this test")
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    if host and not str(host).startswith(LOCAL):
        with open(FILE, "a") as file:
            file.write(f"{host}\\n")
        raise error


sys.addaudithook(refuse)
"""


@dataclass(frozen=True)
class Ended:
    """How a process ended, and what it said."""

    code: int
    out: str
    err: str
    seconds: float

    @property
    def json(self) -> Any:
        """What was printed for another program."""
        return json.loads(self.out)


@dataclass
class Shell:
    """A folder to work in, from which `seawall` is started as a user would.

    Attributes:
        folder: the working folder; settings, tapes and data lie here.
        environment: variables beside the machine's own.
    """

    folder: Path
    environment: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._site = self.folder / ".offline"
        self._site.mkdir()
        (self._site / "sitecustomize.py").write_text(OFFLINE)

    def start(
        self,
        *arguments: object,
        python: str = sys.executable,
        before: Callable[[], None] | None = None,
        stdin: str = "",
        **environment: str,
    ) -> "Running":
        """A process that goes on by itself. `before`: called in it before it becomes `seawall`."""
        command = [python, "-m", "seawall", *map(str, arguments)]
        return Running(self, command, environment, before, stdin)

    def __call__(self, *arguments: object, **options: Any) -> Ended:
        """Run to the end."""
        with self.start(*arguments, **options) as process:
            return process.end()

    def variables(self, given: dict[str, str]) -> dict[str, str]:
        """The machine's environment without settings and proxies, cut off from the network."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("SEAWALL_", "COV_", *DOCUMENTED))
            and not name.lower().endswith("_proxy")
        }
        kept |= {
            "PYTHONPATH": os.pathsep.join([str(self._site), str(ROOT)]),
            "NETWORK_ASKED": str(self._site / "asked"),
            "COLUMNS": "80",
        }
        return kept | self.environment | given

    @property
    def hosts_asked(self) -> list[str]:
        """Other hosts that a process tried to reach."""
        file = self._site / "asked"
        return file.read_text().split() if file.exists() else []

    def files(self) -> dict[str, bytes]:
        """Every file here, with what is in it; folders as well, empty."""
        return {
            str(path.relative_to(self.folder)): path.read_bytes() if path.is_file() else b""
            for path in sorted(self.folder.rglob("*"))
            if self._site not in (path, *path.parents)
        }


class Running:
    """A process under way; it is killed where a test leaves it behind."""

    _count = 0

    def __init__(
        self,
        shell: Shell,
        command: list[str],
        environment: dict[str, str],
        before: Callable[[], None] | None,
        stdin: str = "",
    ) -> None:
        Running._count += 1
        self._out = shell.folder / ".offline" / f"{Running._count}.out"
        self._err = self._out.with_suffix(".err")
        self._began = time.monotonic()
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command,
                cwd=shell.folder,
                stdin=subprocess.PIPE if stdin else subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=shell.variables(environment),
                preexec_fn=before,  # noqa: PLW1509 - no thread of ours runs yet
            )
        if self.process.stdin is not None:
            self.process.stdin.write(stdin.encode())
            self.process.stdin.close()

    @property
    def out(self) -> str:
        """Stdout so far."""
        return self._out.read_text()

    @property
    def err(self) -> str:
        """Stderr so far."""
        return self._err.read_text()

    def said(self, text: str, patience: float = PATIENCE) -> None:
        """Wait until it has said this on stdout or stderr."""
        self.until(lambda: text in self.out + self.err, f"saying {text!r}", patience)

    def until(self, condition: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
        """Wait for a condition; it fails where the process ends before, or time is over."""

        def met() -> bool:
            alive = self.process.poll() is None
            if condition():
                return True
            assert alive, f"ended ({self.process.returncode}) without {what}: {self.out}{self.err}"
            return False

        until(met, what, patience)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    def end(self, patience: float = PATIENCE) -> Ended:
        """Wait until it ends by itself."""
        code = self.process.wait(patience)
        return Ended(code, self.out, self.err, time.monotonic() - self._began)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(PATIENCE)


def until(condition: Callable[[], bool], what: str, patience: float = PATIENCE) -> None:
    """Wait for a condition, looking twenty times a second."""
    for _ in looks(patience):
        if condition():
            return
    raise AssertionError(f"{what}: not within {patience:g} s")


def looks(patience: float) -> Iterator[None]:
    """One look after the other until the time is over, and one more."""
    end = time.monotonic() + patience
    while time.monotonic() < end:
        yield
        time.sleep(0.05)
    yield


def assert_one_line(ended: Ended, code: int, *words: str) -> str:
    """The promise of every error: a documented exit code and one line that a user can act on."""
    assert ended.code == code, f"{ended.code}: {ended.out}{ended.err}"
    assert ended.err.startswith("seawall: "), ended.err
    assert ended.err.count("\n") == 1, ended.err
    assert ended.err.endswith("\n")
    for word in words:
        assert word in ended.err, f"{word!r} is not in: {ended.err}"
    for word in ("Traceback", "internal error", "Errno", "Error("):
        assert word not in ended.err + ended.out, ended.err + ended.out
    return ended.err
