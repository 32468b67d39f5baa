"""The still drawings of a tear sheet, as inline SVG: histograms, waterfall, parameter surface."""

import math
from collections.abc import Sequence
from html import escape

import numpy as np

from seawall.lab.campaign_charts import DARK_FROM, RAMP, figure, svg
from seawall.lab.tearsheet.sheet import Floats, Surface

BINS = 31
OUTSIDE = 0.02  # share of the values that may fall into the two outermost bins


def histogram(title: str, values: Floats, weights: Floats, unit: str) -> str:
    """How values are spread, by weight; a line at nought and one at the weighted mean.

    Bins are centred on nought; the two outermost hold what lies beyond them.
    """
    known = np.isfinite(values) & np.isfinite(weights)
    values, weights = values[known], weights[known]
    if not len(values) or not weights.sum() > 0:
        return f'<p class="none">{escape(title)}: the book is not known</p>'
    reach = float(np.quantile(np.abs(values), 1.0 - OUTSIDE)) or float(np.abs(values).max()) or 1.0
    width = _round(2.0 * reach / (BINS - 2))
    bins = np.clip(np.rint(values / width).astype(int), -(BINS // 2), BINS // 2) + BINS // 2
    shares = np.bincount(bins, weights=weights, minlength=BINS) / weights.sum()
    left, top, high, bar = 8, 40, 130, 15
    most = float(shares.max())
    parts = [f'<text class="name" x="0" y="13">{escape(title)}</text>']
    for at, share in enumerate(shares.tolist()):
        middle = (at - BINS // 2) * width
        kind = "total" if middle == 0 else "cost" if middle > 0 else "gain"
        tall = high * share / most
        end = " and beyond" if at in (0, BINS - 1) else ""
        parts.append(
            f"<g><title>{middle:+.3g} {unit}{end}: {share:.1%} of the value</title><rect "
            f'class="{kind}" x="{left + at * bar}" y="{top + high - tall:.1f}" width="{bar - 2}" '
            f'height="{max(tall, 0.6 if share else 0):.1f}" rx="1"/></g>'
        )
    parts += [
        f'<text class="small" x="{left + at * bar + bar / 2}" y="{top + high + 15}" '
        f'text-anchor="middle">{(at - BINS // 2) * width:+.3g}</text>'
        for at in range(0, BINS, 5)
    ]
    mean = float((values * weights).sum() / weights.sum())
    x = left + bar * (min(max(mean / width, -BINS / 2), BINS / 2) + BINS / 2)
    anchor = "end" if x > left + BINS * bar * 0.7 else "start"
    parts.append(
        f'<line class="zero" x1="{left}" x2="{left + BINS * bar}" y1="{top + high + 0.5}" '
        f'y2="{top + high + 0.5}"/><line class="middle" x1="{x:.1f}" x2="{x:.1f}" y1="{top - 8}" '
        f'y2="{top + high}"/><text class="value" x="{x + (-5 if anchor == "end" else 5):.1f}" '
        f'y="{top - 4}" text-anchor="{anchor}">mean {mean:+.2f} {unit}</text>'
    )
    parts.append(
        f'<text class="small" x="{left + BINS * bar / 2}" y="{top + high + 32}" '
        f'text-anchor="middle">{unit}, by value; right of nought is a cost</text>'
    )
    return svg(left + BINS * bar + 8, top + high + 38, "".join(parts))


def _round(width: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    power = 10.0 ** math.floor(math.log10(width))
    return next((step * power for step in (1, 2, 5) if step * power >= width), 10 * power)


def waterfall(steps: Sequence[tuple[str, float, str]], unit: str) -> str:
    """From the first amount to the last one, and what is taken or added between.

    steps: (name, amount, a word on it); the amounts between are signed, their sum leads from the
    first to the last.
    """
    if not all(math.isfinite(amount) for _, amount, _ in steps):
        return '<p class="none">The account is not known at both ends.</p>'
    left, right, row, top = 150, 96, 30, 6
    width = 560
    points, level = [0.0], 0.0
    spans: list[tuple[float, float]] = []
    for at, (_, amount, _) in enumerate(steps):
        total = at in (0, len(steps) - 1)
        start = 0.0 if total else level
        level = amount if total else level + amount
        spans.append((start, level))
        points.append(level)
    low, high = min(points), max(points)
    room = (high - low) or 1.0

    def across(value: float) -> float:
        return left + width * (value - low) / room

    parts = []
    for at, ((name, amount, note), (start, end)) in enumerate(zip(steps, spans, strict=True)):
        y = top + at * row
        total = at in (0, len(steps) - 1)
        kind = "total" if total else "gain" if amount > 0 else "cost"
        x, wide = across(min(start, end)), abs(across(end) - across(start))
        parts.append(
            f'<g><title>{escape(note)}</title><text x="{left - 12}" y="{y + 17}" '
            f'text-anchor="end">{escape(name)}</text><rect class="{kind}" x="{x:.1f}" y="{y + 3}" '
            f'width="{max(wide, 1.0):.1f}" height="{row - 10}" rx="2"/><text class="value" '
            f'x="{left + width + 10}" y="{y + 17}">{amount:+,.2f}</text></g>'
        )
        if at < len(steps) - 1:
            parts.append(
                f'<line class="link" x1="{across(end):.1f}" x2="{across(end):.1f}" '
                f'y1="{y + row - 7}" y2="{y + row + 3}"/>'
            )
    bottom = top + len(steps) * row
    parts.append(
        f'<line class="zero" x1="{across(0):.1f}" x2="{across(0):.1f}" y1="{top}" '
        f'y2="{bottom - 4}"/><text class="small" x="{left + width + 10}" y="{bottom + 10}">'
        f"{escape(unit)}</text>"
    )
    return svg(left + width + right, bottom + 16, "".join(parts))


def surface(found: Surface) -> str:
    """A heat map of results over two parameters."""
    values = found.values[np.isfinite(found.values)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    cell = max(30, min(64, 860 // max(1, len(found.column_values))))
    tall, left, top = 24, 96, 40
    parts = [
        f'<text class="small" x="{left}" y="12">{escape(found.columns)} across, '
        f"{escape(found.rows)} down</text>"
    ]
    for at, name in enumerate(found.column_values):
        parts.append(
            f'<text class="small" x="{left + cell * (at + 0.5)}" y="{top - 8}" '
            f'text-anchor="middle">{escape(name)}</text>'
        )
    for r, name in enumerate(found.row_values):
        y = top + tall * r
        parts.append(
            f'<text class="small" x="{left - 8}" y="{y + 16}" text-anchor="end">'
            f"{escape(name)}</text>"
        )
        for c, value in enumerate(found.values[r].tolist()):
            x = left + cell * c
            if not math.isfinite(value):
                parts.append(
                    f'<rect x="{x}" y="{y}" width="{cell - 1}" height="{tall - 1}" '
                    'fill="var(--card)"/>'
                )
                continue
            step = min(len(RAMP) - 1, int((value - low) / ((high - low) or 1.0) * len(RAMP)))
            ink = "#fff" if step >= DARK_FROM else "#16202b"
            parts.append(
                f"<g><title>{escape(found.rows)} {escape(name)}, {escape(found.columns)} "
                f'{escape(found.column_values[c])}: {value:.6g}</title><rect x="{x}" y="{y}" '
                f'width="{cell - 1}" height="{tall - 1}" fill="{RAMP[step]}"/><text '
                f'style="fill:{ink};font-size:10px" x="{x + cell / 2 - 0.5}" y="{y + 15.5}" '
                f'text-anchor="middle">{figure(value)}</text></g>'
            )
    wide, bottom = left + cell * len(found.column_values), top + tall * len(found.row_values)
    return svg(max(wide, 360), bottom + 4, "".join(parts))
