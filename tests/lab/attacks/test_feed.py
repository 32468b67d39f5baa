"""A hostile feed tells live what an attacked tape holds; its history is honest."""

import numpy as np

from seawall.core.clock import SECOND, TapeClock
from seawall.core.events import Raw
from seawall.core.instruments import Catalog
from seawall.ingestion.simulated import SimulatedFeed, SimulatedMarket
from seawall.lab.attacks import HostileFeed, attack_of, attacked
from tests.lab.attacks.markets import LIVELY, START, market


class Blocks:
    """A feed of given blocks, then its end."""

    def __init__(self, catalog: Catalog, blocks: list[Raw]) -> None:
        self.catalog = catalog
        self.closed = False
        self._left = iter(blocks)

    def read(self, timeout: float) -> Raw | None:
        return next(self._left, None)

    def close(self) -> None:
        self.closed = True


def test_the_feed_tells_what_the_attacked_tape_holds() -> None:
    catalog, rows = market()
    words = {"after": "3", "duration": "4"}
    blocks = [Raw(piece) for piece in np.array_split(rows, 97)]
    inner = Blocks(catalog, [blocks[0], Raw(rows[:0]), *blocks[1:]])
    feed = HostileFeed(inner, attack_of("mean_shift", catalog, words))
    assert feed.catalog is catalog
    heard = []
    while (some := feed.read(0.0)) is not None:
        heard.append(some)
    feed.close()
    assert inner.closed
    (whole,) = attacked([rows], attack_of("mean_shift", catalog, words))
    assert np.concatenate(heard).tobytes() == whole.tobytes()
    assert len(feed.history(0)) == 0


def test_blocks_that_vanish_are_not_handed_on() -> None:
    catalog, rows = market()
    names = ",".join(source.name for source in catalog.sources)
    attack = attack_of("silence", catalog, {"after": "0", "sources": names})
    assert list(attacked([rows, rows[:0]], attack)) == []


def test_history_is_honest_and_time_counts_from_its_end() -> None:
    clock = TapeClock(START + 8 * SECOND)
    honest = SimulatedMarket(5, START, LIVELY).record(8 * SECOND)
    market_of_feed = SimulatedMarket(5, START, LIVELY)
    inner = SimulatedFeed(market_of_feed, clock)
    attack = attack_of("silence", inner.catalog, {"after": "2", "duration": "0"})
    feed = HostileFeed(inner, attack)
    assert feed.history(clock.now()).tobytes() == honest.tobytes()
    assert attack.start == START + 10 * SECOND
    rest = np.concatenate([market_of_feed.record(4 * SECOND)])
    late = attack.apply(Raw(rest))
    mine = late[late["source"] == 4]["recv_ts"]
    assert len(mine)
    assert mine.max() < START + 10 * SECOND
