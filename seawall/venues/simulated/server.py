"""The simulated exchange as a process of its own; one node at a time speaks to it by a socket.

    python -m seawall.venues.simulated.server --listen unix:/tmp/venue.sock --log venue.log

It prints ``ready ADDRESS`` when it listens, and stops on SIGTERM. Killed at any instant, it knows
after a restart everything that it ever answered.
"""

import argparse
import selectors
import signal
import socket
import stat
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from seawall.core.collecting import keep_all
from seawall.core.errors import OrderRefusedError, PortInUseError, SeawallError, StoreError
from seawall.core.events import EVENT, Raw
from seawall.venues.simulated import wire
from seawall.venues.simulated.engine import Engine
from seawall.venues.simulated.log import MARK_EVERY, Log

_SLOWEST_READER = 10.0  # seconds that a node may leave a reply unread
_CHUNK = 1 << 20


class Server:
    """One exchange behind one listening socket.

    Args:
        address: see wire.place_of; port 0 takes any free one.
        log: the exchange's log. mark_every: entries between its checkpoints.

    Raises:
        PortInUseError: the address is taken. StoreError: the log is unusable.
    """

    def __init__(
        self, address: str, log: Path, sync: bool = False, mark_every: int = MARK_EVERY
    ) -> None:
        self._path = log
        self._sync = sync
        self._mark_every = mark_every
        self._log = Log(log, sync, mark_every)
        self._engine: Engine | None = None
        self._terms: wire.Hello | None = None
        self._node: socket.socket | None = None
        self._greeted = False
        self._framer = wire.Framer()
        self._decoder = msgspec.msgpack.Decoder(wire.Numbered)
        self._encoder = msgspec.msgpack.Encoder()
        try:
            self._listener, self.address = _listen(address)
        except BaseException:
            self._log.close()
            raise

    def serve(self, stop: socket.socket) -> None:
        """Answer until something arrives on `stop`.

        Raises:
            StoreError: the log cannot be written any more.
        """
        with selectors.DefaultSelector() as selector:
            selector.register(stop, selectors.EVENT_READ)
            selector.register(self._listener, selectors.EVENT_READ)
            while True:
                ready = {key.fileobj for key, _ in selector.select()}
                if stop in ready:
                    return
                if self._listener in ready:
                    self._drop(selector)
                    self._node, _ = self._listener.accept()
                    self._node.settimeout(_SLOWEST_READER)
                    selector.register(self._node, selectors.EVENT_READ)
                elif self._node in ready and not self._hear(self._node):
                    self._drop(selector)

    def close(self) -> None:
        """Stop listening and let go of the log."""
        if self._node is not None:
            self._node.close()
        self._listener.close()
        place = wire.place_of(self.address)
        if isinstance(place, str):
            Path(place).unlink(missing_ok=True)
        self._log.close()

    def _drop(self, selector: selectors.BaseSelector) -> None:
        """A newer node replaces the older one."""
        if self._node is not None:
            selector.unregister(self._node)
            self._node.close()
        self._node = None
        self._greeted = False
        self._framer = wire.Framer()

    def _hear(self, node: socket.socket) -> bool:
        """Answer what has come; False when the connection is over."""
        try:
            data = node.recv(_CHUNK)
            answers = [
                wire.framed(self._encoder.encode(self._answer(message)))
                for message in self._framer.feed(data)
            ]
            if answers:
                node.sendall(b"".join(answers))
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            sys.stderr.write(f"simulated venue: the node's connection is dropped: {error}\n")
            return False
        return bool(data)

    def _answer(self, message: bytes) -> wire.Reply:
        numbered = self._decoder.decode(message)
        try:
            result = self._do(numbered.request)
        except OrderRefusedError as error:
            return wire.Reply(numbered.number, refused=str(error))
        except StoreError:
            raise
        except SeawallError as error:
            return wire.Reply(numbered.number, failed=str(error))
        return wire.Reply(numbered.number, msgspec.Raw(self._encoder.encode(result)))

    def _do(self, request: wire.AnyRequest) -> Any:
        if isinstance(request, wire.Hello):
            return self._greet(request)
        engine = self._engine
        if engine is None or not self._greeted:
            raise OrderRefusedError("say hello first: the exchange does not know what is traded")
        match request:
            case wire.Observe():
                rows = np.frombuffer(request.rows, dtype=EVENT)
                return engine.observe(Raw(rows), request.until)
            case wire.Poll():
                return engine.reports(request.after, request.until, wire.REPORTS_AT_ONCE)
            case wire.Place():
                return engine.place(request.order, request.ts)
            case wire.Cancel():
                return engine.cancel(request.instrument, request.client_id, request.ts)
            case wire.Replace():
                return engine.replace(request.client_id, request.order, request.ts)
            case wire.Orders():
                return engine.orders(request.client_ids)
            case wire.Fills():
                return engine.movements(request.after, wire.REPORTS_AT_ONCE)
            case wire.Balances():
                return engine.balances()
        return engine.positions()

    def _greet(self, hello: wire.Hello) -> None:
        """Open for this node: rows may have been missed, so all books are void."""
        if self._engine is None or hello != self._terms:
            self._engine = None
            self._log.close()
            self._log = Log(self._path, self._sync, self._mark_every)
            self._engine = Engine(hello.catalog.check(), hello.shape, self._log)
            self._terms = hello
        self._engine.void()
        self._greeted = True


def _listen(address: str) -> tuple[socket.socket, str]:
    """A listening socket and its address with the real port."""
    place = wire.place_of(address)
    family = socket.AF_UNIX if isinstance(place, str) else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if isinstance(place, str):
            _clear_stale(Path(place))
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        if isinstance(place, str):
            Path(place).chmod(0o600)  # whoever can speak to it can trade
        listener.listen(8)
    except OSError as error:
        listener.close()
        raise PortInUseError(
            f"simulated venue: cannot listen on {address} ({error.strerror}); choose "
            "another address"
        ) from None
    if isinstance(place, str):
        return listener, address
    return listener, f"tcp:{place[0]}:{listener.getsockname()[1]}"


def _clear_stale(path: Path) -> None:
    """Remove a socket that a killed process left; one that answers stays, and bind fails."""
    if not path.exists() or not stat.S_ISSOCK(path.stat().st_mode):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()


def main(arguments: list[str] | None = None) -> int:
    """Run until SIGTERM or SIGINT; the exit code is 0, or that of the error which is printed."""
    parser = argparse.ArgumentParser(prog="seawall.venues.simulated.server", description=__doc__)
    parser.add_argument("--listen", required=True, help="unix:/path or tcp:127.0.0.1:PORT")
    parser.add_argument("--log", required=True, type=Path, help="the exchange's own log")
    parser.add_argument("--sync", action="store_true", help="wait for the disk after each entry")
    parser.add_argument(
        "--mark-every", type=int, default=MARK_EVERY, help="entries between two checkpoints"
    )
    given = parser.parse_args(arguments)
    stop, wake = socket.socketpair()
    wake.setblocking(False)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)  # the wake-up byte below is what counts
    signal.set_wakeup_fd(wake.fileno())
    try:
        server = Server(given.listen, given.log, given.sync, given.mark_every)
        try:
            keep_all()
            sys.stdout.write(f"ready {server.address}\n")
            sys.stdout.flush()
            server.serve(stop)
        finally:
            server.close()
    except SeawallError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    finally:
        signal.set_wakeup_fd(-1)
        stop.close()
        wake.close()
    return 0


if __name__ == "__main__":
    sys.exit(main())
