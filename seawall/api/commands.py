"""The operator's desk: commands that came over the API wait here until the node takes them."""

from collections import deque
from threading import Lock

from seawall.core.commands import Command

MOST = 64  # commands that wait


class CommandDesk:
    """A bounded queue between the API's thread and the node's; a `core.ports.Commands`.

    Attributes:
        token: what a command must carry; empty: none is taken.
    """

    def __init__(self, token: str = "", most: int = MOST) -> None:
        self.token = token
        self._lock = Lock()
        self._waiting: deque[Command] = deque(maxlen=most)
        self._most = most

    def put(self, commands: list[Command]) -> bool:
        """Add commands, all or none; False where there is no room for them."""
        with self._lock:
            if len(self._waiting) + len(commands) > self._most:
                return False
            self._waiting.extend(commands)
            return True

    def poll(self) -> list[Command]:
        """The commands that have come since the last time, in order."""
        with self._lock:
            taken = list(self._waiting)
            self._waiting.clear()
            return taken
