"""What holds for every attack: own sources only, the order of time, sound messages, any split."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from seawall.admission import Admission, AdmissionShape
from seawall.admission import kernels as admission
from seawall.core.clock import MILLISECOND, SECOND
from seawall.core.errors import InvariantError, SettingError
from seawall.core.events import EventFlag, EventKind, Raw, ordered
from seawall.ingestion.inspection import inspect_rows
from seawall.lab.attacks import ATTACKS, Attack, attack_of, attacked
from seawall.lab.attacks.catalogue import TYPES
from tests.lab.attacks.markets import LAST, START, TAPE, Rows, books, market, of_book, of_source
from tests.tapes import COMPILED, bar, catalog_of, down, pieces_of, quote, tape

NAMES = [kind.name for kind in TYPES]
BEGINS, LASTS = (70, 50) if COMPILED else (3, 5)
LONG = {"after": f"{BEGINS}s", "duration": f"{LASTS}s"}
MORE = {
    "replayed_feed": {"length": "11" if COMPILED else "2"},
    "spoofing": {"lifetime": "2"},
    "mean_shift": {"share": "0.5", "samples": "8"},
    "data_poisoning": {"share": "0.5", "samples": "8"},
}


def words_of(name: str, **more: str) -> dict[str, str]:
    return LONG | MORE.get(name, {}) | more


def told(name: str, *blocks: Rows, broken: bool = False, **more: str) -> Raw:
    attack = attack_of(name, market(broken=broken)[0], words_of(name, **more), seed=3)
    return Raw(np.concatenate(list(attacked([Raw(block) for block in blocks], attack))))


def refusals(rows: Rows) -> Any:
    """(sources, reasons) rows that admission refuses."""
    one = Admission(market()[0], AdmissionShape())
    admission.run(one.state, rows, np.zeros(len(rows), np.uint8))
    return one.state.refused


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_only_own_rows_change_and_the_order_of_the_tape_stays(name: str, broken: bool) -> None:
    rows = market(broken=broken)[1]
    made = told(name, rows, broken=broken)
    assert made[made["source"] != LAST].tobytes() != b""
    members = (LAST - 1, LAST) if name == "colluding_sources" else (LAST,)
    others = ~np.isin(rows["source"], members)
    assert made[~np.isin(made["source"], members)].tobytes() == rows[others].tobytes()
    assert made.tobytes() != rows.tobytes()
    assert made.tobytes() == ordered(made).tobytes()
    before = rows["recv_ts"] < START + BEGINS * SECOND
    assert made[: before.sum()].tobytes() == rows[before].tobytes()


@settings(max_examples=6 if COMPILED else 1, deadline=None)
@given(cuts=st.lists(st.floats(0, 1), max_size=9), broken=st.booleans())
@pytest.mark.parametrize("name", NAMES)
def test_any_split_gives_the_same_bytes(name: str, cuts: list[float], broken: bool) -> None:
    rows = market(broken=broken)[1]
    pieces = pieces_of(rows, cuts)
    made = told(name, *pieces, broken=broken)
    assert made.tobytes() == told(name, rows, broken=broken).tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_row_by_row_gives_the_same_bytes(name: str) -> None:
    rows = market()[1]
    begin = int(np.searchsorted(rows["recv_ts"], START + (BEGINS - 1) * SECOND))
    narrow = [rows[k : k + 1] for k in range(begin, begin + 700)]
    blocks = [rows[:begin], *narrow, rows[begin + 700 :]]
    assert told(name, *blocks).tobytes() == told(name, rows).tobytes()


@settings(max_examples=3 if COMPILED else 1, deadline=None)
@given(cuts=st.lists(st.floats(0, 1), max_size=9))
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("source", ["sim-a", "sim-c"])
def test_sources_that_speak_at_once_keep_their_order(
    source: str, name: str, cuts: list[float]
) -> None:
    rows = market()[1].copy()
    rows["recv_ts"] -= rows["recv_ts"] % (100 * MILLISECOND)
    rows = ordered(rows)
    made = told(name, *pieces_of(rows, cuts), sources=source)
    assert made.tobytes() == ordered(made).tobytes()
    assert made.tobytes() == told(name, rows, sources=source).tobytes()


@pytest.mark.parametrize("broken", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_messages_stay_sound(name: str, broken: bool) -> None:
    catalog, rows = market(broken=broken)
    made = told(name, rows, broken=broken)
    for block, honest in zip(
        inspect_rows(catalog, [made]).books, inspect_rows(catalog, [rows]).books, strict=True
    ):
        assert block.duplicates == block.crossed == block.mismatches == 0
        assert block.sequence_breaks <= honest.sequence_breaks
    assert np.all(made["previous"][made["kind"] == EventKind.SNAPSHOT] == -1)
    flags = of_source(made)["flags"]
    begins, ends = (flags & EventFlag.BEGIN) > 0, (flags & EventFlag.END) > 0
    assert begins[0]
    assert np.array_equal(begins[1:], ends[:-1])


@pytest.mark.parametrize("name", NAMES)
def test_admission_finds_nothing_to_refuse(name: str) -> None:
    assert refusals(market()[1]).sum() == 0
    assert refusals(told(name, market()[1])).sum() == 0


def test_a_price_stays_a_price_however_far_it_is_moved() -> None:
    made = told("mean_shift", market()[1], offset="-1000000")
    own = of_source(made)
    assert np.all(own["price"][own["kind"] != EventKind.SNAPSHOT] > 0)
    assert refusals(made).sum() == 0
    touch = [(max(bids), min(asks)) for _, bids, asks in books(of_book(made, 8))]
    assert len({bid // 1_000_000 for bid, _ in touch}) > 1  # it has been moved


@pytest.mark.parametrize("name", [n for n in NAMES if n not in ("time_skew", "label_flipping")])
def test_when_it_is_over_the_truth_is_told_again(name: str) -> None:
    rows = market()[1]
    made = told(name, rows)
    for instrument in (8, 9):
        honest, after = (books(of_book(tape, instrument)) for tape in (rows, made))
        assert after[-1][1:] == honest[-1][1:]
        assert after[-1][0] == honest[-1][0]


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_attack(name: str) -> None:
    rows = market()[1]
    assert told(name, rows).tobytes() == told(name, rows).tobytes()


@pytest.mark.parametrize("name", ["quote_noise", "random", "colluding_sources", "label_flipping"])
def test_another_seed_gives_another_attack(name: str) -> None:
    catalog, rows = market()
    one, other = (attack_of(name, catalog, LONG, seed).apply(rows) for seed in (1, 2))
    assert one.tobytes() != other.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_the_others_alone_set_the_sigma_and_nothing_is_read_ahead(name: str) -> None:
    rows = market()[1]
    cut = len(rows) * 2 // 3
    made, begun = told(name, rows), told(name, rows[:cut])
    assert made[: len(begun)].tobytes() == begun.tobytes()


@pytest.mark.parametrize("name", NAMES)
def test_a_line_says_what_it_does(name: str) -> None:
    attack = attack_of(name, market()[0], LONG)
    assert attack.describe().startswith(f"{name} by sim-")
    assert "sim-e" in attack.describe()
    assert "\n" not in attack.describe() + attack.summary
    assert not attack.active(START + 60 * SECOND)
    attack.count_from(START)
    assert attack.active(attack.start)
    assert attack.active(attack.start + LASTS * SECOND - 1)
    assert not attack.active(attack.start + LASTS * SECOND)
    assert not attack.active(attack.start - 1)


def test_a_start_given_as_a_time_counts_as_it_is() -> None:
    catalog, rows = market()
    attack = attack_of("silence", catalog, {"start": str(START + 4 * SECOND), "duration": "2"})
    made = of_source(attack.apply(rows))["recv_ts"] - START
    assert not np.any((made >= 4 * SECOND) & (made < 6 * SECOND))
    assert np.any(made < 4 * SECOND)
    assert np.any(made >= 6 * SECOND)


def test_named_sources_attack_and_no_others() -> None:
    catalog, rows = market()
    attack = attack_of("silence", catalog, {"after": "1", "sources": "sim-b, sim-a"})
    made = attack.apply(rows)
    late = made[made["recv_ts"] > START + SECOND * 3 // 2]
    assert set(late["source"].tolist()) == {2, 3, 4}
    with pytest.raises(SettingError, match="no source 'sim-z'; choose from sim-a"):
        attack_of("silence", catalog, {"sources": "sim-z"})


class Overreach(Attack):
    """Touches what is not its own."""

    name = "overreach"

    def transform(self, rows: Rows) -> Rows:
        made = rows.copy()
        made["price"] += 1
        return made


class Disorder(Attack):
    """Sends own rows in the wrong order."""

    name = "disorder"

    def transform(self, rows: Rows) -> Rows:
        made = rows.copy()
        made["recv_ts"][self.own(rows)] -= 10 * SECOND
        return made


def test_an_attack_on_others_or_on_time_is_stopped() -> None:
    catalog, rows = market()
    for kind, what in ((Overreach, "not its own"), (Disorder, "order of time")):
        with pytest.raises(InvariantError, match=what):
            kind(catalog, kind.Told()).apply(rows)


@pytest.mark.parametrize("name", NAMES)
def test_ticks_and_strange_rows_pass(name: str) -> None:
    catalog, rows = market()
    strange = rows[:6].copy()
    strange["kind"] = [10, 0, 77, 1, 3, 2]
    strange["instrument"] = [0, 0, 0, 999, 60_000, 8]
    strange["source"] = [0, 0, LAST, LAST, 60_000, 60_000]
    mixed = np.concatenate([strange, rows])
    mixed["recv_ts"][:6] = rows["recv_ts"][0]
    attack = attack_of(name, catalog, words_of(name), seed=3)
    assert len(attack.apply(Raw(mixed))) >= 6


def bars_and_quotes(kind: str) -> tuple[Any, Raw]:
    """Three sources, 200 seconds of quotes or minutes of bars, a move of one tick at each."""
    span = 60 * SECOND if kind == "bars" else 0
    catalog = catalog_of(("USD",), ("USD",), ("USD",), bar_span=span)
    messages = []
    for n in range(1, 200):
        for source in range(3):
            where = (source, source)
            price = 100_000 + n % 7 * 3 + source
            if kind == "bars":
                prices = (price, price + 5, price - 5, price + 1)
                messages.append(bar(START + n * span, span, prices, 40, book=where))
            else:
                ts = START + n * SECOND
                messages.append(quote(ts, n, price, price + 2, book=where))
    messages.append(down(messages[-1]["recv_ts"][0], book=(2, 2)))
    return catalog, tape(*messages)


@pytest.mark.parametrize("kind", ["bars", "quotes"])
@pytest.mark.parametrize("name", NAMES)
def test_bars_and_quotes_stay_sound(name: str, kind: str) -> None:
    catalog, rows = bars_and_quotes(kind)
    unit = 60 if kind == "bars" else 1
    words = {"after": str(100 * unit), "duration": str(50 * unit)}
    if name == "replayed_feed":
        words["length"] = str(10 * unit)
    made = attack_of(name, catalog, words, seed=3).apply(rows)
    assert made[made["source"] != 2].tobytes() == rows[rows["source"] != 2].tobytes() or (
        name == "colluding_sources"
    )
    for book in inspect_rows(catalog, [made]).books:
        assert book.sequence_breaks == book.duplicates == book.mismatches == 0
    one = Admission(catalog, AdmissionShape())
    admission.run(one.state, made, np.zeros(len(made), np.uint8))
    assert one.state.refused.sum() == 0
    values = (
        "mean_shift",
        "data_poisoning",
        "slow_drift",
        "colluding_sources",
        "outlier_burst",
        "quote_noise",
    )
    if name in values:
        mine, true = (of_source(some, 2) for some in (made, rows))
        moved = mine["price"] - true["price"]
        group = np.split(moved[:-1], 199)
        assert all(len(set(part.tolist())) == 1 for part in group)  # a message moves as one
        assert np.all(moved[: 4 if kind == "bars" else 2] == 0)
        assert np.any(moved != 0)
    if name == "wash_trading" and kind == "bars":
        closes = of_source(made, 2)
        closes = closes[closes["kind"] == EventKind.BAR_CLOSE]
        assert set(closes["size"].tolist()) == {40, 57}


def test_every_name_of_the_registry_makes_an_attack() -> None:
    assert len(TYPES) == len(set(NAMES)) == 16
    assert set(NAMES) | {"boiling_frog"} == set(ATTACKS)
    assert TAPE > BEGINS + LASTS
