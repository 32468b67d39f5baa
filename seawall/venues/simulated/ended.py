"""The client ids of orders that have ended, and where the last report of each is."""

from array import array
from collections.abc import Iterable, Mapping, Sequence


class Ended:
    """Client id → sequence of the last report.

    What checkpoints hold comes as it lies in them. Only where an id could be in one, going by the
    first and the last of its ids in alphabetical order, is that one looked through: a long past
    costs a start little, and the ids of one node, which it counts, hardly ever meet it.
    """

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._parts: list[tuple[str, str, Sequence[str], bytes]] = []

    def __len__(self) -> int:
        return len(self._known) + sum(len(names) for _, _, names, _ in self._parts)

    def __contains__(self, client_id: str) -> bool:
        return self.get(client_id) is not None

    def get(self, client_id: str) -> int | None:
        """The sequence; None: no such order has ended."""
        if self._parts and client_id not in self._known:
            self._look_through(client_id)
        return self._known.get(client_id)

    def update(self, ended: Mapping[str, int] | Iterable[tuple[str, int]]) -> None:
        """More of them."""
        self._known.update(ended)

    def keep(self, names: Sequence[str], finals: bytes) -> None:
        """Those of a checkpoint. finals: the sequence of each, 64-bit integers."""
        if names:
            self._parts.append((min(names), max(names), names, finals))

    def _look_through(self, client_id: str) -> None:
        left = []
        for part in self._parts:
            first, last, names, finals = part
            if first <= client_id <= last:
                self._known.update(zip(names, array("q", finals), strict=True))
            else:
                left.append(part)
        self._parts = left
