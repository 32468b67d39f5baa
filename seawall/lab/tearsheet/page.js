"use strict";
// The drawings that follow the pointer: one stack of charts over one axis of time, and the trades.
(() => {
const data = JSON.parse(document.getElementById("data").textContent);
const canvas = document.getElementById("charts");
const readout = document.getElementById("readout");
const pen = canvas.getContext("2d");
const LEFT = 66, RIGHT = 10, GAP = 26, TOP = 22, BOTTOM = 20;
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const two = (n) => String(n).padStart(2, "0");
let instrument = 0, from = data.from, to = data.to, pointer = null, drag = null, layout = [];

function number(v, digits) {
  if (v === null || v === undefined || !isFinite(v)) return "–";
  return v.toLocaleString("en-US", {maximumFractionDigits: digits, minimumFractionDigits: digits});
}
const safe = (text) => String(text).replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);
const percent = (v, digits = 2) => v === null || !isFinite(v) ? "–" : number(v * 100, digits) + " %";
const signed = (v, digits) => (v > 0 ? "+" : "") + number(v, digits);
function priceDigits(p) { return p >= 1000 ? 2 : p >= 10 ? 3 : p >= 0.1 ? 5 : 8; }
function when(ms, long) {
  const d = new Date(ms), clock = two(d.getUTCHours()) + ":" + two(d.getUTCMinutes());
  const day = d.getUTCFullYear() + "-" + two(d.getUTCMonth() + 1) + "-" + two(d.getUTCDate());
  if (long) return day + " " + clock + ":" + two(d.getUTCSeconds());
  const span = to - from;
  if (span > 120 * 864e5) return day.slice(0, 7);
  if (span > 3 * 864e5) return day.slice(5);
  return span > 600e3 ? clock : clock + ":" + two(d.getUTCSeconds());
}
const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200,
  86400, 172800, 604800, 1209600, 2592000, 7776000, 15552000, 31536000].map((s) => s * 1000);

// --- the charts of the stack ---

function charts() {
  const price = data.prices[instrument];
  const list = [];
  if (price) list.push({name: price.name, unit: price.quote, lines: [["--ink", price.ts, price.v]],
    height: 250, format: (v) => number(v, priceDigits(v)), marks: true});
  const money = (v) => number(v, Math.abs(v) >= 1e5 ? 0 : 2);
  list.push({name: "Equity", unit: data.unit, lines: [["--one", ...data.equity]], height: 130,
    format: money});
  list.push({name: "Drawdown", unit: "from the peak", lines: [["--bad", ...data.drawdown]],
    height: 80, fill: true, format: (v) => percent(v), top: 0});
  list.push({name: "Exposure", unit: "of equity: gross, net", height: 90, zero: true,
    lines: [["--one", ...data.gross], ["--two", ...data.net]], format: (v) => percent(v, 1),
    names: ["gross", "net"]});
  if (data.rolling.ts.length > 1) {
    list.push({name: "Rolling Sharpe ratio", unit: data.rolling.ratio + ", " + data.rolling.words, zero: true, height: 80,
      lines: [["--three", data.rolling.ts, data.rolling.sharpe]], format: (v) => number(v, 2)});
    list.push({name: "Rolling volatility", unit: "a year, " + data.rolling.words, height: 80,
      lines: [["--two", data.rolling.volatility_ts, data.rolling.volatility]], format: (v) => percent(v, 1)});
  }
  return list;
}

function at(ts, x) { // the last point at or before x
  let low = 0, high = ts.length;
  while (low < high) { const m = (low + high) >> 1; if (ts[m] <= x) low = m + 1; else high = m; }
  return low - 1;
}

function range(chart) {
  let low = Infinity, high = -Infinity;
  for (const [, ts, v] of chart.lines) {
    const end = Math.min(ts.length - 1, at(ts, to) + 1);
    for (let i = Math.max(0, at(ts, from)); i <= end; i++)
      if (v[i] !== null) { if (v[i] < low) low = v[i]; if (v[i] > high) high = v[i]; }
  }
  if (chart.marks) for (const f of data.fills)
    if (f[1] === instrument && f[0] >= from && f[0] <= to) {
      low = Math.min(low, f[3]); high = Math.max(high, f[3]);
    }
  if (low > high) return [0, 1];
  if (chart.top === 0) high = 0;
  if (chart.zero) { low = Math.min(low, 0); high = Math.max(high, 0); }
  const room = (high - low || Math.abs(high) * 0.02 || 1e-4) * 0.07;
  return [chart.zero && low === 0 ? 0 : low - room, chart.top === 0 ? 0 : high + room];
}

