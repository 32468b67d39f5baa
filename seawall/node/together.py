"""All of a boundary is one durable write, and only then do its orders leave."""

from collections.abc import Iterator
from contextlib import contextmanager

from seawall.node.accounts import Accounts
from seawall.storage.recorder import Recorder


@contextmanager
def together(recorder: Recorder, accounts: Accounts) -> Iterator[None]:
    """What is recorded within is kept at the end; then the requests leave that were made within.

    After a defect too: what was recorded before it stands, and so do its orders.

    Raises:
        StoreError: it could not be kept; nothing leaves, and nothing more is recorded.
    """
    recorder.hold()
    accounts.hold(recorder.commit)
    try:
        yield
    except Exception:
        _end(recorder, accounts)
        raise
    _end(recorder, accounts)


def _end(recorder: Recorder, accounts: Accounts) -> None:
    accounts.release()
    recorder.release()  # what was refused at the door
