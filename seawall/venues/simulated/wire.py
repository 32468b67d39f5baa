"""What node and exchange say to each other: MessagePack behind a length, one reply per request."""

import struct

import msgspec

from seawall.core.errors import SettingError
from seawall.core.instruments import Catalog
from seawall.core.orders import Order
from seawall.venues.simulated.shape import VenueShape

LARGEST = 32 << 20  # bytes of a message
ROWS_AT_ONCE = 1 << 18  # rows of the tape in one message
REPORTS_AT_ONCE = 20_000  # reports or fills in one reply; the node asks on behind them
_LENGTH = struct.Struct("<I")


class Request(msgspec.Struct, frozen=True, tag=True):
    """What all requests are. Times are ns UTC of the node's clock."""


class Hello(Request, frozen=True):
    """The first word on a connection: what is traded, and on which terms."""

    catalog: Catalog
    shape: VenueShape


class Place(Request, frozen=True):
    """Gateway.place."""

    order: Order
    ts: int


class Cancel(Request, frozen=True):
    """Gateway.cancel."""

    instrument: str
    client_id: str
    ts: int


class Replace(Request, frozen=True):
    """Gateway.replace."""

    client_id: str
    order: Order
    ts: int


class Orders(Request, frozen=True):
    """Account.orders."""

    client_ids: list[str] | None


class Fills(Request, frozen=True):
    """Account.fills."""

    after: int


class Balances(Request, frozen=True):
    """Account.balances."""


class Positions(Request, frozen=True):
    """Account.positions."""


class Poll(Request, frozen=True):
    """Stream.poll; the node says what it has, so a report that was lost on the way comes again."""

    after: int
    until: int


class Observe(Request, frozen=True):
    """Playback.observe; rows are the bytes of an array of dtype EVENT."""

    rows: bytes
    until: int


AnyRequest = (
    Hello | Place | Cancel | Replace | Orders | Fills | Balances | Positions | Poll | Observe
)


class Numbered(msgspec.Struct, frozen=True):
    """A request and its number on this connection."""

    number: int
    request: AnyRequest


class Reply(msgspec.Struct, frozen=True):
    """The answer to the request of that number: a result, or why there is none.

    Attributes:
        refused: the venue said no; nothing happened. failed: it cannot say anything else.
    """

    number: int
    result: msgspec.Raw = msgspec.Raw(b"\xc0")
    refused: str = ""
    failed: str = ""


def framed(message: bytes) -> bytes:
    """A message with its length in front; ValueError where it is too large."""
    if len(message) > LARGEST:
        raise ValueError(f"a message of {len(message)} bytes; {LARGEST} are allowed")
    return _LENGTH.pack(len(message)) + message


class Framer:
    """Cuts a stream of bytes into messages; what is incomplete waits for more."""

    def __init__(self) -> None:
        self._waiting = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are complete with `data`; ValueError where one is too large."""
        self._waiting += data
        messages = []
        at = 0
        while len(self._waiting) - at >= _LENGTH.size:
            (length,) = _LENGTH.unpack_from(self._waiting, at)
            if length > LARGEST:
                raise ValueError(f"a message of {length} bytes; {LARGEST} are allowed")
            start = at + _LENGTH.size
            if len(self._waiting) < start + length:
                break
            messages.append(bytes(self._waiting[start : start + length]))
            at = start + length
        del self._waiting[:at]
        return messages


def place_of(address: str) -> str | tuple[str, int]:
    """A Unix socket's path or a TCP (host, port) from ``unix:/path`` or ``tcp:127.0.0.1:7000``.

    Raises:
        SettingError: it is neither, or the host is not this machine.
    """
    scheme, _, rest = address.partition(":")
    if scheme == "unix" and rest:
        return rest
    host, _, port = rest.rpartition(":")
    if scheme == "tcp" and host in ("127.0.0.1", "localhost") and port.isdecimal():
        return host, int(port)
    raise SettingError(f"address {address!r}: write unix:/path/of/socket or tcp:127.0.0.1:PORT")
