"""Signed batches verified in ingestion: signature, number, marks, rows; one core."""

import hashlib
from collections.abc import Iterator

from benchmarks.measure import Bench, Floor, Result, repeat, same
from seawall.core.clock import MILLISECOND, SECOND
from seawall.core.events import EventFlag, EventKind, empty
from seawall.core.instruments import Catalog, Instrument, Kind, Source
from seawall.core.keys import HmacKey, SenderKey, SigningKey, SourceKey
from seawall.core.randomness import generator
from seawall.ingestion.signatures import Batch, Verifier, sign

START = 1_700_000_000 * SECOND
ROWS = 4  # in a batch: a small depth update
AT_ONCE = 256  # batches that a read gives
SECRET = bytes(range(32))
SIGNERS: dict[str, tuple[SenderKey, SourceKey, float]] = {
    "hmac-sha256": (HmacKey(SECRET), HmacKey(SECRET), 300_000),
    "ed25519": (SigningKey(SECRET), SigningKey(SECRET).verifying, 8_000),
}


def signatures(bench: Bench) -> Iterator[Result]:
    """Batches of a few rows from one source, by algorithm."""
    counts = {"hmac-sha256": 512, "ed25519": 64}
    if not bench.quick:
        counts = {"hmac-sha256": 200_000, "ed25519": 10_000}
    for algorithm, count in counts.items():
        yield _verifying(bench, algorithm, count)


def _verifying(bench: Bench, algorithm: str, count: int) -> Result:
    sender, key, floor = SIGNERS[algorithm]
    catalog = _catalog(algorithm)
    batches = [sign(one, sender) for one in _batches(count)]
    groups = [batches[at : at + AT_ONCE] for at in range(0, count, AT_ONCE)]

    def prepare() -> Verifier:
        return Verifier(catalog, {"v": key}, START)

    def work(verifier: Verifier) -> tuple[Verifier, bytes]:
        digest = hashlib.sha256()
        for group in groups:
            digest.update(verifier.verify(group).data)
        return verifier, digest.digest()

    def outcome(done: tuple[Verifier, bytes]) -> tuple[str, int]:
        verifier, digest = done
        return digest.hex(), verifier.counts()["v"]["signed"]

    timed = repeat(bench.runs, prepare, work, outcome)
    signed = {outcome[1] for outcome in timed.outcomes}
    note = same("rows", [outcome[0] for outcome in timed.outcomes])
    return Result(
        "signatures",
        f"batches verified, {algorithm}",
        f"{count:,} batches of {ROWS} rows, {AT_ONCE} at a time",
        "batches/s",
        timed.rates(count),
        timed.cpu_rate(count),
        (Floor(floor, "the issue"),),
        note=f"{note}, {'all good' if signed == {count} else 'NOT ALL GOOD'}",
    )


def _batches(count: int) -> Iterator[Batch]:
    """Depth updates of one book, a batch each 10 ms."""
    prices = generator(1, "benchmarks.signatures").integers(90_000, 110_000, (count, ROWS))
    rows = empty(ROWS)
    rows["kind"], rows["size"] = int(EventKind.DEPTH), 1
    rows["flags"][0], rows["flags"][-1] = int(EventFlag.BEGIN), int(EventFlag.END)
    for number in range(count):
        sent = START + number * 10 * MILLISECOND
        rows["exch_ts"], rows["sequence"], rows["previous"] = sent, number + 1, number
        rows["price"] = prices[number]
        yield Batch(
            source="v",
            number=number,
            sent=sent,
            payload=rows.tobytes(),
            received=sent + 5 * MILLISECOND,
        )


def _catalog(algorithm: str) -> Catalog:
    instrument = Instrument(
        venue="v", symbol="BTC/USD", kind=Kind.SPOT, base="BTC", quote="USD", tick="1", lot="0.001"
    )
    return Catalog(
        instruments=(instrument,),
        sources=(Source(name="v", venue="v", signature=algorithm),),
        books=((0, 0),),
    ).check()
