"""The page's sections on costs: where the money went, fills against the book, parent orders."""

import math
from collections.abc import Sequence
from html import escape
from typing import Any

import numpy as np

from seawall.execution.tca import PARTS, Analysis, Total, totals
from seawall.lab.tearsheet import charts
from seawall.lab.tearsheet.sheet import Costs, Sheet
from seawall.lab.tearsheet.words import length, moment, plain, share, signed

MOST_PARENTS = 200  # on the page
SHOWN = 12  # at once; the others on request
NAMED = {"timing": "schedule"}  # a part of the shortfall as a reader looks for it


def went(sheet: Sheet, costs: Costs) -> str:
    if not sheet.executions:
        return ""
    unit = sheet.numeraire
    traded = sum(one.value for one in sheet.executions)
    each = [
        ("spread", costs.spread, "from the mid to the touch when it was decided"),
        ("latency", costs.latency, "how far the touch had gone when the order arrived"),
        ("impact", costs.impact, "through the touch, deeper into the book"),
        ("fees", costs.fees, "of the exchange, less rebates"),
        ("funding", costs.funding, "of perpetual contracts, paid less received"),
    ]
    steps = [("gross", costs.gross, "had all been filled at the mid of its decision, free")]
    steps += [(name, -amount, words) for name, amount, words in each if amount]
    steps.append(("net", costs.net, "what is left"))
    rows = "".join(
        f"<tr><td>{name}</td><td>{plain(amount)}</td><td>{plain(amount / traded * 1e4)}</td>"
        f'<td class="words">{words}</td></tr>'
        for name, amount, words in each
        if amount or name != "funding"
    )
    total = costs.gross - costs.net
    rows += (
        f"<tr><td><b>all</b></td><td><b>{plain(total)}</b></td><td><b>"
        f'{plain(total / traded * 1e4)}</b></td><td class="words">of {plain(traded)} {unit} '
        "traded</td></tr>"
    )
    return (
        "<h2>Where it went</h2><p>From what holding and timing brought to what is left. A maker's "
        "fill earns spread; a cost below nought was earned.</p>"
        f'<div class="wide">{charts.waterfall(steps, unit)}</div><div class="wide"><table '
        f'class="list"><tr><th>cost</th><th>{escape(unit)}</th><th>bps of value</th><th></th></tr>'
        f"{rows}</table></div>"
    )


def fills(sheet: Sheet) -> str:
    if not sheet.executions:
        return ""
    weights = np.array([one.value for one in sheet.executions])
    slippage = np.array([one.slippage for one in sheet.executions])
    through = np.array([one.through for one in sheet.executions])
    rows = []
    for name, chosen in (("taker", False), ("maker", True)):
        mine = np.array([one.maker is chosen for one in sheet.executions])
        if not mine.any():
            continue
        delays = [o.ts - o.decided for o, m in zip(sheet.executions, mine, strict=True) if m]
        rows.append(
            f"<tr><td>{name}</td><td>{int(mine.sum()):,}</td><td>{plain(weights[mine].sum())}</td>"
            f"<td>{_mean(slippage[mine], weights[mine])}</td>"
            f"<td>{_quantile(slippage[mine], 0.95)}</td>"
            f"<td>{_mean(through[mine], weights[mine])}</td>"
            f"<td>{_quantile(through[mine], 0.95)}</td>"
            f"<td>{length(float(np.median(delays)))}</td></tr>"
        )
    return (
        "<h2>Fills against the book</h2><p>How much worse than the mid when it was decided, and "
        "than the touch at the moment of the fill. In basis points (bps, 0.01 %); means by "
        'value.</p><div class="two">'
        + charts.histogram("To the mid at the decision", slippage, weights, "bps")
        + charts.histogram("Through the touch at the fill", through, weights, "bps")
        + '</div><div class="wide"><table class="list"><tr><th></th><th>fills</th><th>value, '
        f"{escape(sheet.numeraire)}</th><th>to mid, mean</th><th>95 %</th><th>through touch, mean"
        "</th><th>95 %</th><th>decided to filled, median</th></tr>"
        f"{''.join(rows)}</table></div>"
    )


