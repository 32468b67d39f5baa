"""The node's side of a simulated exchange that runs as a process of its own."""

import socket
from collections.abc import Hashable, Mapping, Sequence
from functools import cache
from typing import Any, TypeVar, cast

import msgspec
import numpy as np

from seawall.core.clock import MILLISECOND, SECOND, Clock
from seawall.core.errors import OrderRefusedError, VenueError, VenueUnreachableError
from seawall.core.events import Raw
from seawall.core.instruments import Catalog
from seawall.core.orders import Movement, Order, OrderReport, Report
from seawall.venues.simulated import wire
from seawall.venues.simulated.shape import VenueShape

_T = TypeVar("_T")
_FIRST_WAIT = 50 * MILLISECOND
_LONGEST_WAIT = 2 * SECOND
_CHUNK = 1 << 20
_MOST_OWED = 256  # answers that are not waited for; the exchange waits for nobody who reads none


@cache
def _decoder(kind: Any) -> "msgspec.msgpack.Decoder[Any]":
    """To make one takes longer than to use it."""
    return msgspec.msgpack.Decoder(kind)


class RemoteVenue:
    """A Venue and its Playback in one, over a socket. Nothing is ever sent twice.

    Rows are sent without waiting: that they were taken in is looked at with the next answer, and
    the exchange takes everything in its order. Where time alone is told, the poll that follows it
    at a boundary goes with it in one write, so that the exchange answers while the node thinks.

    A lost connection is made anew on a later call, at most once per waiting time (50 ms, doubling
    to 2 s); until then calls raise VenueUnreachableError at once.

    Args:
        address: see wire.place_of.
        catalog: of the rows that `observe` gets. shape: the exchange's terms.
        clock: the node's; a request leaves at its time.
        after: the last report sequence that the node has; `poll` starts behind it.
        timeout: seconds to wait for an answer.
    """

    def __init__(
        self,
        address: str,
        catalog: Catalog,
        shape: VenueShape,
        clock: Clock,
        after: int = 0,
        timeout: float = 5.0,
    ) -> None:
        self.address = address
        self._place = wire.place_of(address)
        self._hello = wire.Hello(catalog, shape)
        self._clock = clock
        self._after = after
        self._timeout = timeout
        self._socket: socket.socket | None = None
        self._framer = wire.Framer()
        self._number = 0
        self._owed: set[int] = set()  # requests that were sent, whose answers were not waited for
        self._early: wire.Poll | None = None  # the last request, where nobody has asked for it yet
        self._connections = 0
        self._wait = 0
        self._retry_at = 0
        self._snapshot = False
        self._encoder = msgspec.msgpack.Encoder()
        self._replies = msgspec.msgpack.Decoder(wire.Reply)

    @property
    def gateway(self) -> "RemoteVenue":
        return self

    @property
    def account(self) -> "RemoteVenue":
        return self

    @property
    def stream(self) -> "RemoteVenue":
        return self

    @property
    def needs_snapshot(self) -> bool:
        """True from each connection on, until an `observe` begun since then has gone through.

        The exchange's books are void then: that `observe` should carry whole books.
        """
        return self._snapshot

    def place(self, order: Order) -> None:
        """See Gateway."""
        self._call(wire.Place(order, self._clock.now()), None)

    def cancel(self, instrument: str, client_id: str) -> None:
        """See Gateway."""
        self._call(wire.Cancel(instrument, client_id, self._clock.now()), None)

    def replace(self, client_id: str, order: Order) -> None:
        """See Gateway; Engine.replace says what becomes of both orders."""
        self._call(wire.Replace(client_id, order, self._clock.now()), None)

    def orders(self, client_ids: Sequence[str] | None = None) -> list[OrderReport]:
        """See Account; an order that is still on its way is SENT, with sequence 0."""
        names = None if client_ids is None else list(client_ids)
        return self._call(wire.Orders(names), list[OrderReport])

    def fills(self, after: int) -> list[Movement]:
        """See Account."""
        fills: list[Movement] = []
        while more := self._call(wire.Fills(after), list[Movement]):
            fills += more
            after = more[-1].sequence
            if len(more) < wire.REPORTS_AT_ONCE:
                break
        return fills

    def balances(self) -> Mapping[str, int]:
        """See Account."""
        return self._call(wire.Balances(), dict[str, int])

    def positions(self) -> Mapping[str, int]:
        """See Account."""
        return self._call(wire.Positions(), dict[str, int])

    def poll(self, until: int) -> list[Report]:
        """See Stream."""
        reports: list[Report] = []
        after = self._after
        while more := self._polled(wire.Poll(after, until)):
            reports += more
            after = more[-1].sequence
            if len(more) < wire.REPORTS_AT_ONCE:
                break
        self._after = after
        return reports

    def observe(self, rows: Raw, until: int) -> None:
        """See Playback. Raises VenueUnreachableError; the books are void after that."""
        asked, connection = self._snapshot, self._connections
        for at in range(0, max(1, len(rows)), wire.ROWS_AT_ONCE):
            part = rows[at : at + wire.ROWS_AT_ONCE]
            last = at + wire.ROWS_AT_ONCE >= len(rows)
            time = until if last else int(part["recv_ts"][-1])
            request = wire.Observe(np.ascontiguousarray(part).tobytes(), time)
            poll = [] if len(rows) else [wire.Poll(self._after, until)]
            connected = self._connected()
            try:
                self._send(connected, request, *poll)
            except VenueUnreachableError:
                self.close()  # rows are missing from here on: the next connection voids the books
                raise
            self._owed.add(self._number - len(poll))
            self._early = poll[0] if poll else None
            if len(self._owed) > _MOST_OWED:
                self.positions()  # hears the others first
        if asked and connection == self._connections:
            self._snapshot = False

    def close(self) -> None:
        """End the connection; a later call makes a new one."""
        if self._socket is not None:
            self._socket.close()
        self._socket = None
        self._framer = wire.Framer()
        self._owed.clear()
        self._early = None

    def _polled(self, request: wire.Poll) -> list[Report]:
        """The answer to a poll, which may be under way already."""
        if request == self._early and self._socket is not None:
            self._early = None
            return self._result(self._hear(self._socket, request), list[Report])
        return self._call(request, list[Report])

    def _call(self, request: wire.AnyRequest, kind: type[_T] | None) -> _T:
        """Ask and wait for the answer."""
        return self._result(self._ask(self._connected(), request), kind)

    def _result(self, reply: wire.Reply, kind: type[_T] | None) -> _T:
        if reply.refused:
            raise OrderRefusedError(reply.refused)
        if reply.failed:
            raise VenueUnreachableError(f"simulated venue {self.address}: {reply.failed}")
        result: _T = _decoder(cast(Hashable, kind)).decode(reply.result)
        return result

    def _connected(self) -> socket.socket:
        if self._socket is not None:
            return self._socket
        now = self._clock.now()
        if now < self._retry_at:
            raise self._unreachable("not connected; the next attempt has to wait")
        self._wait = min(_LONGEST_WAIT, max(_FIRST_WAIT, 2 * self._wait))
        self._retry_at = now + self._wait
        family = socket.AF_UNIX if isinstance(self._place, str) else socket.AF_INET
        connection = socket.socket(family, socket.SOCK_STREAM)
        try:
            connection.settimeout(self._timeout)
            connection.connect(self._place)
            if family == socket.AF_INET:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            connection.close()
            raise self._unreachable(str(error)) from None
        self._socket = connection
        reply = self._ask(connection, self._hello)
        if reply.failed or reply.refused:
            self.close()
            raise VenueError(f"simulated venue {self.address}: {reply.failed or reply.refused}")
        self._wait = 0
        self._retry_at = 0
        self._connections += 1
        self._snapshot = True
        return connection

    def _send(self, connection: socket.socket, *requests: wire.AnyRequest) -> None:
        """Requests in one write; the last one's number is `_number`."""
        if self._early is not None:  # nobody has asked for its answer, which comes all the same
            self._owed.add(self._number)
        self._early, message = None, b""
        for request in requests:
            self._number += 1
            message += wire.framed(self._encoder.encode(wire.Numbered(self._number, request)))
        try:
            connection.sendall(message)
        except OSError as error:
            self.close()  # a part of it may have left
            late = isinstance(error, TimeoutError)
            reason = f"no answer in {self._timeout:g} s" if late else str(error)
            raise self._unreachable(reason) from None

    def _ask(self, connection: socket.socket, request: wire.AnyRequest) -> wire.Reply:
        self._send(connection, request)
        return self._hear(connection, request)

    def _hear(self, connection: socket.socket, request: wire.AnyRequest) -> wire.Reply:
        """The reply to the last request; those that we no longer wait for are discarded."""
        try:
            while True:
                data = connection.recv(_CHUNK)
                if not data:
                    raise ConnectionResetError("the connection was closed")
                for each in self._framer.feed(data):
                    reply = self._replies.decode(each)
                    if reply.number in self._owed:
                        self._settle(reply)
                    elif reply.number == self._number:
                        return reply
        except TimeoutError:
            if self._owed or isinstance(request, wire.Hello):
                self.close()  # nobody knows whether the rows were taken in: the books are void
            raise self._unreachable(f"no answer in {self._timeout:g} s") from None
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            self.close()
            raise self._unreachable(str(error)) from None

    def _settle(self, reply: wire.Reply) -> None:
        """Rows were taken in, or an early poll was answered. ValueError where they were not."""
        self._owed.discard(reply.number)
        if reply.refused or reply.failed:
            raise ValueError(reply.refused or reply.failed)

    def _unreachable(self, reason: str) -> VenueUnreachableError:
        return VenueUnreachableError(f"simulated venue {self.address}: {reason}")
