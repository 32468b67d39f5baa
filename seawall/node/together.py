"""All of a boundary is one durable write, and only then do its orders leave."""

from collections.abc import Iterator
from contextlib import contextmanager

from seawall.execution import Executor
from seawall.storage.recorder import Recorder


@contextmanager
def together(recorder: Recorder, executor: Executor) -> Iterator[None]:
    """What is recorded within is kept at the end; then the requests leave that were made within.

    After a defect too: what was recorded before it stands, and so do its orders.

    Raises:
        StoreError: it could not be kept; nothing leaves, and nothing more is recorded.
    """
    recorder.hold()
    executor.hold(recorder.commit)
    try:
        yield
    except Exception:
        _end(recorder, executor)
        raise
    _end(recorder, executor)


def _end(recorder: Recorder, executor: Executor) -> None:
    executor.release()
    recorder.release()  # what was refused at the door
