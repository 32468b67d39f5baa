"""Which market a run listens to, and what it says about it."""

import socket

import pytest

from seawall.core.clock import SECOND, SystemClock, TapeClock
from seawall.core.errors import FeedError
from seawall.core.ports import Feed
from seawall.ingestion.choice import choose
from seawall.ingestion.live import LiveFeed
from seawall.ingestion.simulated import SimulatedFeed, SimulatedMarket
from tests.ingestion.exchange_server import ExchangeServer

pytestmark = pytest.mark.filterwarnings("ignore:enable_cleanup_closed:DeprecationWarning")


def simulated() -> Feed:
    return SimulatedFeed(SimulatedMarket(1, SECOND), TapeClock(SECOND))


def refused(timeout: float) -> Feed:
    raise AssertionError("nobody asked for the live feed")


def live_at(base: str, timeout: float) -> Feed:
    urls = {"rest": f"http://{base}", "ws": f"ws://{base}"}
    entry = {"name": "binance", "urls": urls}
    return LiveFeed([entry], ["BTC/USDT"], SystemClock(), timeout=timeout)


def nobody() -> str:
    """An address where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return f"127.0.0.1:{taken.getsockname()[1]}"


def test_simulated_asks_no_exchange() -> None:
    feed, line = choose("simulated", refused, simulated)
    assert isinstance(feed, SimulatedFeed)
    assert line == "simulated market: chosen by --feed simulated"


def test_auto_is_live_where_an_exchange_answers() -> None:
    server = ExchangeServer()
    base = f"127.0.0.1:{server.port}"
    try:
        feed, line = choose("auto", lambda timeout: live_at(base, timeout), simulated)
        assert isinstance(feed, LiveFeed)
        assert line == "live market: binance (answered within 5 s)"
        feed.close()
    finally:
        server.close()


def test_auto_falls_to_the_simulated_market_and_says_why() -> None:
    feed, line = choose("auto", lambda timeout: live_at(nobody(), timeout), simulated, 2.0)
    assert isinstance(feed, SimulatedFeed)
    assert line.startswith("simulated market: no exchange answered within 2 s (binance")
    assert "\n" not in line
    assert "--feed" not in line


def test_live_that_cannot_be_had_is_an_error() -> None:
    with pytest.raises(FeedError, match="run with --feed simulated"):
        choose("live", lambda timeout: live_at(nobody(), timeout), simulated, 2.0)
