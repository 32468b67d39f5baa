"""`seawall keys` as a user runs it: nothing is shown, and nothing is left lying about."""

from pathlib import Path

import pytest

from tests.cli.processes import Shell

PASSPHRASE = "a long passphrase"
KEY, SECRET = "key5ec2e7key", "hush5ec2e7hush"
GIVEN = {"SEAWALL_SECRET_KEYS_PASSPHRASE": PASSPHRASE}


@pytest.fixture
def shell(tmp_path: Path) -> Shell:
    return Shell(tmp_path)


def test_keys_are_added_listed_and_removed(shell: Shell, tmp_path: Path) -> None:
    added = shell("keys", "add", "binance", stdin=f"{KEY}\n{SECRET}\n", **GIVEN)
    assert added.code == 0, added.err
    assert added.out == "kept: binance-api-key, binance-api-secret\n"
    listed = shell("keys", "list", **GIVEN)
    assert listed.out == "binance-api-key\nbinance-api-secret\n"
    for said in (added, listed):
        assert KEY not in said.out + said.err
        assert SECRET not in said.out + said.err
    for path in tmp_path.rglob("*"):
        if path.is_file() and "__pycache__" not in path.parts:
            assert SECRET.encode() not in path.read_bytes(), path
            assert PASSPHRASE.encode() not in path.read_bytes(), path
    wrong = shell("keys", "list", SEAWALL_SECRET_KEYS_PASSPHRASE="another passphrase")
    assert (wrong.code, wrong.out) == (2, "")
    assert "does not open" in wrong.err
    assert wrong.err.count("\n") == 1
    removed = shell("keys", "remove", "binance", **GIVEN)
    assert removed.out == "removed: binance-api-key, binance-api-secret\n"
    again = shell("keys", "remove", "binance", **GIVEN)
    assert again.code == 2
    assert "no keys of binance are kept" in again.err


def test_without_a_passphrase_or_a_key_it_says_so(shell: Shell) -> None:
    none = shell("keys", "list")
    assert none.code == 2
    assert "SEAWALL_SECRET_KEYS_PASSPHRASE" in none.err
    empty = shell("keys", "add", "binance", stdin="\n", **GIVEN)
    assert empty.code == 2
    assert "no api key was given; nothing was kept" in " ".join(empty.err.split()).lower()
