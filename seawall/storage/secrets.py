"""Secrets: keys and tokens, from the environment or from files that only their owner can read.

No message, log or `repr` ever holds one.
"""

import os
import re
import secrets as randomness
import stat
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from seawall.core.errors import SettingError, StoreError
from seawall.core.keys import SigningKey, signing_key
from seawall.core.ports import Secrets
from seawall.core.settings import SECRET_PREFIX

GOLDEN_SET_KEY = "golden-set-signing-key"
OPERATOR_TOKEN = "operator-token"
KEYS_PASSPHRASE = "keys-passphrase"
TOKEN_BYTES = 32
LONGEST = 65_536  # bytes of a secret
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,127}")


class EnvironmentSecrets:
    """Secrets in variables: ``operator-token`` is SEAWALL_SECRET_OPERATOR_TOKEN.

    Args:
        environment: usually `os.environ`, read at the edge.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def get(self, name: str) -> str | None:
        """The secret; None where the variable is missing or empty. SettingError: no such name."""
        variable = SECRET_PREFIX + re.sub(r"[^A-Z0-9]", "_", checked_name(name).upper())
        return self._environment.get(variable, "").strip() or None

    def __repr__(self) -> str:
        return "EnvironmentSecrets(…)"


class FileSecrets:
    """Secrets in a folder, a file each, with mode 0600.

    Args:
        folder: made with mode 0700 when the first secret is kept.
        above: asked first; what it has stands above the files.
    """

    def __init__(self, folder: Path, above: Secrets | None = None) -> None:
        self._folder = folder
        self._above = above

    def get(self, name: str) -> str | None:
        """The secret, without white space around it; None where there is none.

        Raises:
            SettingError: no name that a secret can have.
            StoreError: others may read the file, it is not ours, or it cannot be read.
        """
        path = self._folder / checked_name(name)
        given = self._above.get(name) if self._above is not None else None
        return given if given is not None else read_private(path)

    def ensure(self, name: str, make: Callable[[], str]) -> str:
        """The secret, made and kept where there is none yet; the same for all who ask at once.

        Raises:
            SettingError, StoreError: as `get`, or it cannot be written.
        """
        found = self.get(name)
        if found is not None:
            return found
        path = self._folder / name
        _keep(path, make())
        kept = read_private(path)
        if kept is None:
            raise StoreError(f"{path} was removed while it was made; start again")
        return kept

    def __repr__(self) -> str:
        return f"FileSecrets({str(self._folder)!r})"


def ensure_signing_key(secrets: FileSecrets) -> SigningKey:
    """The key that golden sets are signed with, made on first use. Errors as `FileSecrets.get`."""
    text = secrets.ensure(GOLDEN_SET_KEY, lambda: randomness.token_bytes(TOKEN_BYTES).hex())
    return signing_key(text, f"the secret {GOLDEN_SET_KEY}")


def ensure_operator_token(secrets: FileSecrets) -> str:
    """The token that an operator's commands must carry, made on first use; 256 random bits."""
    return secrets.ensure(OPERATOR_TOKEN, lambda: randomness.token_urlsafe(TOKEN_BYTES))


def new_tokens(count: int) -> tuple[str, ...]:
    """Random and unguessable: letters and digits, 256 bits each."""
    return tuple(randomness.token_hex(TOKEN_BYTES) for _ in range(count))


class LayeredSecrets:
    """Several places in turn: the first that has a secret is asked no further."""

    def __init__(self, places: Sequence[Secrets]) -> None:
        self._places = tuple(places)

    def get(self, name: str) -> str | None:
        """The secret of the first place that has it. Errors as those places have them."""
        found = (place.get(name) for place in self._places)
        return next((secret for secret in found if secret is not None), None)

    def __repr__(self) -> str:
        return f"LayeredSecrets({len(self._places)} places)"


def checked_name(name: str) -> str:
    """The name, or SettingError where no secret can have it."""
    if not _NAME.fullmatch(name):
        raise SettingError(
            f"{name!r} cannot name a secret; use up to 128 small letters, digits, '.', '_' and '-'"
        )
    return name


def read_private(path: Path) -> str | None:
    """The text of a secret's file, after a look at who else may read it; None: there is no file.

    Raises StoreError: others may read it, it is not ours, or it cannot be read.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _unreadable(path, error) from None
    try:
        _check_owner(path, os.fstat(file))
        content = os.read(file, LONGEST + 1)
    except OSError as error:
        raise _unreadable(path, error) from None
    finally:
        os.close(file)
    try:
        text = content.decode("ascii").strip()
    except UnicodeDecodeError:
        text = ""
    if not text or len(content) > LONGEST:
        raise StoreError(f"{path} holds no secret (plain text, up to 64 KiB); remove or replace it")
    return text


def _check_owner(path: Path, about: os.stat_result) -> None:
    if not stat.S_ISREG(about.st_mode):
        raise StoreError(f"{path} is no plain file, so it is not read as a secret; replace it")
    if about.st_uid != os.geteuid():
        raise StoreError(f"{path} belongs to another user; run as that user, or replace the file")
    if about.st_mode & 0o077:
        raise StoreError(
            f"{path} may be read by others (mode {stat.S_IMODE(about.st_mode):04o}); replace the "
            f"secret and run `chmod 600 {path}`"
        )


def _unreadable(path: Path, error: OSError) -> StoreError:
    why = (error.strerror or "unknown").lower()
    return StoreError(f"cannot read the secret {path}: {why}; make it a plain file of your own")


def _keep(path: Path, secret: str) -> None:
    """Write a secret whole and for its owner alone; one that is there already stays."""
    temporary = path.with_name(f".{path.name}.{randomness.token_hex(8)}.tmp")
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with os.fdopen(os.open(temporary, flags, 0o600), "w", encoding="ascii") as file:
                file.write(secret + "\n")
                file.flush()
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                os.link(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        why = (error.strerror or "unknown").lower()
        raise StoreError(
            f"cannot keep the secret {path}: {why}; give write permission or choose another folder"
        ) from None
