"""Keys: the published vectors, what is no key, and that none is ever shown."""

import base64
from collections.abc import Callable

import pytest

from seawall.core.errors import SettingError
from seawall.core.keys import HmacKey, SigningKey, VerifyingKey, signing_key, source_key

# RFC 4231, test case 6: a key of 131 bytes.
HMAC_KEY = b"\xaa" * 131
HMAC_MESSAGE = b"Test Using Larger Than Block-Size Key - Hash Key First"
HMAC_ANSWER = "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
# RFC 8032, 7.1, test 2.
PRIVATE = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb"
PUBLIC = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c"
ED25519_ANSWER = (
    "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
    "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
)


def test_hmac_gives_the_published_answer() -> None:
    key = HmacKey(HMAC_KEY)
    assert key.sign(HMAC_MESSAGE).hex() == HMAC_ANSWER
    assert key.verify(HMAC_MESSAGE, bytes.fromhex(HMAC_ANSWER))
    assert not key.verify(HMAC_MESSAGE + b".", bytes.fromhex(HMAC_ANSWER))
    assert not key.verify(HMAC_MESSAGE, b"")


def test_ed25519_gives_the_published_answer() -> None:
    private, public = SigningKey(bytes.fromhex(PRIVATE)), VerifyingKey(bytes.fromhex(PUBLIC))
    assert private.sign(b"\x72").hex() == ED25519_ANSWER
    assert private.verifying.public_bytes == public.public_bytes == bytes.fromhex(PUBLIC)
    assert public.verify(b"\x72", bytes.fromhex(ED25519_ANSWER))
    assert not public.verify(b"\x73", bytes.fromhex(ED25519_ANSWER))
    assert not public.verify(b"\x72", b"short")


@pytest.mark.parametrize("write", [bytes.hex, lambda key: base64.b64encode(key).decode() + "\n"])
def test_a_key_may_be_written_in_hex_or_base64(write: Callable[[bytes], str]) -> None:
    private = bytes.fromhex(PRIVATE)
    assert signing_key(write(private), "a key").sign(b"m") == SigningKey(private).sign(b"m")
    public = source_key("ed25519", write(bytes.fromhex(PUBLIC)), "a key")
    assert public.verify(b"\x72", bytes.fromhex(ED25519_ANSWER))
    assert source_key("hmac-sha256", write(HMAC_KEY), "a key").verify(
        HMAC_MESSAGE, bytes.fromhex(HMAC_ANSWER)
    )


@pytest.mark.parametrize(
    ("algorithm", "text", "message"),
    [
        ("hmac-sha256", "5ec2e7" * 10, "has 30 bytes, an HMAC key has at least 32"),
        ("ed25519", "5ec2e7" * 11, "has 33 bytes, an Ed25519 key has 32"),
        ("ed25519", "", "has 0 bytes"),
        ("hmac-sha256", "5ec2e7 is what I chose as my key!", "is neither hex nor base64"),
        ("ed25519", "5ec2e7-ü", "is neither hex nor base64"),
        ("rsa", "5ec2e7", "there is no signature 'rsa'"),
    ],
)
def test_what_is_no_key_is_refused_in_one_line_that_does_not_show_it(
    algorithm: str, text: str, message: str
) -> None:
    with pytest.raises(SettingError, match=message) as caught:
        source_key(algorithm, text, "the secret source-x")
    said = str(caught.value)
    assert said.startswith("the secret source-x")
    assert "5ec2e7" not in said
    assert "\n" not in said
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_short_hmac_key_is_no_key() -> None:
    with pytest.raises(ValueError, match="at least 32"):
        HmacKey(b"k" * 31)


@pytest.mark.parametrize("make", [HmacKey, SigningKey])
def test_a_key_shows_nothing_of_itself(make: Callable[[bytes], object]) -> None:
    secret = b"do-not-show-me-do-not-show-me-32"
    key = make(secret)
    for said in (repr(key), str(key), f"{key}", repr([key]), repr({"a": key})):
        assert "show" not in said
        assert secret.hex() not in said
