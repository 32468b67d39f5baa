"""The page: one HTML file with its style, its script and its data inside."""

import math
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import Any

import msgspec
import numpy as np

from seawall.core.clock import MILLISECOND, SECOND
from seawall.lab.report_style import STYLE
from seawall.lab.research.performance import drawdowns
from seawall.lab.tearsheet import charts
from seawall.lab.tearsheet.costs import fills, parents, went
from seawall.lab.tearsheet.sheet import (
    Costs,
    Figures,
    Sheet,
    Trip,
    costs_of,
    figures_of,
    periods_of,
    rolling_of,
    thinned,
    trips_of,
)
from seawall.lab.tearsheet.words import length, moment, money, plain, share, signed, tone

POINTS = 2_400  # of a line, at most
MOST_LISTED = 10_000  # trades on the page
MOST_MARKED = 25_000  # fills on the charts
MOST_INCIDENTS = 200
LISTED = 12  # incidents and reasons shown at once; the others on request
EVERY = {86_400: "daily", 3_600: "hourly"}


def page(sheet: Sheet) -> str:
    """The whole page."""
    trips = trips_of(sheet.executions, sheet.open_marks)
    figures, costs = figures_of(sheet, trips), costs_of(sheet)
    parts = [
        _head(sheet, figures),
        _tiles(sheet, figures, costs),
        _charts(sheet),
        _calendar(sheet),
        _sleeves(sheet),
        went(sheet, costs),
        fills(sheet),
        parents(sheet),
        _trips(sheet, trips),
        _refused(sheet),
        _surface(sheet),
        _ending(sheet),
    ]
    own = files("seawall.lab.tearsheet")
    style = STYLE + own.joinpath("page.css").read_text(encoding="utf-8")
    script = own.joinpath("page.js").read_text(encoding="utf-8")
    data = msgspec.json.encode(_data(sheet, trips)).decode().replace("<", "\\u003c")
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>Seawall: {escape(sheet.title)}</title><style>{style}</style></head>"
        f'<body><main>{"".join(parts)}</main><script id="data" type="application/json">{data}'
        f"</script><script>{script}</script></body></html>\n"
    )


# --- the sections ---


def _head(sheet: Sheet, figures: Figures) -> str:
    ts = sheet.track.ts
    when = "nothing was seen"
    if len(ts):
        first, last = int(ts[0]), int(ts[-1])
        when = f"{moment(first)} to {moment(last)} UTC, {length(last - first)}"
    gain = figures.total_return
    words = "The result is not known"
    if math.isfinite(gain):
        words = (
            f'<span class="{tone(gain)}">{signed(gain * 100)} %</span> after all costs, largest '
            f"fall {share(figures.max_drawdown)}"
        )
    about = "".join(
        f"<br>{escape(name)}: {escape(value if len(value) < 160 else value[:157] + '…')}"
        for name, value in sheet.about
    )
    return f'<h1>{escape(sheet.title)}</h1><p class="lead">{words}</p><p>{when}{about}</p>'