def _mean(values: Any, weights: Any) -> str:
    known = np.isfinite(values)
    total = weights[known].sum()
    return signed(float((values[known] * weights[known]).sum() / total)) if total > 0 else "–"


def _quantile(values: Any, at: float) -> str:
    known = values[np.isfinite(values)]
    return signed(float(np.quantile(known, at))) if len(known) else "–"


def parents(sheet: Sheet) -> str:
    """What each parent order cost against the mid at its decision, part by part."""
    if not sheet.parents:
        return ""
    lines = totals(sheet.parents)
    heads = "".join(f"<th>{name}</th>" for name in _heads())
    body = "".join(
        f'<tr><td class="left">{escape(_group(one))}</td><td>{one.parents:,}</td>'
        f"<td>{share(one.filled, 1)}</td>{_parts(one)}</tr>"
        for one in lines
    )
    unknown = sum(one.unknown for one in lines)
    words = f" {unknown:,} of unknown prices are left out of the means." if unknown else ""
    return (
        "<h2>Parent orders</h2><p>Implementation shortfall: how much worse than filled whole, "
        "free, at the mid of the decision (the arrival price). In bps of that value, above "
        f"nought is cost; means by value. Delay is the mid's way to the first order, schedule its "
        "way from there to each later one, spread half of it as each was sent, impact what was "
        f"paid beyond the touch, opportunity the way to the end of what was not filled.{words}</p>"
        f'<div class="wide"><table class="list"><tr><th class="left">instrument, strategy, schedule'
        f"</th><th>parents</th><th>filled</th>{heads}</tr>{body}</table></div>"
        f"{_each(sheet.parents)}"
    )


def _heads() -> tuple[str, ...]:
    return ("shortfall", *(NAMED.get(name, name) for name in PARTS))


def _group(one: Total) -> str:
    return ", ".join(part for part in (one.instrument, one.strategy, _schedule(one)) if part)


def _schedule(one: Total | Analysis) -> str:
    return one.algorithm.replace("_", " ") or "at once"


def _parts(one: Total | Analysis) -> str:
    cells = "".join(f"<td>{_bps(getattr(one, name))}</td>" for name in PARTS)
    return f"<td><b>{_bps(one.shortfall)}</b></td>{cells}"


def _bps(value: float) -> str:
    """Without a sign where it rounds to nought."""
    return plain(0.0) if abs(value) < 0.005 else signed(value)


def _each(found: Sequence[Analysis]) -> str:
    """The parents one by one, the last first."""
    heads = (
        '<th class="left">decided, UTC</th><th class="left">instrument</th><th class="left">side'
        '</th><th class="left">schedule</th><th>took</th><th>filled</th><th>arrival</th>'
        + "".join(f"<th>{name}</th>" for name in _heads())
        + "<th>average</th><th>to VWAP</th><th>to TWAP</th>"
    )

    def table(some: Sequence[Analysis]) -> str:
        body = "".join(
            f'<tr><td class="left">{moment(one.decided)}</td><td class="left">'
            f'{escape(one.instrument)}</td><td class="left">{escape(one.side)}</td>'
            f'<td class="left">{escape(_schedule(one))}</td>'
            f"<td>{length(one.ended - one.begun)}</td>"
            f"<td>{share(one.filled / one.lots if one.lots else math.nan, 0)}</td>"
            f"<td>{_price(one.arrival)}</td>{_parts(one)}"
            f"<td>{_price(one.average)}</td><td>{signed(one.against_vwap)}</td><td>{signed(one.against_twap)}</td></tr>"
            for one in some
        )
        return f'<div class="wide"><table class="list"><tr>{heads}</tr>{body}</table></div>'

    shown = list(reversed(found))[:MOST_PARENTS]
    some = f"The last {MOST_PARENTS} of {len(found):,}" if len(found) > len(shown) else "Each"
    cut = f"<p>{some}, the latest first:</p>"
    if len(shown) <= SHOWN + 3:
        return cut + table(shown)
    return (
        f"{cut}{table(shown[:SHOWN])}<details><summary>earlier parents "
        f"({len(shown) - SHOWN:,} more)</summary>{table(shown[SHOWN:])}</details>"
    )


def _price(value: float) -> str:
    return f"{value:,.7g}" if math.isfinite(value) else "–"