function ticks(low, high, most) {
  const raw = (high - low) / most, power = Math.pow(10, Math.floor(Math.log10(raw)));
  const step = [1, 2, 2.5, 5, 10].map((m) => m * power).find((s) => s >= raw) || raw;
  const found = [];
  for (let v = Math.ceil(low / step) * step; v <= high + step * 1e-9; v += step)
    found.push(Math.abs(v) < step * 1e-9 ? 0 : v);
  return found;
}

function labels(texts) { // without the zeros that all of them end in
  while (texts.length && texts.every((t) => /\.\d*0( %)?$/.test(t)))
    texts = texts.map((t) => t.replace(/0( %)?$/, "$1").replace(/\.( %)?$/, "$1"));
  return texts;
}

function draw() {
  const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth || 800;
  const list = charts();
  const height = list.reduce((sum, c) => sum + c.height + GAP, TOP + BOTTOM - GAP);
  canvas.style.height = height + "px";
  canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio);
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.clearRect(0, 0, width, height);
  const inner = width - LEFT - RIGHT, x = (ms) => LEFT + inner * (ms - from) / (to - from || 1);
  const step = steps.find((s) => (to - from) / s <= inner / 85) || steps[steps.length - 1];
  layout = []; let top = TOP;
  for (const chart of list) {
    const [low, high] = range(chart);
    const y = (v) => top + chart.height * (1 - (v - low) / (high - low || 1));
    const place = {chart, top, x, y: ((a, l, h, t) => (v) => t + a * (1 - (v - l) / (h - l || 1)))(
      chart.height, low, high, top)};
    layout.push(place);
    pen.font = "600 12px system-ui,sans-serif"; pen.fillStyle = css("--ink"); pen.textAlign = "left";
    pen.fillText(chart.name, LEFT, top - 6);
    const wide = pen.measureText(chart.name).width;
    pen.font = "11px system-ui,sans-serif"; pen.fillStyle = css("--soft");
    pen.fillText(chart.unit, LEFT + wide + 8, top - 6);
    pen.strokeStyle = css("--line"); pen.lineWidth = 1; pen.textAlign = "right";
    const marked = ticks(low, high, Math.max(4, chart.height / 30));
    labels(marked.map(chart.format)).forEach((label, n) => {
      const h = Math.round(y(marked[n])) + 0.5;
      pen.beginPath(); pen.moveTo(LEFT, h); pen.lineTo(width - RIGHT, h); pen.stroke();
      pen.fillText(label, LEFT - 6, h + 3.5);
    });
    for (let t = Math.ceil(from / step) * step; t <= to; t += step) {
      const v = Math.round(x(t)) + 0.5;
      pen.beginPath(); pen.moveTo(v, top); pen.lineTo(v, top + chart.height); pen.stroke();
    }
    pen.save(); pen.beginPath(); pen.rect(LEFT, top - 1, inner, chart.height + 2); pen.clip();
    if (chart.marks) incidents(top, chart.height, x);
    chart.lines.forEach((line) => stroke(line, x, y, chart.fill ? y(0) : null));
    if (chart.marks) marks(x, y);
    pen.restore();
    top += chart.height + GAP;
  }
  pen.fillStyle = css("--soft"); pen.textAlign = "center"; pen.font = "11px system-ui,sans-serif";
  for (let t = Math.ceil(from / step) * step; t <= to; t += step)
    if (x(t) > LEFT + 16 && x(t) < width - 24) pen.fillText(when(t), x(t), top - GAP + 15);
  cursor(width, top);
}

function stroke([color, ts, v], x, y, floor) {
  const first = Math.max(0, at(ts, from)), last = Math.min(ts.length - 1, at(ts, to) + 1);
  pen.strokeStyle = pen.fillStyle = css(color); pen.lineWidth = 1.4; pen.lineJoin = "round";
  for (let i = first; i <= last; i++) {
    if (v[i] === null) continue;
    const begun = i; // of a piece without gaps
    pen.beginPath(); pen.moveTo(x(ts[i]), y(v[i]));
    while (i < last && v[i + 1] !== null) { i++; pen.lineTo(x(ts[i]), y(v[i])); }
    pen.stroke();
    if (floor === null) continue;
    pen.lineTo(x(ts[i]), floor); pen.lineTo(x(ts[begun]), floor);
    pen.globalAlpha = 0.16; pen.fill(); pen.globalAlpha = 1;
  }
}

