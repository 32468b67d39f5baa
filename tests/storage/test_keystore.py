"""The encrypted file of keys: opened by its passphrase alone, whole or not at all."""

import json
import stat
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from seawall.core.errors import SettingError, StoreError
from seawall.storage.keystore import KeyStore
from seawall.storage.secrets import EnvironmentSecrets, LayeredSecrets

PASSPHRASE = "correct horse battery"
SECRET = "hush-5ec2e7-hush"
QUICK = 1 << 10


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "keys.json"


def filled(path: Path) -> KeyStore:
    store = KeyStore(path, PASSPHRASE, QUICK)
    store.put({"binance-api-key": SECRET, "binance-api-secret": SECRET * 2})
    return store


def test_what_was_put_is_got_back_by_another_process(path: Path) -> None:
    filled(path)
    store = KeyStore(path, PASSPHRASE)
    assert store.names() == ["binance-api-key", "binance-api-secret"]
    assert store.get("binance-api-secret") == SECRET * 2
    assert store.get("kraken-api-key") is None
    store.remove(["binance-api-key", "none"])
    assert KeyStore(path, PASSPHRASE).names() == ["binance-api-secret"]


def test_the_file_is_its_owners_alone_and_shows_nothing(path: Path) -> None:
    store = filled(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [p.name for p in path.parent.iterdir()] == [path.name]
    text = path.read_text() + repr(store)
    assert SECRET not in text
    assert PASSPHRASE not in text
    assert "binance" not in text  # nor which exchanges
    path.chmod(0o644)
    with pytest.raises(StoreError, match="may be read by others"):
        KeyStore(path, PASSPHRASE)


def test_a_wrong_passphrase_is_one_line(path: Path) -> None:
    filled(path)
    with pytest.raises(SettingError, match=r"^the passphrase does not open .*keys\.json") as caught:
        KeyStore(path, PASSPHRASE + "x")
    assert caught.value.__cause__ is None
    with pytest.raises(SettingError, match="shorter than 8"):
        KeyStore(path, "short")


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(at=st.integers(0, 10_000), bit=st.integers(0, 6))
def test_no_altered_byte_gets_through(path: Path, at: int, bit: int) -> None:
    if not path.exists():
        filled(path)
    good = path.read_bytes()
    at %= len(good)
    bad = bytearray(good)
    bad[at] ^= 1 << bit
    path.write_bytes(bad)
    try:
        store = KeyStore(path, PASSPHRASE)
        assert store.get("binance-api-key") == SECRET  # white space may change what it is
    except (SettingError, StoreError):
        pass
    finally:
        path.write_bytes(good)


def test_a_file_that_asks_for_too_much_memory_is_not_opened(path: Path) -> None:
    filled(path)
    file = json.loads(path.read_text())
    path.write_text(json.dumps({**file, "work": 1 << 40}))
    with pytest.raises(StoreError, match="no file of keys"):
        KeyStore(path, PASSPHRASE)


def test_the_first_place_that_has_it_counts(path: Path) -> None:
    environment = {"SEAWALL_SECRET_BINANCE_API_KEY": "from the environment"}
    both = LayeredSecrets([EnvironmentSecrets(environment), filled(path)])
    assert both.get("binance-api-key") == "from the environment"
    assert both.get("binance-api-secret") == SECRET * 2
    assert both.get("nothing") is None
    assert SECRET not in repr(both)
