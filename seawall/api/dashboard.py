"""The dashboard: its address taken before anything is opened, answered once the node has spoken.

What answers takes longer to import than a node takes to start, so trading comes first.
"""

import threading
import time
from collections.abc import Mapping

from seawall.api.address import bracketed, listen
from seawall.api.board import Board
from seawall.api.commands import CommandDesk

PATIENCE = 10.0  # seconds: a node that waits for its feed is shown as it waits
POLL = 0.05


class Dashboard:
    """An address of this machine, and behind it soon the API and the page.

    A browser that comes early waits. Raises PortInUseError where the address is taken, SettingError
    where it is none of this machine's.
    """

    def __init__(
        self,
        board: Board,
        host: str,
        port: int,
        *,
        limits: Mapping[str, float],
        desk: CommandDesk,
    ) -> None:
        self._listening = listen(host, port)
        self.address = f"http://{bracketed(host)}:{self._listening.getsockname()[1]}"
        self._board = board
        self._host = host
        self._limits = limits
        self._desk = desk
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="dashboard", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        until = time.monotonic() + PATIENCE
        while self._board.latest() is None and time.monotonic() < until:
            if self._stopping.wait(POLL):
                return
        from seawall.api.server import ApiServer

        server = ApiServer(self._board, self._host, limits=self._limits, desk=self._desk)
        server.start(self._listening)
        self._stopping.wait()
        server.stop()

    def stop(self) -> None:
        """End all streams and give the address back; at most a few seconds."""
        self._stopping.set()
        self._thread.join(timeout=30)
        self._listening.close()
