"""What trades cost at Alpaca, which takes a fee out of what a trade brings and says so a day later.

So it is measured: what the account should hold after its trades, less what it holds.
"""

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

Holdings = Mapping[str, Fraction]
MOST = Fraction(3, 1_000)  # of what a trade brings; no tier pays more than 25 basis points
DECIMALS = 9  # of an amount of Alpaca's


class Fees:
    """The account as it was when the last trades had been taken in."""

    def __init__(self) -> None:
        self._held: Holdings | None = None

    @property
    def watched(self) -> bool:
        """It is known what the account held before the next trade."""
        return self._held is not None

    def settle(self, trades: Iterable[dict[str, Any]], held: Holdings, rate: Fraction) -> None:
        """Give trades of ccxt's their fees.

        Where what is missing cannot be fees alone (the account was not watched before these
        trades, or something else came or went as well), each costs `rate`: what then differs is
        found when the books are compared.

        Args:
            held: asset -> amount with exactly these trades done, since the call before.
            rate: the account's fee as a share of what a trade brings.
        """
        brought: dict[str, list[tuple[dict[str, Any], Fraction]]] = {}
        expected = dict(self._held or {})
        for trade in trades:
            base, quote = str(trade["symbol"]).split("/")
            amount = Fraction(str(trade["amount"]))
            value = amount * Fraction(str(trade["price"]))
            gains, gain, pays, paid = (
                (base, amount, quote, value)
                if trade["side"] == "buy"
                else (quote, value, base, amount)
            )
            expected[gains] = expected.get(gains, Fraction()) + gain
            expected[pays] = expected.get(pays, Fraction()) - paid
            brought.setdefault(gains, []).append((trade, gain))
        for asset, parts in brought.items():
            total = sum((gain for _, gain in parts), Fraction())
            missing = expected[asset] - held.get(asset, Fraction())
            if self._held is None or not 0 <= missing <= MOST * total:
                missing = rate * total
            left = missing
            for trade, gain in parts[:-1]:
                share = _rounded(missing * gain / total)
                trade["fee"] = {"cost": _text(share), "currency": asset}
                left -= share
            parts[-1][0]["fee"] = {"cost": _text(_rounded(left)), "currency": asset}
        self._held = dict(held)


def _rounded(amount: Fraction) -> Fraction:
    """To Alpaca's digits, the nearest."""
    return Fraction(round(amount * 10**DECIMALS), 10**DECIMALS)


def _text(amount: Fraction) -> str:
    units = int(amount * 10**DECIMALS)
    return f"{units // 10**DECIMALS}.{units % 10**DECIMALS:0{DECIMALS}d}"
