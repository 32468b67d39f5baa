"""Errors a user can act on: each message says what is wrong, where, and what to do.

The command line prints the message on one line and exits with the type's `exit_code`.
"""


class SeawallError(Exception):
    """The root of all errors that are not defects of the program."""

    exit_code = 1


class SettingError(SeawallError):
    """A setting is missing, unknown or out of its range."""

    exit_code = 2


class DataError(SeawallError):
    """Recorded or imported data cannot be used as it is."""

    exit_code = 3


class FeedError(SeawallError):
    """A market-data feed cannot be opened or has ended in an error."""

    exit_code = 4


class StoreError(SeawallError):
    """The journal, the tape or a folder cannot be read or written."""

    exit_code = 5


class PortInUseError(SeawallError):
    """The address of the dashboard is taken."""

    exit_code = 6


class VenueError(SeawallError):
    """An answer, or the lack of one, from an exchange."""

    exit_code = 7


class OrderRefusedError(VenueError):
    """The venue said no: the request has certainly not been accepted."""


class VenueUnreachableError(VenueError):
    """No answer: whether the request was accepted is unknown."""


class InvariantError(SeawallError):
    """The program's own books disagree; trading must stop."""

    exit_code = 8
