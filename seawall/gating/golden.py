"""Golden sets: trusted references in a file, signed, so that nobody can change what "normal" is.

Encoding and verification are pure; a file is written whole or not at all, and one that was altered,
cut short, signed by somebody else or made for another version or layout is refused.
"""

import math
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec
import numpy as np
from numpy.typing import NDArray

from seawall.core.consensus import FEATURES, PANEL_WIDTH, WIDTH
from seawall.core.errors import DataError, StoreError
from seawall.core.keys import SigningKey, VerifyingKey
from seawall.gating.reference import VERSION as REFERENCE_VERSION
from seawall.gating.reference import Limits, Reference, Rule

Array = NDArray[np.float64]
MAGIC = "seawall golden set"
VERSION = 1
DOMAIN = b"seawall golden set 1\0"  # no signature made for another purpose is good here
LARGEST = 1 << 28  # bytes of a file
MOST_SOURCES = 60
MOST_ROWS = 1 << 20


class _Numbers(msgspec.Struct, frozen=True, array_like=True):
    """An array: its shape and its little-endian float64 bytes."""

    shape: tuple[int, ...]
    data: bytes


class _Stored(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A reference in plain values."""

    group: str
    sources: tuple[str, ...]
    rows: int
    rule: Rule
    tail: float
    limits: Limits
    judged: dict[str, float]
    arrays: dict[str, _Numbers]


class _Body(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is signed. made: ns UTC of the last row. cadence_ns: of its rows."""

    reference_version: int
    features: tuple[str, ...]
    cadence_ns: int
    made: int
    references: tuple[_Stored, ...]


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The file: header, body, signature over DOMAIN and body."""

    magic: str
    version: int
    key: bytes  # the public key of who signed it, for the message only
    body: bytes
    signature: bytes


class GoldenSet(msgspec.Struct, frozen=True, kw_only=True):
    """References of groups, measured at one cadence (ns); `made`: ns UTC of their last row."""

    references: tuple[Reference, ...]
    cadence_ns: int
    made: int


def encode(golden: GoldenSet, key: SigningKey) -> bytes:
    """The bytes of a file; the same for the same golden set and key."""
    body = msgspec.msgpack.encode(
        _Body(
            reference_version=REFERENCE_VERSION,
            features=FEATURES,
            cadence_ns=golden.cadence_ns,
            made=golden.made,
            references=tuple(_stored(reference) for reference in golden.references),
        )
    )
    return msgspec.msgpack.encode(
        _File(
            magic=MAGIC,
            version=VERSION,
            key=key.verifying.public_bytes,
            body=body,
            signature=key.sign(DOMAIN + body),
        )
    )


def decode(data: bytes, key: VerifyingKey, where: str) -> GoldenSet:
    """The golden set of `encode`'s bytes.

    Args:
        where: what messages call the bytes.

    Raises:
        DataError: no golden set, of another version or other features, not signed with `key`,
            altered, cut short, or its numbers do not fit together.
    """
    try:
        file = msgspec.msgpack.decode(data, type=_File)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise DataError(
            f"{where}: is no golden set, or was cut short; make it again with `seawall calibrate "
            "reference`"
        ) from None
    if file.magic != MAGIC or file.version != VERSION:
        raise DataError(
            f"{where}: is a golden set of version {file.version}, this program reads {VERSION}; "
            "make it again with `seawall calibrate reference`"
        )
    if not key.verify(DOMAIN + file.body, file.signature):
        foreign = file.key != key.public_bytes
        why = "was signed with another key" if foreign else "was altered after it was signed"
        raise DataError(f"{where}: {why}; it is not trusted, make it again or bring the right one")
    try:
        body = msgspec.msgpack.decode(file.body, type=_Body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise DataError(f"{where}: its contents cannot be read; make it again") from None
    if body.reference_version != REFERENCE_VERSION or body.features != FEATURES:
        raise DataError(
            f"{where}: was made for other features ({', '.join(body.features)}); make it again "
            "with `seawall calibrate reference`"
        )
    return GoldenSet(
        references=tuple(_reference(stored, where) for stored in body.references),
        cadence_ns=body.cadence_ns,
        made=body.made,
    )


def save(path: Path, golden: GoldenSet, key: SigningKey) -> None:
    """Write a file, whole or not at all; an older one is replaced.

    Raises:
        StoreError: it cannot be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("wb") as file:
            file.write(encode(golden, key))
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        raise StoreError(
            f"cannot write the golden set {path}: {(error.strerror or 'unknown').lower()}; choose "
            "another file with --out"
        ) from None
    finally:
        with suppress(OSError):
            draft.unlink()


def load(path: Path, key: VerifyingKey) -> GoldenSet:
    """Read a file; DataError as `decode`, or where it cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise DataError(
            f"cannot read the golden set {path}: {(error.strerror or 'unknown').lower()}; make one "
            "with `seawall calibrate reference`"
        ) from None
    if len(data) > LARGEST:
        raise DataError(f"{path}: is too large for a golden set; give another file")
    return decode(data, key, str(path))


def fitting(
    golden: GoldenSet,
    groups: Mapping[str, Sequence[str]],
    cadence_ns: int,
    rule: Rule,
    where: str,
) -> dict[str, Reference]:
    """The references by group, for a market of these groups (name → sources in order).

    Raises:
        DataError: it was measured on other sources, at another cadence or by another rule.
    """
    if golden.cadence_ns != cadence_ns:
        raise DataError(
            f"{where}: was measured every {golden.cadence_ns / 1e6:g} ms and this run measures "
            f"every {cadence_ns / 1e6:g} ms; calibrate with the same cadence"
        )
    found = {}
    for reference in golden.references:
        if reference.group not in groups:
            continue
        sources = tuple(groups[reference.group])
        if reference.sources != sources:
            raise DataError(
                f"{where}: {reference.group} was measured on {', '.join(reference.sources)} and "
                f"this market has {', '.join(sources)}; calibrate on a tape of these sources"
            )
        if reference.rule != rule:
            raise DataError(
                f"{where}: was fitted for {reference.rule.faulty} hostile source(s) and "
                f"gating.faulty is {rule.faulty}; calibrate again"
            )
        found[reference.group] = reference
    return found


def _shapes(rows: int, sources: int) -> dict[str, tuple[int, ...]]:
    return {
        "centre": (WIDTH,),
        "scale": (WIDTH,),
        "mean": (WIDTH,),
        "covariance": (WIDTH, WIDTH),
        "ridge": (WIDTH,),
        "shape": (WIDTH, WIDTH),
        "golden": (rows, WIDTH),
        "usual": (sources, PANEL_WIDTH),
        "noise": (sources, PANEL_WIDTH),
        "spread": (PANEL_WIDTH,),
        "weight": (PANEL_WIDTH,),
    }


def pack(reference: Reference) -> bytes:
    """A reference by itself, unsigned, as a journal keeps a provisional one."""
    return msgspec.msgpack.encode(_stored(reference))


def unpack(data: bytes, where: str) -> Reference:
    """The provisional reference of `pack`; DataError where the bytes are none."""
    try:
        stored = msgspec.msgpack.decode(data, type=_Stored)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise DataError(f"{where}: is no reference; the journal is damaged") from None
    return msgspec.structs.replace(_reference(stored, where), provisional=True)


def _stored(reference: Reference) -> _Stored:
    arrays: dict[str, _Numbers] = {}
    for name in _shapes(reference.rows, len(reference.sources)):
        array = np.ascontiguousarray(getattr(reference, name), dtype="<f8")
        arrays[name] = _Numbers(array.shape, array.tobytes())
    return _Stored(
        group=reference.group,
        sources=reference.sources,
        rows=reference.rows,
        rule=reference.rule,
        tail=reference.tail,
        limits=reference.limits,
        judged=dict(sorted(reference.judged.items())),
        arrays=arrays,
    )


def _reference(stored: _Stored, where: str) -> Reference:
    shapes = _shapes(stored.rows, len(stored.sources))
    sized = 0 < stored.rows <= MOST_ROWS and 0 < len(stored.sources) <= MOST_SOURCES
    arrays: dict[str, Array] = {}
    for name, shape in shapes.items():
        numbers = stored.arrays.get(name)
        good = sized and numbers is not None and numbers.shape == shape
        if not good or numbers is None or len(numbers.data) != 8 * math.prod(shape):
            raise DataError(f"{where}: {name} of {stored.group} has not the shape {shape}")
        array = np.frombuffer(numbers.data, "<f8").astype(np.float64).reshape(shape)
        if not np.isfinite(array).all():
            raise DataError(f"{where}: {name} of {stored.group} is not finite; make it again")
        arrays[name] = array
    return Reference(
        group=stored.group,
        sources=stored.sources,
        rows=stored.rows,
        provisional=False,
        rule=stored.rule,
        tail=stored.tail,
        limits=stored.limits,
        judged=stored.judged,
        **arrays,
    )
