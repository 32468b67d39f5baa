"""SQLite under the journal: how its files are opened, locked and made durable.

Every failure becomes a StoreError that says what to do.
"""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from sqlalchemy import Connection, create_engine, inspect, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.pool import StaticPool

from seawall.core.errors import StoreError
from seawall.storage.schema import FORMAT, META, METADATA

_ADVICE = {
    sqlite3.SQLITE_FULL: "no space is left on its disk; free some and start again",
    sqlite3.SQLITE_NOTADB: "it is not a database; name another file, or restore it from a backup",
    sqlite3.SQLITE_CORRUPT: "it is damaged; restore it from a backup",
    sqlite3.SQLITE_CANTOPEN: "it cannot be opened; check that its folder exists and is writable",
    sqlite3.SQLITE_READONLY: "it cannot be written; make the file and its folder writable",
    sqlite3.SQLITE_PERM: "it cannot be written; make the file and its folder writable",
    sqlite3.SQLITE_BUSY: "another program has locked it; stop that one and start again",
    sqlite3.SQLITE_IOERR: "its disk fails; check the disk and its free space, then start again",
}


def explained(path: Path, error: BaseException) -> StoreError:
    """The StoreError that tells a person about a failure of the database or the file system."""
    cause = error.orig if isinstance(error, DBAPIError) and error.orig else error
    if isinstance(cause, OSError):
        reason = f"{cause.strerror or cause}; check the folder, its rights and the free space"
        return StoreError(f"journal {path}: {reason}")
    code = getattr(cause, "sqlite_errorcode", 0) & 0xFF
    return StoreError(f"journal {path}: {_ADVICE.get(code, 'it cannot be used')} ({cause})")


@contextmanager
def explaining(path: Path) -> Iterator[None]:
    """Raise StoreError in place of the database's and the file system's errors."""
    try:
        yield
    except (OSError, sqlite3.Error, DBAPIError) as error:
        raise explained(path, error) from error


class Lock:
    """The right to write a journal: one holder on the machine, given back at its death.

    Raises:
        StoreError: another holder lives.
    """

    def __init__(self, path: Path) -> None:
        with explaining(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            try:
                self._take(path)
            except BaseException:
                os.close(self._file)
                raise

    def _take(self, path: Path) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._file, 32, 0).decode(errors="replace").strip() or "unknown"
            raise StoreError(
                f"journal {path}: process {holder} is writing it; stop that one, or name another "
                "journal"
            ) from None
        os.ftruncate(self._file, 0)
        os.pwrite(self._file, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Give the right back; the empty lock file stays."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1


def connect(path: Path, *pragmas: str, write: bool) -> Connection:
    """A connection to a journal's file that never opens a transaction of its own accord.

    Raises:
        sqlite3.Error, DBAPIError: it cannot be opened.
    """
    address = f"{path.resolve().as_uri()}?mode={'rwc' if write else 'ro'}"

    def opened() -> sqlite3.Connection:
        raw = sqlite3.connect(address, uri=True, check_same_thread=False, isolation_level=None)
        try:
            for pragma in pragmas:
                raw.execute(f"PRAGMA {pragma}").fetchall()
        except BaseException:
            raw.close()
            raise
        return raw

    engine = create_engine("sqlite://", creator=opened, poolclass=StaticPool)
    return engine.connect().execution_options(isolation_level="AUTOCOMMIT")


def close(connection: Connection) -> None:
    """Close a connection and the file under it."""
    with suppress(sqlite3.Error, DBAPIError):
        connection.close()
    connection.engine.dispose()


def create_tables(connection: Connection) -> None:
    """Make the journal's tables, all or none."""
    connection.exec_driver_sql("BEGIN IMMEDIATE")
    METADATA.create_all(connection)
    connection.execute(META.insert().values(key="format", value=FORMAT))
    connection.exec_driver_sql("COMMIT")


def check_format(connection: Connection, path: Path) -> None:
    """Raise StoreError where the database is no journal, or one of another format."""
    if not inspect(connection).has_table(META.name):
        raise StoreError(f"journal {path}: it is a database but no journal; name another file")
    found = connection.execute(select(META.c.value).where(META.c.key == "format")).scalar()
    if found != FORMAT:
        raise StoreError(
            f"journal {path}: its format is {found}, this Seawall knows {FORMAT}; update Seawall"
        )


def is_empty(connection: Connection) -> bool:
    """Nothing was ever created in the database (its maker may have died before)."""
    return not inspect(connection).get_table_names()


def sync_folder(path: Path) -> None:
    """Make a new file's name as durable as its content."""
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
