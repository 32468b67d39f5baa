"""Keys that sign and verify: read from text, and never shown again, not even by `repr`.

HMAC-SHA256: RFC 2104. Ed25519: RFC 8032. Both come from well-kept libraries.
"""

import base64
import binascii
import hmac

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from seawall.core.errors import SettingError

HMAC_SHA256, ED25519 = "hmac-sha256", "ed25519"
ED25519_BYTES = 32  # of a private key and of a public one (RFC 8032, 5.1.5)
LEAST_HMAC_BYTES = 32  # the length of the hash; shorter ones weaken it (RFC 2104, 3)


class HmacKey:
    """A secret that both sides know: whoever can verify with it can also sign.

    Raises:
        ValueError: fewer than 32 bytes.
    """

    __slots__ = ("_begun",)
    algorithm = HMAC_SHA256

    def __init__(self, secret: bytes) -> None:
        if len(secret) < LEAST_HMAC_BYTES:
            raise ValueError(f"an HMAC key has at least {LEAST_HMAC_BYTES} bytes")
        self._begun = hmac.new(secret, digestmod="sha256")

    def sign(self, message: bytes) -> bytes:
        """32 bytes."""
        one = self._begun.copy()
        one.update(message)
        return one.digest()

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether this key signed the message; takes as long for a near miss as for a wide one."""
        one = self._begun.copy()
        one.update(message)
        return hmac.compare_digest(one.digest(), signature)

    def __repr__(self) -> str:
        return "HmacKey(…)"


class VerifyingKey:
    """The public half of an Ed25519 key. Raises ValueError where it has not 32 bytes."""

    __slots__ = ("_key",)
    algorithm = ED25519

    def __init__(self, public: bytes) -> None:
        self._key = Ed25519PublicKey.from_public_bytes(public)

    def verify(self, message: bytes, signature: bytes) -> bool:
        """Whether the private half signed the message."""
        try:
            self._key.verify(signature, message)
        except InvalidSignature:
            return False
        return True

    @property
    def public_bytes(self) -> bytes:
        """32 bytes that anybody may see."""
        return self._key.public_bytes_raw()

    def __repr__(self) -> str:
        return "VerifyingKey(…)"


class SigningKey:
    """The private half of an Ed25519 key. Raises ValueError where it has not 32 bytes."""

    __slots__ = ("_key",)
    algorithm = ED25519

    def __init__(self, private: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(private)

    def sign(self, message: bytes) -> bytes:
        """64 bytes, the same for the same message."""
        return self._key.sign(message)

    @property
    def verifying(self) -> VerifyingKey:
        """The public half."""
        return VerifyingKey(self._key.public_key().public_bytes_raw())

    def __repr__(self) -> str:
        return "SigningKey(…)"


SourceKey = HmacKey | VerifyingKey  # verifies what a source sends
SenderKey = HmacKey | SigningKey  # signs at the source


def source_key(algorithm: str, text: str, where: str) -> SourceKey:
    """The key that verifies a source, from hex or base64.

    Args:
        algorithm: ``hmac-sha256`` or ``ed25519`` (then the text is the PUBLIC key).
        where: what the message calls the text; the text itself is in no message.

    Raises:
        SettingError: neither hex nor base64, or of another length.
    """
    if algorithm == HMAC_SHA256:
        return HmacKey(_decoded(text, where, LEAST_HMAC_BYTES, exact=False))
    if algorithm == ED25519:
        return VerifyingKey(_decoded(text, where, ED25519_BYTES, exact=True))
    raise SettingError(
        f"{where}: there is no signature {algorithm!r}; use {HMAC_SHA256} or {ED25519}"
    )


def signing_key(text: str, where: str) -> SigningKey:
    """An Ed25519 private key from hex or base64; SettingError as `source_key` has it."""
    return SigningKey(_decoded(text, where, ED25519_BYTES, exact=True))


def _decoded(text: str, where: str, size: int, exact: bool) -> bytes:
    """The bytes of a key. What is good hex is hex, even where it were base64 as well."""
    text = text.strip()
    key = _from_hex(text)
    if key is None:
        key = _from_base64(text)
    if key is None:
        raise SettingError(f"{where} is neither hex nor base64; write the key in one of them")
    if exact and len(key) != size:
        raise SettingError(
            f"{where} has {len(key)} bytes, an Ed25519 key has {size}; give the raw key, not a "
            "PEM file"
        )
    if len(key) < size:
        raise SettingError(
            f"{where} has {len(key)} bytes, an HMAC key has at least {size}; make a longer one, "
            f"for example with `openssl rand -hex {size}`"
        )
    return key


def _from_hex(text: str) -> bytes | None:
    try:
        return bytes.fromhex(text)
    except ValueError:
        return None


def _from_base64(text: str) -> bytes | None:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
