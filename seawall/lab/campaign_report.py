"""The campaign's report: one HTML page that needs nothing else."""

import math
from collections.abc import Sequence
from html import escape
from typing import Any

import msgspec

from seawall.lab import panel_attacks
from seawall.lab.campaign import GRID_MARKET, HOSTILE, THRESHOLDS, Campaign, Line, number
from seawall.lab.campaign_charts import DARK_FROM, RAMP, Bar, Curve, bars, curves, figure, heat
from seawall.lab.campaign_summary import FAULTY, Summary
from seawall.lab.report_style import STYLE

GOAL_WORDS = {"mean": "model's mean", "exposure": "exposure", "axis": "one axis"}
# Figures of a cell in the order of the buttons: name, what it says, ends of the colours (log).
FIGURES: tuple[tuple[str, str, float, float], ...] = (
    ("our shift", "shift of our model's mean, reference sigma", 0.001, 3.0),
    ("naive shift", "shift of a plain mean of everything said, reference sigma", 0.001, 3.0),
    ("of the bound", "largest shift over its certificate; above 1 it is beaten", 0.01, 1.0),
    ("detected after", "minutes until the hostile source is rejected; – never", 1.0, 60.0),
    ("false accepts", "share of reviews that a hostile source passed with its vote", 0.01, 1.0),
)
SCRIPT = """
const figures=FIGURES,ramp=RAMP,dark=DARK;
function show(at){const[,words,low,high]=figures[at];
document.getElementById("meaning").textContent=words;
document.querySelectorAll("button[data-at]").forEach(b=>
b.setAttribute("aria-pressed",b.dataset.at==at));
document.querySelectorAll(".cell").forEach(cell=>{const text=cell.dataset.v.split(",")[at];
const rect=cell.querySelector("rect"),words=cell.querySelector("text");
cell.className.baseVal="cell";rect.style.fill="";
if(text===""){words.textContent="–";cell.classList.add("none");return}
const value=parseFloat(text);words.textContent=short(value);
if(at==2&&value>1&&cell.parentNode.dataset.covered){cell.classList.add("over","dark");return}
let part=Math.log(Math.max(value,low)/low)/Math.log(high/low);if(at==3)part=1-part;
const step=Math.max(0,Math.min(ramp.length-1,Math.floor(part*ramp.length)));
rect.style.fill=ramp[step];if(step>=dark)cell.classList.add("dark")})}
function short(v){if(v===0)return"0";if(v>=1e4)return v.toExponential(0).replace("+","");
if(v>=100)return v.toFixed(0);if(v>=10)return v.toFixed(0);if(v>=1)return v.toFixed(1);
return v>=0.0005?v.toFixed(3).replace(/^0/,""):"<.001"}
document.querySelectorAll("button[data-at]").forEach(b=>b.onclick=()=>show(+b.dataset.at));show(0);
"""


def page(campaign: Campaign, lines: Sequence[Line], summary: Summary) -> str:
    """The whole page."""
    grid = [line for line in lines if line.job.part == "grid"]
    parts = [
        _head(campaign, summary),
        _searches(summary),
        _ablations(summary),
        _maps(campaign, grid),
        _detector(grid),
        _details(campaign, summary),
    ]
    script = (
        SCRIPT.replace("FIGURES", msgspec.json.encode(FIGURES).decode())
        .replace("RAMP", msgspec.json.encode(RAMP).decode())
        .replace("DARK", str(DARK_FROM))
    )
    ending = f"<script>{script}</script>" if any(line.job.kind for line in grid) else ""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width">'
        f"<title>Seawall: attack campaign {campaign.name}</title><style>{STYLE}</style></head>"
        f"<body><main>{''.join(parts)}</main>{ending}</body></html>\n"
    )


def _head(campaign: Campaign, summary: Summary) -> str:
    verdict = "Nothing beats its certificate"
    if summary.beaten:
        count = len(summary.beaten)
        verdict = f"{count} attacks beat" if count > 1 else "1 attack beats"
        verdict += " the certificate"
    best = max((one.ratio for one in summary.searches), default=None)
    tiles = [
        (f"{summary.evaluations:,}", "attacks tried by the search"),
        (figure(best), "of its bound: the best attack found"),
    ]
    if summary.cells:
        tiles += [
            (f"{summary.cells:,}", "cells of known attacks"),
            (figure(summary.grid_ratio), "of its bound: the best of these"),
            (
                f"{summary.false_rejects:,} of {summary.judged:,}",
                "reviews of honest sources that were rejected, nobody attacking",
            ),
        ]
    drawn = "".join(f'<div class="tile"><b>{n}</b><span>{words}</span></div>' for n, words in tiles)
    bad = " bad" if summary.beaten else ""
    return (
        f'<h1>Attack campaign</h1><div class="verdict{bad}">{verdict}</div>'
        f"<p>{campaign.sources} sources price one asset; {FAULTY} of them is withstood. A model "
        "learns from what they agree on, and with each update gives a certificate: how far whoever "
        "owns that one source can have moved it. Here attackers try. All shifts count in standard "
        f'deviations (sigma) of the group\'s reference.</p><div class="tiles">{drawn}</div>'
    )