function incidents(top, height, x) {
  pen.lineWidth = 1;
  const shown = data.incidents.filter(([ms, kind]) => ms >= from && ms <= to && kind !== "run");
  if (shown.length > 40) height = 7; // many of them: marks along the upper edge
  for (const [ms, kind] of shown) {
    pen.strokeStyle = css(kind === "halt" || kind === "breaker" ? "--bad" : "--two");
    pen.globalAlpha = 0.5; pen.setLineDash([2, 3]);
    pen.beginPath(); pen.moveTo(x(ms), top); pen.lineTo(x(ms), top + height); pen.stroke();
    pen.setLineDash([]); pen.globalAlpha = 1;
  }
}

function marks(x, y) {
  const shown = data.fills.filter((f) => f[1] === instrument && f[0] >= from && f[0] <= to);
  const size = shown.length > 600 ? 2.5 : shown.length > 150 ? 3.5 : 5;
  for (const [ms, , sign, price] of shown) {
    const px = x(ms), py = y(price) + sign * (size + 2);
    pen.fillStyle = css(sign > 0 ? "--good" : "--bad");
    pen.beginPath(); pen.moveTo(px, py - sign * size); pen.lineTo(px - size, py + sign * size);
    pen.lineTo(px + size, py + sign * size); pen.closePath(); pen.fill();
    pen.strokeStyle = css("--card"); pen.lineWidth = 0.7; pen.stroke();
  }
}

// --- the pointer ---

function cursor(width, bottom) {
  if (drag) {
    const a = Math.min(drag.a, drag.b), b = Math.max(drag.a, drag.b);
    pen.fillStyle = css("--one"); pen.globalAlpha = 0.14;
    pen.fillRect(a, TOP, b - a, bottom - GAP - TOP); pen.globalAlpha = 1;
  }
  if (pointer === null) return;
  pen.strokeStyle = css("--grey"); pen.lineWidth = 1;
  pen.beginPath(); pen.moveTo(pointer.x, TOP); pen.lineTo(pointer.x, bottom - GAP); pen.stroke();
  const ms = from + (pointer.x - LEFT) / (width - LEFT - RIGHT) * (to - from), words = [];
  for (const {chart, x, y} of layout) chart.lines.forEach(([color, ts, v], n) => {
    const i = at(ts, ms);
    if (i < 0 || v[i] === null) return;
    pen.fillStyle = css(color); pen.beginPath();
    pen.arc(x(ts[i]), y(v[i]), 3, 0, 7); pen.fill();
    words.push(`${safe(chart.names ? chart.names[n] : chart.name)} <b>${chart.format(v[i])}</b>`);
  });
  const near = nearest(width);
  readout.innerHTML = near ? fillWords(near) : `<b>${when(ms, true)}</b> UTC · ` + words.join(" · ");
}

function nearest(width) {
  const place = layout[0];
  if (!place || !place.chart.marks) return null;
  let best = null, least = 9;
  for (const f of data.fills) {
    if (f[1] !== instrument || f[0] < from || f[0] > to) continue;
    const d = Math.hypot(place.x(f[0]) - pointer.x, place.y(f[3]) - pointer.y);
    if (d < least) { least = d; best = f; }
  }
  return best;
}

function fillWords([ms, , sign, price, quantity, maker, slip, through, fee]) {
  const kind = maker ? "maker" : "taker";
  return `<b>${when(ms, true)}</b> UTC · <b class="${sign > 0 ? "up" : "down"}">` +
    `${sign > 0 ? "bought" : "sold"} ${quantity.toLocaleString("en-US", {maximumFractionDigits: 8})}` +
    `</b> at <b>${number(price, priceDigits(price))}</b> · ${kind} · to the mid at the decision ` +
    `<b>${slip === null ? "–" : signed(slip, 2)} bps</b> · through the touch <b>` +
    `${through === null ? "–" : signed(through, 2)} bps</b> · fee <b>${number(fee, 2)} ${data.unit}</b>`;
}

