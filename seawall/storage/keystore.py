"""Keys of exchanges in one encrypted file: scrypt makes a key of the passphrase, AES-GCM does the
rest. Only the owner can read the file, and without the passphrase nobody can.

scrypt: RFC 7914. AES-256-GCM: NIST SP 800-38D; its tag also covers the header.
"""

import json
import os
import secrets as randomness
from base64 import b64decode, b64encode
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from seawall.core.errors import SettingError, StoreError
from seawall.storage.secrets import checked_name, read_private

FORMAT = "seawall-keys-1"
WORK = 1 << 17  # scrypt's N, with r = 8 and p = 1: 128 MiB and about half a second
BLOCKS, LANES = 8, 1
MOST_WORK = 1 << 20  # a file that asks for more is not opened: it could eat the memory
SALT_BYTES, NONCE_BYTES, KEY_BYTES = 16, 12, 32
SHORTEST = 8  # characters of a passphrase


class _File(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What lies on disk; bytes as base64."""

    format: str
    work: int
    salt: str
    nonce: str
    data: str


class KeyStore:
    """Secrets by name in an encrypted file; a `core.ports.Secrets`.

    Args:
        path: of the file; a missing one is an empty store, made at the first `put`.
        passphrase: at least 8 characters.
        work: scrypt's N of a file that is made anew.

    Raises:
        SettingError: a wrong passphrase, or one that is too short.
        StoreError: the file is damaged, cannot be read, or others can read it.
    """

    def __init__(self, path: Path, passphrase: str, work: int = WORK) -> None:
        self._path = path
        if len(passphrase) < SHORTEST:
            raise SettingError(f"the passphrase is shorter than {SHORTEST} characters")
        self._passphrase = passphrase.encode()
        self._work = work
        self._secrets = self._opened()

    def get(self, name: str) -> str | None:
        """The secret; None where there is none."""
        return self._secrets.get(checked_name(name))

    def names(self) -> list[str]:
        """The names of all secrets, sorted."""
        return sorted(self._secrets)

    def put(self, entries: dict[str, str]) -> None:
        """Keep secrets, in place of those of the same names; StoreError where that fails."""
        for name in entries:
            checked_name(name)
        self._keep({**self._secrets, **entries})

    def remove(self, names: list[str]) -> None:
        """Forget secrets; unknown names are passed over. StoreError where that fails."""
        self._keep({n: secret for n, secret in self._secrets.items() if n not in names})

    def __repr__(self) -> str:
        return f"KeyStore({str(self._path)!r})"

    def _opened(self) -> dict[str, str]:
        text = read_private(self._path)
        if text is None:
            return {}
        try:
            file = msgspec.json.decode(text, type=_File)
            salt, nonce, data = (b64decode(t, validate=True) for t in _parts(file))
        except (msgspec.MsgspecError, ValueError):
            raise self._damaged() from None
        known = file.format == FORMAT and len(nonce) == NONCE_BYTES
        if not (known and 2 <= file.work <= MOST_WORK and file.work & (file.work - 1) == 0):
            raise self._damaged()
        self._work = file.work
        try:
            plain = AESGCM(self._key(salt)).decrypt(nonce, data, _header(file.work, salt))
        except InvalidTag:
            raise SettingError(
                f"the passphrase does not open {self._path} (or the file was altered); try again, "
                "or restore the file from a backup"
            ) from None
        found: dict[str, str] = json.loads(plain)
        return found

    def _keep(self, entries: dict[str, str]) -> None:
        """Write the file whole, under another name first, so that a crash leaves the old one."""
        salt, nonce = randomness.token_bytes(SALT_BYTES), randomness.token_bytes(NONCE_BYTES)
        plain = json.dumps(entries, sort_keys=True).encode()
        data = AESGCM(self._key(salt)).encrypt(nonce, plain, _header(self._work, salt))
        file = _File(FORMAT, self._work, *(b64encode(p).decode() for p in (salt, nonce, data)))
        temporary = self._path.with_name(f".{self._path.name}.{randomness.token_hex(8)}.tmp")
        try:
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            with os.fdopen(os.open(temporary, flags, 0o600), "wb") as out:
                out.write(msgspec.json.encode(file) + b"\n")
                out.flush()
                os.fsync(out.fileno())
            temporary.replace(self._path)
            folder = os.open(self._path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            why = (error.strerror or "unknown").lower()
            raise StoreError(
                f"cannot keep {self._path}: {why}; give write permission or choose another folder"
            ) from None
        self._secrets = entries

    def _key(self, salt: bytes) -> bytes:
        kdf = Scrypt(salt=salt, length=KEY_BYTES, n=self._work, r=BLOCKS, p=LANES)
        return kdf.derive(self._passphrase)

    def _damaged(self) -> StoreError:
        return StoreError(
            f"{self._path} is no file of keys (or is damaged); restore it from a backup, or remove "
            "it and add the keys again"
        )


def _parts(file: _File) -> tuple[Any, ...]:
    return file.salt, file.nonce, file.data


def _header(work: int, salt: bytes) -> bytes:
    """What the tag covers beside the secrets."""
    return f"{FORMAT} {work} ".encode() + salt
