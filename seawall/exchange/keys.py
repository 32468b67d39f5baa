"""API keys: who they stand for, what they may do, and whether a request was signed with one."""

import hashlib
import hmac
from base64 import b64decode
from binascii import Error as Base64Error
from collections.abc import Iterable
from functools import cached_property
from typing import Literal
from urllib.parse import unquote

import msgspec
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from seawall.core.errors import SettingError
from seawall.exchange import refusals

Permission = Literal["read", "trade", "withdraw"]
SHORTEST = 16
DEFAULT_WINDOW = 5_000  # ms
LONGEST_WINDOW = 60_000
AHEAD = 1_000  # ms that a client's clock may be before the server's


class ApiKey(msgspec.Struct, frozen=True, kw_only=True, dict=True, omit_defaults=True):
    """One key.

    Attributes:
        account: whose it is. key: the public half, as it is sent.
        secret: of HMAC-SHA256; empty where `public_key` (PEM, Ed25519) verifies.
        ips: from where it may be used; empty: from anywhere.
    """

    account: str
    key: str
    secret: str = ""
    public_key: str = ""
    permissions: tuple[Permission, ...] = ("read", "trade")
    ips: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"ApiKey({self.account!r}, {self.key[:4]}…)"

    @cached_property
    def _verifier(self) -> Ed25519PublicKey | None:
        if not self.public_key:
            return None
        try:
            found = load_pem_public_key(self.public_key.encode())
        except ValueError:
            found = None
        if not isinstance(found, Ed25519PublicKey):
            raise SettingError(
                f"the key file: the public key of account {self.account} is no Ed25519 key in PEM"
            )
        return found

    def check(self) -> "ApiKey":
        """Self. SettingError: it cannot be used."""
        if len(self.key) < SHORTEST or not (self.secret or self.public_key):
            raise SettingError(
                f"the key file: account {self.account} needs a key of {SHORTEST} characters or "
                "more, and a secret or an Ed25519 public key"
            )
        _ = self._verifier
        return self

    def signed(self, payload: str, signature: str) -> bool:
        """Whether this key made the signature (hex of HMAC, or base64 of Ed25519)."""
        if self._verifier is None:
            made = hmac.new(self.secret.encode(), payload.encode(), hashlib.sha256).hexdigest()
            return hmac.compare_digest(made.encode(), signature.lower().encode())
        try:
            self._verifier.verify(b64decode(unquote(signature), validate=True), payload.encode())
        except (InvalidSignature, Base64Error, ValueError):
            return False
        return True


class KeyRing(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """All keys, and the one for the admin endpoint."""

    admin: str
    keys: tuple[ApiKey, ...]

    def __repr__(self) -> str:
        return f"KeyRing({len(self.keys)} keys)"

    @cached_property
    def by_key(self) -> dict[str, ApiKey]:
        """Key → what it is."""
        return {each.key: each for each in self.keys}

    @property
    def accounts(self) -> tuple[str, ...]:
        """Names of the accounts, in order."""
        return tuple(dict.fromkeys(each.account for each in self.keys))

    def check(self) -> "KeyRing":
        """Self. SettingError: keys repeat, or one cannot be used."""
        if not self.keys or len(self.admin) < SHORTEST:
            raise SettingError(
                f"the key file: it needs an admin key of {SHORTEST} characters or more, and one "
                "API key at least"
            )
        if len(self.by_key) != len(self.keys):
            raise SettingError("the key file: a key is there twice; give each its own")
        for each in self.keys:
            each.check()
        return self

    def find(self, key: str, ip: str) -> ApiKey:
        """The key that a request carries. Refusal: there is none, or not from there."""
        if not key.isalnum() or len(key) < SHORTEST:
            raise refusals.bad_key_format()
        found = self.by_key.get(key)
        if found is None or (found.ips and ip not in found.ips):
            raise refusals.bad_key()
        return found


def ring_of(text: str, where: str) -> KeyRing:
    """The keys in a JSON text. SettingError: it is none."""
    try:
        return msgspec.json.decode(text, type=KeyRing).check()
    except msgspec.MsgspecError as error:
        raise SettingError(f"{where}: these are no keys of the exchange ({error})") from None


def new_ring(accounts: Iterable[str], tokens: Iterable[str]) -> KeyRing:
    """Keys for accounts, each with a secret; `tokens` are random and unguessable."""
    drawn = iter(tokens)
    keys = tuple(ApiKey(account=name, key=next(drawn), secret=next(drawn)) for name in accounts)
    return KeyRing(admin=next(drawn), keys=keys).check()


def check_time(now: int, timestamp: int, window: int) -> None:
    """Refusal where a request is too old, or from the future. Times in ms."""
    if timestamp > now + AHEAD:
        raise refusals.early_timestamp()
    if now - timestamp > window:
        raise refusals.late_timestamp()