const REST = "drag to zoom, double click for all; colours: bought, sold, and dotted lines for incidents";
function spot(event) {
  const box = canvas.getBoundingClientRect();
  return {x: Math.min(Math.max(event.clientX - box.left, LEFT), box.width - RIGHT),
    y: event.clientY - box.top};
}
let waiting = false;
function soon() {
  if (waiting) return;
  waiting = true; requestAnimationFrame(() => { waiting = false; draw(); });
}
function zoom(a, b) {
  from = Math.max(data.from, a); to = Math.min(data.to, b);
  if (to - from < 1000) to = from + 1000;
  document.getElementById("all").hidden = from <= data.from && to >= data.to;
  soon();
}
canvas.addEventListener("pointermove", (event) => {
  pointer = spot(event); if (drag) drag.b = pointer.x; soon();
});
canvas.addEventListener("pointerdown", (event) => {
  const p = spot(event); drag = {a: p.x, b: p.x}; canvas.setPointerCapture(event.pointerId);
});
canvas.addEventListener("pointerup", () => {
  if (drag && Math.abs(drag.b - drag.a) > 6) {
    const inner = canvas.clientWidth - LEFT - RIGHT;
    const time = (px) => from + (px - LEFT) / inner * (to - from);
    zoom(time(Math.min(drag.a, drag.b)), time(Math.max(drag.a, drag.b)));
  }
  drag = null; soon();
});
canvas.addEventListener("pointercancel", () => { drag = null; soon(); });
canvas.addEventListener("pointerleave", () => { pointer = null; readout.textContent = REST; soon(); });
canvas.addEventListener("dblclick", () => zoom(data.from, data.to));
document.getElementById("all").addEventListener("click", () => zoom(data.from, data.to));
document.querySelectorAll("button[data-instrument]").forEach((button) => {
  button.addEventListener("click", () => choose(+button.dataset.instrument));
});
function choose(number) {
  instrument = number;
  document.querySelectorAll("button[data-instrument]").forEach((b) =>
    b.setAttribute("aria-pressed", String(+b.dataset.instrument === number)));
  soon();
}

// --- the trades ---

const PAGE = 25;
let page = 0, key = 0, down = false, count = PAGE;
const body = document.getElementById("trips");
function trips() {
  if (!body) return;
  const order = data.trips.map((_, i) => i);
  const value = (i) => key === 0 ? data.trips[i][1] : key === 1 ? data.trips[i][9] :
    key === 2 ? data.trips[i][2] - data.trips[i][1] : data.trips[i][8];
  order.sort((a, b) => (down ? -1 : 1) * (value(a) - value(b)) || a - b);
  const pages = Math.max(1, Math.ceil(order.length / PAGE));
  page = Math.min(Math.max(page, 0), pages - 1);
  body.innerHTML = order.slice(page * PAGE, page * PAGE + count).map((i) => {
    const [name, opened, closed, sign, quantity, entry, exit, fills, value, pnl, fees, open] =
      data.trips[i];
    const digits = priceDigits(entry), seconds = (closed - opened) / 1000;
    const held = seconds < 120 ? number(seconds, 1) + " s" : seconds < 7200 ?
      number(seconds / 60, 1) + " min" : seconds < 172800 ? number(seconds / 3600, 1) + " h" :
      number(seconds / 86400, 1) + " d";
    return `<tr data-trip="${i}"><td>${when(opened, true)}</td><td class="left">` +
      `${safe(data.names[name])}</td><td class="left">${sign > 0 ? "long" : "short"}` +
      `${open ? ", open" : ""}</td><td>${quantity.toLocaleString("en-US",
        {maximumSignificantDigits: 6})}</td><td>${number(entry, digits)}</td><td>` +
      `${number(exit, digits)}</td><td>${held}</td><td>${fills}</td><td>${number(fees, 2)}</td>` +
      `<td class="${pnl > 0 ? "up" : pnl < 0 ? "down" : ""}">${signed(pnl, 2)}</td>` +
      `<td>${value ? signed(pnl / value * 1e4, 1) : "–"}</td></tr>`;
  }).join("");
  const pager = document.getElementById("where");
  if (pager) pager.textContent = `${number(page * PAGE + 1, 0)} to ${number(
    Math.min(order.length, (page + 1) * PAGE), 0)} of ${number(order.length, 0)}`;
}
if (body) {
  body.addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-trip]");
    if (!row) return;
    const [name, opened, closed] = data.trips[+row.dataset.trip];
    choose(name);
    const room = Math.max(5000, (closed - opened) * 0.6);
    zoom(opened - room, closed + room);
    canvas.scrollIntoView({behavior: "smooth", block: "start"});
  });
  document.querySelectorAll("th[data-key]").forEach((head) => head.addEventListener("click", () => {
    const wanted = +head.dataset.key;
    down = key === wanted ? !down : wanted !== 0;
    key = wanted; page = 0;
    document.querySelectorAll("th[data-key]").forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    trips();
  }));
  for (const [id, by] of [["before", -1], ["after", 1]]) {
    const button = document.getElementById(id);
    if (button) button.addEventListener("click", () => { page += by; trips(); });
  }
}

window.addEventListener("resize", soon);
window.matchMedia("(prefers-color-scheme:dark)").addEventListener("change", soon);
window.addEventListener("beforeprint", () => { count = 200; page = 0; pointer = null; trips(); draw(); });
window.addEventListener("afterprint", () => { count = PAGE; trips(); draw(); });
readout.textContent = REST;
draw();
trips();
})();
