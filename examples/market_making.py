"""Make a market on a recorded tape: fit the formulas to its first third, quote on the rest.

    python examples/market_making.py TAPE [--model glft] [--risk 0.1] [--help]

A tape of one book with depth and trades; `seawall data import` makes one of recordings. Beside the
model quotes a naive market maker with the same spread that does not lean against what it holds.
"""

import argparse
import sys

from seawall.core.clock import SECOND
from seawall.core.errors import SeawallError
from seawall.ingestion.tape import open_tape
from seawall.lab.market_making.calibration import Calibration, calibrate
from seawall.lab.market_making.making import Outcome, Quoting, outcome_of, trade
from seawall.lab.market_making.quotes import MODELS, Quotes, quotes_of
from seawall.venues.simulated.exact import ExactShape, Feed, constant, feed_of
from seawall.venues.simulated.exact_state import OURS

MOST_ORDERS = 10  # that are held at most


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tape")
    parser.add_argument("--instrument", default="", help="needed where the tape has several")
    parser.add_argument("--model", default="glft", choices=MODELS)
    parser.add_argument("--risk", type=float, default=0.1, help="gamma, in parts of k")
    parser.add_argument("--lots", type=int, help="of an order; else the median trade's")
    parser.add_argument("--maker-fee", type=int, default=200, help="ppm; below 0 a rebate")
    parser.add_argument("--latency", type=float, default=5.0, help="ms, each way")
    return parser.parse_args()


def main() -> None:
    given = arguments()
    tape = open_tape(given.tape)
    feed = feed_of(tape.read(), tape.catalog, given.instrument, base_latency_ns=1_000_000)
    start, end = (int(feed.rows["ts"][OURS][k]) for k in (0, -1))
    split = start + (end - start) // 3
    fitted = calibrate(feed, split, SECOND // 10)
    form = quotes_of(given.model, fitted.market, given.risk * fitted.market.k)
    lots = given.lots or fitted.trade_lots
    quoting = Quoting(lots=lots, most=MOST_ORDERS * lots)
    latency = constant(*2 * [round(given.latency * 1_000_000)])
    shape = ExactShape(maker_fee_ppm=given.maker_fee)
    tell_market(feed, fitted, form, quoting, (end - split) / SECOND)
    naive = form._replace(skew=0.0, skew_rate=0.0)
    rows = [
        outcome_of(trade(feed, shape, latency, quotes, quoting, split), feed.instrument, split)
        for quotes in (form, naive)
    ]
    tell_outcomes((given.model, "naive"), rows, feed.instrument.settle_asset)


def tell_market(
    feed: Feed, fitted: Calibration, form: Quotes, quoting: Quoting, seconds: float
) -> None:
    market, instrument = fitted.market, feed.instrument
    left = quoting.horizon_ns / SECOND
    print(f"{instrument.name}: tick {instrument.tick}, lot {instrument.lot}")
    print(
        f"first third: sigma {market.sigma:.3g} ticks/√s, k {market.k:.3g} /tick, "
        f"A {market.rate:.3g} /s (the exponential explains {fitted.fit:.0%})"
    )
    print(
        f"quotes {quoting.lots} lots for {seconds:.0f} s, half spread "
        f"{form.half + form.half_rate * left / 2:.3g} ticks, "
        f"leaning {form.skew + form.skew_rate * left / 2:.3g} for each order held\n"
    )


def tell_outcomes(names: tuple[str, ...], outcomes: list[Outcome], asset: str) -> None:
    lines: list[tuple[str, str]] = [
        ("fills", "{.fills}"),
        ("lots traded", "{.lots}"),
        ("requests", "{.requests}"),
        ("lots held at the end", "{.position}"),
        ("most held", "{.furthest}"),
        ("typically held (rms)", "{.typical:.1f}"),
        (f"PnL before fees, {asset}", "{.gross:.6g}"),
        (f"fees, {asset}", "{.fees:.6g}"),
        (f"PnL after fees, {asset}", "{.net:.6g}"),
        ("its swing a second", "{.swing:.4g}"),
        ("maker fee that breaks even, ppm", "{.break_even_ppm:.0f}"),
    ]
    print(" " * 32 + "".join(f"{name:>20}" for name in names))
    for label, form in lines:
        print(f"{label:<32}" + "".join(f"{form.format(one):>20}" for one in outcomes))


if __name__ == "__main__":
    try:
        main()
    except SeawallError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
