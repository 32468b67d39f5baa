"""Money is exact, and what must be rounded is rounded towards the venue."""

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from seawall.core.money import fee, text, units

AMOUNTS = st.integers(-(10**24), 10**24)


@pytest.mark.parametrize(
    ("value", "rate", "wanted"),
    [
        (1_000_000, 500, 500),
        (1_000_001, 500, 501),  # 500.0005
        (1, 1, 1),
        (0, 500, 0),
        (1_000_000, 0, 0),
        (-1_000_001, 500, 501),  # what is sold pays too
        (1_000_000, -100, -100),
        (1_000_001, -100, -100),  # -100.0001: no unit more than the venue would pay
        (9_999, -100, 0),
        (-9_999, -100, 0),
    ],
)
def test_a_fee_is_rounded_towards_the_venue(value: int, rate: int, wanted: int) -> None:
    assert fee(value, rate) == wanted


@given(AMOUNTS, st.integers(-10_000, 10_000))
def test_a_fee_is_never_less_than_exact_and_less_than_a_unit_more(value: int, rate: int) -> None:
    exact = Fraction(abs(value) * rate, 1_000_000)
    assert exact <= fee(value, rate) < exact + 1


@pytest.mark.parametrize(
    ("amount", "decimals", "wanted"),
    [
        (-12_000, 8, "-0.00012"),
        (100_000_000, 8, "1"),
        (0, 8, "0"),
        (120, 0, "120"),
        (1, 18, "0.000000000000000001"),
        (150_000_000, 8, "1.5"),
    ],
)
def test_amounts_are_written_plainly(amount: int, decimals: int, wanted: str) -> None:
    assert text(amount, decimals) == wanted


@given(AMOUNTS, st.integers(0, 18))
def test_a_written_amount_reads_back(amount: int, decimals: int) -> None:
    assert units(text(amount, decimals), decimals) == amount


def test_amounts_longer_than_the_decimal_context_keep_their_digits() -> None:
    amount = 10**30 + 1
    assert units(text(amount, 18), 18) == amount


def test_an_amount_finer_than_the_smallest_unit_is_refused() -> None:
    assert units("0.00000001", 8) == 1
    with pytest.raises(ValueError, match="finer than 8 decimals"):
        units("0.000000001", 8)


@pytest.mark.parametrize("wrong", ["", "a", "nan", "inf"])
def test_what_is_no_amount_is_refused(wrong: str) -> None:
    with pytest.raises(ValueError, match="Invalid literal"):
        units(wrong, 8)
