"""The drawings of the campaign's report, as inline SVG: bars, heat maps, curves."""

import math
from collections.abc import Sequence
from html import escape
from typing import NamedTuple

RAMP = ("#eef4fb", "#cfe1f5", "#a3c7ec", "#6fa7de", "#3f83c8", "#2162a6", "#134378", "#0a2748")
DARK_FROM = 4  # of the ramp: white text from here on
MOST_SHOWN = 100.0


class Bar(NamedTuple):
    """One bar: its label, length and colour class, and a word on it for the pointer."""

    label: str
    value: float
    kind: str
    note: str


def figure(value: float | None) -> str:
    """Three digits, as people read them; a dash where there is none."""
    if value is None or math.isnan(value):
        return "–"
    if math.isinf(value):
        return "∞"
    if value == 0.0:
        return "0"
    if abs(value) >= 1e6:
        return f"{value:.0e}".replace("e+0", "e").replace("e+", "e")
    if abs(value) >= 100.0:
        return f"{value:,.0f}"
    if abs(value) >= 10.0:
        return f"{value:.1f}"
    if abs(value) >= 0.01:
        return f"{value:.2f}"
    return f"{value:.1e}".replace("e-0", "e-")


def bars(groups: Sequence[tuple[str, Sequence[Bar]]], most: float, logarithmic: bool) -> str:
    """Horizontal bars in groups, with a line at 1, the bound.

    most: the end of the axis. logarithmic: from 0.1 on; longer bars than MOST_SHOWN are cut.
    """
    left, width, row, gap = 190, 560, 17, 12
    end = min(most, MOST_SHOWN) if logarithmic else most

    def place(value: float) -> float:
        held = min(max(value, 0.0), end)
        if not logarithmic:
            return left + width * held / end
        return left + width * math.log10(max(held, 0.1) / 0.1) / math.log10(end / 0.1)

    parts, y = [], 24.0
    for name, entries in groups:
        middle = y + row * len(entries) / 2.0
        parts.append(f'<text class="name" x="0" y="{middle + 4:.1f}">{escape(name)}</text>')
        for bar in entries:
            x = place(bar.value)
            shown = f"over {MOST_SHOWN:g}" if bar.value > MOST_SHOWN else figure(bar.value)
            parts.append(
                f'<g><title>{escape(bar.note)}</title><text class="small" x="{left - 8}" '
                f'y="{y + 12:.1f}" text-anchor="end">{escape(bar.label)}</text>'
                f'<rect class="{bar.kind}" x="{left}" y="{y + 2:.1f}" rx="2" '
                f'width="{max(1.0, x - left):.1f}" height="{row - 4}"/>'
                f'<text class="value" x="{x + 5:.1f}" y="{y + 12:.1f}">{shown}</text></g>'
            )
            y += row
        y += gap
    one = place(1.0)
    ticks = (0.1, 1.0, 10.0, 100.0) if logarithmic else (0.0, 0.25, 0.5, 0.75, 1.0)
    axis = "".join(
        f'<line class="grid" x1="{place(t):.1f}" x2="{place(t):.1f}" y1="20" y2="{y - 6:.1f}"/>'
        f'<text class="small" x="{place(t):.1f}" y="{y + 8:.1f}" text-anchor="middle">{t:g}</text>'
        for t in ticks
        if t <= end and t != 1.0
    )
    bound = (
        f'<line class="bound" x1="{one:.1f}" x2="{one:.1f}" y1="16" y2="{y - 6:.1f}"/>'
        f'<text class="boundname" x="{one:.1f}" y="11" text-anchor="middle">the bound</text>'
    )
    return svg(left + width + 70, y + 14, axis + "".join(parts) + bound)


