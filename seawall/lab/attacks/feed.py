"""Where an attack sits: between a recorded tape and its reader, or between a feed and the node."""

from collections.abc import Iterable, Iterator

from seawall.core.events import Raw, empty
from seawall.core.instruments import Catalog
from seawall.core.ports import Feed
from seawall.lab.attacks.attack import Attack


def attacked(blocks: Iterable[Raw], attack: Attack) -> Iterator[Raw]:
    """A tape under attack: the same rows however the tape is cut into blocks."""
    for block in blocks:
        made = attack.apply(block)
        if len(made):
            yield made


class HostileFeed:
    """A feed of which some sources are the attacker's.

    Attributes:
        attack: what they do.
    """

    def __init__(self, inner: Feed, attack: Attack) -> None:
        self.attack = attack
        self._inner = inner

    @property
    def catalog(self) -> Catalog:
        """Instruments, sources and books."""
        return self._inner.catalog

    def history(self, until: int) -> Raw:
        """What the inner feed looks back on, if it does; the attack's time counts from `until`."""
        look_back = getattr(self._inner, "history", None)
        self.attack.count_from(until)
        return self.attack.apply(look_back(until)) if look_back else Raw(empty(0))

    def read(self, timeout: float) -> Raw | None:
        """The next rows, attacked; none may be left of some that came; None at the end."""
        rows = self._inner.read(timeout)
        return None if rows is None else self.attack.apply(rows)

    def close(self) -> None:
        """End the feed."""
        self._inner.close()
