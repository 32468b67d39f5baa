"""What all reports look like: one style sheet, for dark and light, for screens and paper."""

STYLE = """
:root{--ink:#16202b;--soft:#5b6875;--line:#e2e7ec;--paper:#fff;--card:#f7f9fb;--good:#12805c;
--bad:#c2273d;--one:#2162a6;--two:#c77700;--three:#7a4fb5;--four:#12805c;--grey:#9aa6b2}
@media (prefers-color-scheme:dark){:root{--ink:#e7edf3;--soft:#9fb0c0;--line:#2c3844;
--paper:#10161d;--card:#18212b;--good:#3cc796;--bad:#ff6b7d;--one:#6fa7de;--two:#f0a742;
--three:#b694ea;--four:#3cc796;--grey:#6b7885}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);margin:0}
main{max-width:1080px;margin:0 auto;padding:32px 24px 64px}
h1{font-size:26px;margin:0 0 4px}h2{font-size:18px;margin:44px 0 4px}
p{margin:4px 0 14px;max-width:74ch;color:var(--soft)}
.verdict{font-weight:600;font-size:17px;color:var(--good)}.verdict.bad{color:var(--bad)}
.tiles{display:flex;flex-wrap:wrap;gap:12px;margin:20px 0}
.tile{background:var(--card);border-radius:8px;padding:12px 16px;min-width:150px;flex:1}
.tile b{display:block;font-size:22px;font-variant-numeric:tabular-nums}
.tile span{color:var(--soft);font-size:13px}
svg{max-width:100%;height:auto;display:block}text{fill:var(--ink);font-size:12px}
.name{font-weight:600;font-size:13px}.small{fill:var(--soft);font-size:11px}
.value{font-size:11px;font-variant-numeric:tabular-nums}
.grid{stroke:var(--line)}.bound{stroke:var(--bad);stroke-width:1.5;stroke-dasharray:4 3}
.boundname{fill:var(--bad);font-size:11px}
rect.mean,rect.on{fill:var(--one)}rect.exposure{fill:var(--two)}rect.axis{fill:var(--three)}
rect.off{fill:var(--bad)}
.line{fill:none;stroke-width:2}.honest{stroke:var(--grey);stroke-dasharray:5 3}
.s0{stroke:var(--four)}.s1{stroke:var(--one)}.s2{stroke:var(--three)}.s3{stroke:var(--two)}
.maps{display:grid;grid-template-columns:repeat(2,minmax(0,1fr));gap:6px 40px}
.kind{grid-column:1/-1;margin-top:18px;font-size:14px;color:var(--soft)}.kind b{color:var(--ink)}
svg.heat{overflow:visible}
.cell text{font-size:10px;text-anchor:middle;fill:#16202b}.cell.dark text{fill:#fff}
.cell rect{fill:var(--card)}.cell.over rect{fill:var(--bad)}.cell.none text{fill:var(--soft)}
.row{display:flex;flex-wrap:wrap;gap:24px}
.buttons{display:flex;flex-wrap:wrap;gap:6px;margin:10px 0 4px}
button{font:inherit;font-size:13px;border:1px solid var(--line);background:var(--card);
color:var(--ink);border-radius:6px;padding:4px 12px;cursor:pointer}
button[aria-pressed=true]{background:var(--one);border-color:var(--one);color:#fff}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;font-size:13px}
th,td{padding:4px 12px 4px 0;text-align:right;border-bottom:1px solid var(--line)}
th{color:var(--soft);font-weight:600}td:first-child,th:first-child,td.left{text-align:left}
code{font-size:13px;background:var(--card);padding:1px 5px;border-radius:4px;word-break:break-all}
"""