def heat(
    title: str,
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[Sequence[float | None]]],
    notes: Sequence[Sequence[str]],
) -> str:
    """A heat map whose cells hold several figures: the first is drawn, the page's script switches.

    values: (rows, columns, figures); notes: (rows, columns).
    """
    high, left, top = 20, 26, 34
    cell = max(34, min(60, 440 // max(1, len(columns))))
    parts = [f'<text class="name" x="0" y="13">{escape(title)}</text>']
    for at, name in enumerate(columns):
        x = left + cell * (at + 0.5)
        parts.append(f'<text class="small" x="{x}" y="29" text-anchor="middle">{name}</text>')
    for r, name in enumerate(rows):
        y = top + high * r
        parts.append(
            f'<text class="small" x="{left - 5}" y="{y + 14}" text-anchor="end">{name}</text>'
        )
        for c, note in enumerate(notes[r]):
            told = ",".join("" if v is None else f"{v:.4g}" for v in values[r][c])
            parts.append(
                f'<g class="cell" data-v="{told}"><title>{escape(note)}</title>'
                f'<rect x="{left + cell * c}" y="{y}" width="{cell - 1}" height="{high - 1}"/>'
                f'<text x="{left + cell * (c + 0.5) - 0.5}" y="{y + 13.5}"></text></g>'
            )
    return svg(left + cell * len(columns), top + high * len(rows), "".join(parts), "heat")


class Curve(NamedTuple):
    """A line: its name, colour class, and points."""

    name: str
    kind: str
    points: Sequence[tuple[float, float]]


def curves(
    lines: Sequence[Curve],
    title: tuple[str, str, str],
    ticks: tuple[Sequence[float], Sequence[float]],
    log_x: bool,
    mark: float | None = None,
) -> str:
    """Lines with their names beside their ends; axes from the first to the last tick.

    title: of the drawing, of the x and of the y axis. mark: an x to be marked as the threshold.
    """
    left, top, width, height = 46, 34, 400, 250
    (x0, x1), (y0, y1) = (ticks[0][0], ticks[0][-1]), (ticks[1][0], ticks[1][-1])

    def across(x: float) -> float:
        if log_x:
            held = min(max(x, x0), x1)
            return left + width * math.log(held / x0) / math.log(x1 / x0)
        return left + width * (min(max(x, x0), x1) - x0) / (x1 - x0)

    def down(y: float) -> float:
        return top + height * (1.0 - (min(max(y, y0), y1) - y0) / (y1 - y0))

    parts = [f'<text class="name" x="0" y="13">{escape(title[0])}</text>']
    parts += [
        f'<line class="grid" x1="{across(x):.1f}" x2="{across(x):.1f}" y1="{top}" '
        f'y2="{top + height}"/><text class="small" x="{across(x):.1f}" y="{top + height + 14}" '
        f'text-anchor="middle">{x:g}</text>'
        for x in ticks[0]
    ]
    parts += [
        f'<line class="grid" x1="{left}" x2="{left + width}" y1="{down(y):.1f}" '
        f'y2="{down(y):.1f}"/><text class="small" x="{left - 6}" y="{down(y) + 4:.1f}" '
        f'text-anchor="end">{y:.0%}</text>'
        for y in ticks[1]
    ]
    if mark is not None:
        parts.append(
            f'<line class="bound" x1="{across(mark):.1f}" x2="{across(mark):.1f}" y1="{top}" '
            f'y2="{top + height}"/><text class="boundname" x="{across(mark):.1f}" y="{top - 5}" '
            'text-anchor="middle">rejects from here</text>'
        )
    for at, line in enumerate(lines):
        path = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in line.points)
        y = top + 14 + 17 * at
        parts.append(
            f'<g><title>{escape(line.name)}</title><polyline class="line {line.kind}" '
            f'points="{path}"/><line class="line {line.kind}" x1="{left + width + 14}" '
            f'x2="{left + width + 32}" y1="{y - 4}" y2="{y - 4}"/>'
            f'<text class="small" x="{left + width + 38}" y="{y}">{escape(line.name)}</text></g>'
        )
    parts.append(
        f'<text class="small" x="{left + width / 2}" y="{top + height + 31}" '
        f'text-anchor="middle">{escape(title[1])}</text>'
        f'<text class="small" x="{left - 34}" y="{top - 8}">{escape(title[2])}</text>'
    )
    return svg(left + width + 165, top + height + 38, "".join(parts))


def svg(width: float, height: float, inside: str, kind: str = "") -> str:
    """A drawing of that size that shrinks with the page."""
    return (
        f'<svg class="{kind}" viewBox="0 0 {width:g} {height:g}" width="{width:g}" '
        f'height="{height:g}" role="img">{inside}</svg>'
    )
