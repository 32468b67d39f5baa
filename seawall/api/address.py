"""The dashboard's address: a socket that listens, or an error that says what to do."""

import errno
import socket

from seawall.core.errors import PortInUseError, SettingError


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; the errors say what to do."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listening = socket.socket(family, kind, protocol)
    except OSError as error:
        raise SettingError(f"api.host is {host!r}: {error.strerror}; try 127.0.0.1") from None
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind(address)
        listening.listen(128)
    except OSError as error:
        listening.close()
        where = f"{bracketed(host)}:{port}"
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"{where} is taken by another program: stop that one, or choose another port "
                "with --port N (0 takes any free one)"
            ) from None
        raise SettingError(
            f"the dashboard cannot be served at {where}: {error.strerror}; choose another port "
            "with --port N, or another api.host"
        ) from None
    return listening


def bracketed(host: str) -> str:
    """As it stands in a URL."""
    return f"[{host}]" if ":" in host else host