def _searches(summary: Summary) -> str:
    if not summary.searches:
        return ""
    markets = list(dict.fromkeys(one.market for one in summary.searches))
    groups = [
        (
            market,
            [
                Bar(
                    GOAL_WORDS[one.goal],
                    one.ratio,
                    one.goal,
                    f"{one.shift:.4f} of {one.certificate:.4f}, {one.evaluations:,} tried",
                )
                for one in summary.searches
                if one.market == market
            ],
        )
        for market in markets
    ]
    return (
        "<h2>The attacker who knows everything</h2><p>It sees all honest values, past and future, "
        "the code, the seed and every threshold, and searches for the worst that its source can "
        "say. Bars are the best it found, as a share of what the certificate allows at that "
        'moment; what goes past the line beats it.</p><div class="wide">'
        + bars(groups, 1.1, False)
        + "</div>"
    )


def _ablations(summary: Summary) -> str:
    if not summary.ablations:
        return ""
    groups = [
        (
            each.defence,
            [
                Bar("off", each.ratio, "off", f"{each.summary}: {each.ratio:.3g} of the bound"),
                Bar("on", each.whole, "on", f"with it: {each.whole:.3g} of the bound"),
            ],
        )
        for each in summary.ablations
    ]
    listed = "; ".join(f"<b>{e.defence}</b>: {escape(e.summary)}" for e in summary.ablations)
    most = max([10.0, *(each.ratio for each in summary.ablations if math.isfinite(each.ratio))])
    return (
        "<h2>Each defence carries weight</h2><p>The same search with one defence taken away and "
        f"the certificate's formula kept. Without: {listed}.</p>"
        '<div class="wide">' + bars(groups, most * 1.5, True) + "</div>"
    )


def _maps(campaign: Campaign, grid: Sequence[Line]) -> str:
    cells = {
        (line.job.kind, line.job.hostile, line.job.share, line.job.size): line.result
        for line in grid
        if line.job.kind
    }
    if not cells:
        return ""
    drawn = []
    for kind in campaign.kinds:
        words = (panel_attacks.KINDS[kind].__doc__ or "").strip()
        drawn.append(
            f'<div class="kind"><b>{kind.replace("_", " ")}</b>: {escape(words[:1].lower())}'
            f"{escape(words[1:])}</div>"
        )
        for hostile in HOSTILE:
            found = [
                [cells.get((kind, hostile, share, size)) for share in campaign.shares]
                for size in campaign.sizes
            ]
            svg = heat(
                f"{hostile} of {campaign.sources} hostile",
                [f"{size:g}" for size in campaign.sizes],
                [f"{share:.0%}" for share in campaign.shares],
                [[_figures(cell) for cell in row] for row in found],
                [[_note(cell) for cell in row] for row in found],
            )
            covered = ' data-covered="1"' if hostile <= FAULTY else ""
            drawn.append(svg.replace("<svg", f"<svg{covered}", 1))
    buttons = "".join(
        f'<button data-at="{at}" aria-pressed="{str(at == 0).lower()}">{name}</button>'
        for at, (name, *_) in enumerate(FIGURES)
    )
    return (
        "<h2>Known attacks, by strength</h2><p>Across: share of the frames that are attacked. "
        f"Down: size, in sigma or as the attack has it. Market: {GRID_MARKET}. Two hostile of "
        f"{campaign.sources} sources are more than the certificate covers; they are shown for "
        f'comparison.</p><div class="buttons">{buttons}</div><p id="meaning"></p>'
        f'<div class="maps">{"".join(drawn)}</div>'
    )


def _figures(cell: dict[str, Any] | None) -> list[float | None]:
    if cell is None:
        return [None] * len(FIGURES)
    delay = cell["delay"]
    return [
        number(cell["shift"]),
        number(cell["naive"]),
        number(cell["ratio"]),
        None if delay is None else delay / 60.0,
        cell["false_accepts"] / max(1, cell["attacked"]),
    ]