def _tiles(sheet: Sheet, figures: Figures, costs: Costs) -> str:
    unit = escape(sheet.numeraire)
    known = sheet.track.equity[np.isfinite(sheet.track.equity)]
    end = float(known[-1]) if len(known) else math.nan
    step = EVERY.get(figures.step // SECOND, length(figures.step))
    paid = costs.gross - costs.net
    tiles = [
        (money(figures.gain, "+"), f"{unit} profit after costs", tone(figures.gain)),
        (money(end), f"{unit} equity at the end", ""),
        (share(figures.annual_return, 1), "a year, compounded", ""),
        (plain(figures.sharpe), f"Sharpe ratio a year, {step} returns", ""),
        (plain(figures.sortino), "Sortino ratio a year", ""),
        (share(figures.volatility, 1), "volatility a year", ""),
        (share(figures.max_drawdown), "largest fall from a peak", ""),
        (length(figures.longest_drawdown), "longest time below a peak", ""),
        (share(figures.cvar, 3), f"mean loss of the worst 5 % of {step} returns", ""),
        (share(figures.exposure, 1), "of equity exposed, on average", ""),
        (f"{plain(figures.turnover, 1)} ×", "the capital was traded", ""),
        (money(paid), f"{unit} of costs", ""),
        (f"{len(sheet.executions):,}", f"fills of {sheet.orders:,} orders", ""),
        (
            f"{figures.trips:,}",
            "round trips" + (f", {length(figures.held)} each" if figures.trips else ""),
            "",
        ),
        (share(figures.won, 1), "of round trips won", ""),
        (plain(figures.profit_factor), "profit factor: won over lost", ""),
    ]
    drawn = "".join(  # what is not known is left out
        f'<div class="tile"><b class="{tone}">{value}</b><span>{words}</span></div>'
        for value, words, tone in tiles
        if value != "–"
    )
    return f'<div class="tiles">{drawn}</div>'


def _charts(sheet: Sheet) -> str:
    names = list(sheet.prices)
    buttons = ""
    if len(names) > 1:
        buttons = "".join(
            f'<button data-instrument="{at}" aria-pressed="{str(at == 0).lower()}">'
            f"{escape(name)}</button>"
            for at, name in enumerate(names)
        )
    return (
        f'<div class="panel"><div class="bar">{buttons}<button id="all" hidden>show all</button>'
        '<span class="hint">▲ bought, ▼ sold</span></div>'
        '<canvas id="charts" role="img" aria-label="price with fills, equity, drawdown, exposure, '
        'rolling figures"></canvas><div id="readout"></div></div>'
        "<noscript><p>The charts and the list of trades need the browser's script; all other "
        "figures are here.</p></noscript>"
    )


def _calendar(sheet: Sheet) -> str:
    cell, columns, rows = periods_of(sheet.track)
    found = [v for row in rows.values() for v in row.values() if math.isfinite(v)]
    if not found:
        return ""
    used = [c for c in columns if any(c in row for row in rows.values())]
    columns = columns if len(rows) > 1 and len(used) > 6 else used
    most = max(abs(v) for v in found) or 1.0
    digits = 1 if most >= 0.05 else 2 if most >= 0.001 else 3
    lines = []
    for name, row in rows.items():
        whole = math.prod(1.0 + v for v in row.values() if math.isfinite(v)) - 1.0
        cells = "".join(_cell(row.get(column), most, digits) for column in columns)
        lines.append(
            f'<tr><td class="row">{name}</td>{cells}<td class="sum {tone(whole)}">'
            f"{signed(whole * 100, digits)}</td></tr>"
        )
    heads = "".join(f"<th>{column}</th>" for column in columns)
    return (
        f"<h2>Returns by {cell}</h2><p>In per cent of the equity at the beginning of each, after "
        'costs.</p><div class="wide"><table class="calendar"><tr><th class="row"></th>'
        f"{heads}<th>all</th></tr>{''.join(lines)}</table></div>"
    )


def _cell(value: float | None, most: float, digits: int) -> str:
    if value is None or not math.isfinite(value):
        return "<td></td>"
    strength = round(min(1.0, abs(value) / most) ** 0.7 * 55)
    colour = "--good" if value > 0 else "--bad"
    shade = f"background:color-mix(in srgb,var({colour}) {strength}%,transparent)"
    return f'<td style="{shade}">{signed(value * 100, digits)}</td>'


def _sleeves(sheet: Sheet) -> str:
    if len(sheet.sleeves) < 2:
        return ""
    unit = escape(sheet.numeraire)
    heads = ("strategy", f"PnL, {unit}", f"fees, {unit}", f"funding, {unit}", "fills", "transfers")
    head = "".join(f"<th>{name}</th>" for name in heads)
    rows = "".join(
        f'<tr><td class="left">{escape(each.name)}</td><td>{signed(each.pnl)}</td>'
        f"<td>{plain(each.fees)}</td><td>{plain(each.funding)}</td><td>{each.fills:,}</td>"
        f"<td>{each.transfers:,}</td></tr>"
        for each in sheet.sleeves
    )
    return (
        "<h2>Strategies</h2><p>Each has a ledger of its own; they add up to the account. A "
        "transfer is what one sold to another at the middle, without an order.</p>"
        f'<div class="wide"><table class="list"><tr>{head}</tr>{rows}</table></div>'
    )


def _trips(sheet: Sheet, trips: Sequence[Trip]) -> str:
    if not trips:
        return '<h2>Round trips</h2><p class="none">Nothing was traded.</p>'
    heads = (
        '<th data-key="0" aria-sort="ascending">opened, UTC</th><th class="left">instrument</th>'
        '<th class="left">side</th><th>quantity</th><th>entry</th><th>exit</th>'
        '<th data-key="2">held</th><th>fills</th>'
        f'<th>fees, {escape(sheet.numeraire)}</th><th data-key="1">PnL, '
        f"{escape(sheet.numeraire)}</th><th>bps</th>"
    )
    cut = ""
    if len(trips) > MOST_LISTED:
        cut = f" The last {MOST_LISTED:,} of {len(trips):,} are listed."
    pager = (
        '<div class="pager"><button id="before">earlier</button><button id="after">later</button>'
        '<span id="where"></span></div>'
        if len(trips) > 25
        else ""
    )
    return (
        "<h2>Round trips</h2><p>From flat, or a turn, to flat or the next turn; what still stands "
        f"is valued at the last price. A click shows it on the chart.{cut}</p>"
        f'<div class="wide"><table class="list"><thead><tr>{heads}</tr></thead>'
        f'<tbody id="trips"></tbody></table></div>{pager}'
    )


def _refused(sheet: Sheet) -> str:
    parts = ["<h2>Refusals and incidents</h2>"]
    intents = f"{sheet.intents:,} intents, {sheet.approved:,} approved, {sheet.orders:,} orders."
    decided = ", ".join(f"{n:,} {name}" for name, n in sorted(sheet.decisions.items()))
    reviewed = f" Reviews of the models: {decided}." if decided else ""
    parts.append(f"<p>{intents}{reviewed}</p>")
    if sheet.refusals:
        parts.append(
            _listed(
                ("refused by", "times", "why"),
                [(who, f"{count:,}", why) for who, why, count in sheet.refusals],
                "all reasons",
            )
        )
    else:
        parts.append('<p class="none">Nothing was refused.</p>')
    shown = sheet.incidents[::-1]
    if len(shown) > MOST_INCIDENTS:
        parts.append(f"<p>The last {MOST_INCIDENTS} of {len(shown):,} incidents:</p>")
        shown = shown[:MOST_INCIDENTS]
    if shown:
        rows = [(moment(one.ts), one.kind, one.text) for one in shown]
        parts.append(_listed(("UTC", "kind", "what happened"), rows, "earlier incidents"))
    return "".join(parts)


def _listed(heads: Sequence[str], rows: Sequence[Sequence[str]], others: str) -> str:
    """A table of which the first rows are shown at once."""

    def table(some: Sequence[Sequence[str]]) -> str:
        body = "".join(
            f'<tr><td class="left">{escape(first)}</td><td class="left kind-{escape(second)}">'
            f'{escape(second)}</td><td class="words">{escape(third)}</td></tr>'
            for first, second, third in some
        )
        head = "".join(f'<th class="left">{name}</th>' for name in heads)
        return f'<div class="wide"><table class="list"><tr>{head}</tr>{body}</table></div>'

    if len(rows) <= LISTED + 3:
        return table(rows)
    return (
        f"{table(rows[:LISTED])}<details><summary>{others} ({len(rows) - LISTED:,} more)"
        f"</summary>{table(rows[LISTED:])}</details>"
    )


def _surface(sheet: Sheet) -> str:
    found = sheet.surface
    if found is None:
        return ""
    return (
        f"<h2>Parameter surface</h2><p>{escape(found.measure)} over {escape(found.rows)} and "
        f"{escape(found.columns)}; where other parameters vary too, the best of them. The best: "
        f'{escape(found.best)}.</p><div class="wide">{charts.surface(found)}</div>'
    )


def _ending(sheet: Sheet) -> str:
    made = "".join(f"<li>{escape(words)}</li>" for words in sheet.seen)
    rows = "".join(
        f'<tr><td>{escape(name)}</td><td class="left"><code>{escape(value)}</code></td></tr>'
        for name, value in sheet.reproduce
    )
    settings = ""
    if sheet.settings:
        settings = (
            "<details><summary>the settings that change results</summary><pre>"
            f"{escape(sheet.settings)}</pre></details>"
        )
    return (
        f'<h2>What this is made of</h2><ul class="made">{made}</ul><h2>To reproduce it</h2>'
        "<p>The same version, settings, seed and tape give the same journal, byte for byte.</p>"
        f'<div class="wide"><table>{rows}</table></div>{settings}'
    )


# --- what the script gets ---


def _data(sheet: Sheet, trips: Sequence[Trip]) -> dict[str, Any]:
    track = sheet.track
    ts = track.ts
    known = np.isfinite(track.equity)
    falls = np.full(len(ts), np.nan)
    if known.any():
        falls[known] = -drawdowns(track.equity[known], float(track.equity[known][0]))
    with np.errstate(divide="ignore", invalid="ignore"):
        gross, net = track.gross / track.equity, track.net / track.equity
    rolling = rolling_of(track)
    rolled = (
        thinned(rolling.ts, rolling.sharpe, POINTS),
        thinned(rolling.ts, rolling.volatility, POINTS),
    )
    words = ""
    if len(rolling.ts):
        words = f"over {length(float(rolling.ts[0] - ts[0]))}"
    names = list(sheet.prices)
    first, last = (int(ts[0]), int(ts[-1])) if len(ts) else (0, 1000 * MILLISECOND)
    return {
        "unit": sheet.numeraire,
        "from": first // MILLISECOND,
        "to": max(last, first + SECOND) // MILLISECOND,
        "names": names,
        "prices": [
            dict(
                zip(("ts", "v"), thinned(line.ts, line.mid, 2 * POINTS), strict=True),
                name=name,
                quote="mid, with fills",
            )
            for name, line in sheet.prices.items()
        ],
        "equity": thinned(ts, track.equity, POINTS),
        "drawdown": thinned(ts, falls, POINTS),
        "gross": thinned(ts, gross, POINTS),
        "net": thinned(ts, net, POINTS),
        "rolling": {
            "ts": rolled[0][0],
            "sharpe": rolled[0][1],
            "volatility_ts": rolled[1][0],
            "volatility": rolled[1][1],
            "words": words,
            "ratio": "a year" if rolling.yearly else f"of {length(rolling.step)} returns",
        },
        "fills": _fill_rows(sheet, names),
        "trips": _trip_rows(trips, names),
        "incidents": [[one.ts // MILLISECOND, one.kind] for one in sheet.incidents],
    }


def _fill_rows(sheet: Sheet, names: Sequence[str]) -> list[list[Any]]:
    """Of very many, some at equal distances."""
    shown = [one for one in sheet.executions if one.instrument in sheet.prices]
    return [
        [
            one.ts // MILLISECOND,
            names.index(one.instrument),
            one.sign,
            one.price,
            one.quantity,
            int(one.maker),
            _brief(one.slippage),
            _brief(one.through),
            _brief(one.fee),
        ]
        for one in shown[:: len(shown) // MOST_MARKED + 1]
    ]


def _trip_rows(trips: Sequence[Trip], names: Sequence[str]) -> list[list[Any]]:
    return [
        [
            names.index(t.instrument),
            t.opened // MILLISECOND,
            t.closed // MILLISECOND,
            t.sign,
            _brief(t.quantity),
            _brief(t.entry),
            _brief(t.exit),
            t.fills,
            _brief(t.value),
            _brief(t.pnl),
            _brief(t.fees),
            int(t.open),
        ]
        for t in trips[-MOST_LISTED:]
        if t.instrument in names
    ]


def _brief(value: float) -> float | None:
    return float(f"{value:.9g}") if math.isfinite(value) else None
