"""Golden sets: what is written is what is read, and nothing else is ever believed."""

from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.core.consensus import PANEL_WIDTH
from seawall.core.errors import DataError, StoreError
from seawall.core.keys import SigningKey
from seawall.core.randomness import generator
from seawall.gating import golden
from seawall.gating.golden import GoldenSet
from seawall.gating.reference import Reference, Rule, fit

KEY, STRANGER = SigningKey(bytes(range(32))), SigningKey(bytes(range(1, 33)))
SOURCES = ("a", "b", "c")
SECOND = 1_000_000_000


def reference(group: str = "BTC", rows: int = 512) -> Reference:
    """Of three sources that say the same with a little noise."""
    random = generator(7, "test.golden")
    common = random.standard_normal((rows, 1, PANEL_WIDTH))
    panel = common + 0.05 * random.standard_normal((rows, len(SOURCES), PANEL_WIDTH))
    return fit(group, SOURCES, panel, np.ones((rows, 3)), Rule(), False)


MADE = GoldenSet(references=(reference(), reference("ETH", 600)), cadence_ns=SECOND, made=123)
BYTES = golden.encode(MADE, KEY)


def read(data: bytes, key: SigningKey = KEY) -> GoldenSet:
    return golden.decode(data, key.verifying, "file")


def test_what_is_written_is_read_to_the_bit() -> None:
    again = read(BYTES)
    assert (again.made, again.cadence_ns) == (123, SECOND)
    for before, after in zip(MADE.references, again.references, strict=True):
        assert before.name == after.name
        for field in msgspec.structs.fields(Reference):
            one, two = getattr(before, field.name), getattr(after, field.name)
            if isinstance(one, np.ndarray):
                assert one.tobytes() == two.tobytes(), field.name
            else:
                assert one == two, field.name
    assert golden.encode(again, KEY) == BYTES


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(BYTES) - 1), st.integers(1, 255))
def test_no_byte_can_be_changed(at: int, by: int) -> None:
    altered = bytearray(BYTES)
    altered[at] ^= by
    try:
        found = read(bytes(altered))
    except DataError:
        return
    # the signer's key is in the header for the message's sake; all that counts is signed
    assert golden.encode(found, KEY) == BYTES


@settings(max_examples=100, deadline=None)
@given(st.integers(0, len(BYTES) - 1))
def test_no_part_is_taken_for_the_whole(length: int) -> None:
    with pytest.raises(DataError, match="no golden set, or was cut short"):
        read(BYTES[:length])


def test_a_strangers_signature_is_refused_and_told_from_an_alteration() -> None:
    with pytest.raises(DataError, match="was signed with another key"):
        read(golden.encode(MADE, STRANGER))
    file = msgspec.msgpack.decode(BYTES)
    poisoned = file["body"].replace(b"BTC", b"BTD", 1)
    with pytest.raises(DataError, match="was altered after it was signed"):
        read(msgspec.msgpack.encode({**file, "body": poisoned}))


def test_another_version_is_refused() -> None:
    file = msgspec.msgpack.decode(BYTES)
    with pytest.raises(DataError, match="of version 2, this program reads 1"):
        read(msgspec.msgpack.encode({**file, "version": 2}))


def signed(change: dict[str, object]) -> bytes:
    """A file whose body was changed before it was signed."""
    file = msgspec.msgpack.decode(BYTES)
    body = msgspec.msgpack.encode({**msgspec.msgpack.decode(file["body"]), **change})
    return msgspec.msgpack.encode(
        {**file, "body": body, "signature": KEY.sign(golden.DOMAIN + body)}
    )


def test_other_features_are_refused() -> None:
    assert read(signed({})).made == 123
    with pytest.raises(DataError, match="was made for other features"):
        read(signed({"features": ["return", "colour"]}))
    with pytest.raises(DataError, match="was made for other features"):
        read(signed({"reference_version": 99}))


def test_numbers_that_do_not_fit_together_are_refused() -> None:
    body = msgspec.msgpack.decode(msgspec.msgpack.decode(BYTES)["body"])
    one = body["references"][0]
    for wrong in (
        {**one, "rows": 10**9},
        {**one, "rows": 511},
        {**one, "arrays": {**one["arrays"], "scale": [[1], bytes(8)]}},
        {**one, "arrays": {**one["arrays"], "tail": [[], b""], "usual": [[3, 10], b""]}},
    ):
        with pytest.raises(DataError, match="has not the shape"):
            read(signed({"references": [wrong]}))
    shape, data = one["arrays"]["mean"]
    infinite = [shape, np.full(len(data) // 8, np.inf).tobytes()]
    with pytest.raises(DataError, match="mean of BTC is not finite"):
        read(signed({"references": [{**one, "arrays": {**one["arrays"], "mean": infinite}}]}))


def test_it_fits_the_market_that_it_was_made_on_and_no_other() -> None:
    groups = {"BTC": SOURCES, "SOL": ("x",)}
    fitting = golden.fitting(MADE, groups, SECOND, Rule(), "file")
    assert list(fitting) == ["BTC"]
    with pytest.raises(DataError, match="was measured on a, b, c and this market has a, c"):
        golden.fitting(MADE, {"BTC": ("a", "c")}, SECOND, Rule(), "file")
    with pytest.raises(DataError, match="every 1000 ms and this run measures every 100 ms"):
        golden.fitting(MADE, groups, SECOND // 10, Rule(), "file")
    with pytest.raises(DataError, match=r"for 1 hostile source\(s\) and gating.faulty is 2"):
        golden.fitting(MADE, groups, SECOND, Rule(faulty=2), "file")


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    file = tmp_path / "deep" / "set.golden"
    golden.save(file, MADE, KEY)
    assert file.read_bytes() == BYTES
    assert golden.load(file, KEY.verifying).made == 123
    assert [path.name for path in file.parent.iterdir()] == ["set.golden"]
    (tmp_path / "plain").write_text("")
    with pytest.raises(StoreError, match="cannot write the golden set"):
        golden.save(tmp_path / "plain" / "set.golden", MADE, KEY)
    with pytest.raises(DataError, match=r"cannot read the golden set .*: no such file"):
        golden.load(tmp_path / "missing", KEY.verifying)