def _note(cell: dict[str, Any] | None) -> str:
    if cell is None:
        return "not done"
    late = "not noticed" if cell["delay"] is None else f"noticed after {cell['delay']:g} s"
    return (
        f"ours {figure(number(cell['shift']))} sigma, naive {figure(number(cell['naive']))}; "
        f"certificate {figure(number(cell['certificate']))}; {late}; "
        f"{cell['false_rejects']} honest rejected; learned in {cell['learned']} reviews"
    )


def _detector(grid: Sequence[Line]) -> str:
    clean = [line.result["honest_scores"] for line in grid if not line.job.kind]
    attacked = [line for line in grid if line.job.kind and line.job.hostile <= FAULTY]
    if not clean or not attacked:
        return ""
    honest = _share(clean)
    shares = sorted({line.job.share for line in attacked}, reverse=True)[::2][:4][::-1]
    lines = [Curve("honest, no attack", "honest", list(zip(THRESHOLDS, honest, strict=True)))]
    operating = [Curve("chance", "honest", [(0.0, 0.0), (1.0, 1.0)])]
    for at, share in enumerate(shares):
        of = [line.result["hostile_scores"] for line in attacked if line.job.share == share]
        reached = _share(of)
        name, kind = f"hostile in {share:.0%}", f"s{at}"
        lines.append(Curve(name, kind, list(zip(THRESHOLDS, reached, strict=True))))
        points = [(1.0, 1.0), *zip(honest, reached, strict=True), (0.0, reached[-1])]
        operating.append(Curve(name, kind, points))
    parts = (0.0, 0.25, 0.5, 0.75, 1.0)
    left = curves(
        lines,
        ("Reviews with this score or more", "threshold (1 rejects)", "of reviews"),
        ((0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0), parts),
        True,
        1.0,
    )
    right = curves(
        operating,
        ("Receiver operating characteristic", "honest reviews rejected", "hostile rejected"),
        (parts, parts),
        False,
    )
    return (
        "<h2>The authenticity gate</h2><p>Scores of each review by the share of the frames that "
        "are attacked, all attacks and sizes together, one hostile source. Many of these attacks "
        "do next to nothing (the volume alone, a lag of a frame, noise as the others have it) and "
        "are let pass on purpose: what the gate lets pass, the certificate bounds. Without the "
        "attack no honest source should come near 1.</p>"
        f'<div class="row">{left}{right}</div>'
    )


def _share(counts: Sequence[Sequence[int]]) -> list[float]:
    """Share that reached each threshold, of [judged, reached ...]."""
    judged = max(1, sum(one[0] for one in counts))
    return [sum(one[1 + at] for one in counts) / judged for at in range(len(THRESHOLDS))]


def _details(campaign: Campaign, summary: Summary) -> str:
    rows = "".join(
        f'<tr><td>{escape(one.market)}</td><td class="left">{GOAL_WORDS[one.goal]}</td>'
        f"<td>{one.ratio:.3f}</td><td>{one.shift:.4f}</td><td>{one.certificate:.4f}</td>"
        f"<td>{one.axis:.4f}</td><td>{figure(one.naive)}</td>"
        f"<td>{one.evaluations:,}</td><td>{one.restarts}</td></tr>"
        for one in summary.searches
    )
    table = (
        "<table><tr><th>market</th><th>goal</th><th>of the bound</th><th>shift</th>"
        "<th>largest bound</th><th>axis shift</th><th>naive shift</th><th>tried</th>"
        f"<th>restarts</th></tr>{rows}</table>"
        if rows
        else ""
    )
    broken = "".join(
        f"<p><b>Beaten:</b> <code>{escape(one.key)}</code> "
        f"{max(one.ratio, one.exposure_ratio):.4f}; knobs "
        f"<code>{', '.join(f'{k:.6g}' for k in one.knobs)}</code></p>"
        for one in summary.beaten
    )
    settings = escape(msgspec.json.encode(campaign).decode())
    return (
        f'<h2>Figures</h2>{broken}<div class="wide">{table}</div>'
        "<p>Shift and bound are in sigma, for the goal exposure in shares of the cap; the largest "
        "shift and the largest bound need not be of one moment, the ratio is taken at each.</p>"
        f"<p>Settings (name {campaign.name}): <code>{settings}</code></p>"
    )
