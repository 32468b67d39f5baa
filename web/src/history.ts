// What the charts draw: a bounded history of points and our latest fills, kept outside the component tree.
// Charts subscribe to it, so that a new point moves one pixel column and redraws nothing else.
import type { Fill } from "./view";

export type Point = {
  ts: number;
  equity: number | null;
  drawdown: number | null;
  prices: Record<string, number | null>;
  /** By source, 0 to 1. */
  trust?: Record<string, number | null>;
  /** By group, sigma: how far an attacker can have moved the model, and how far a naive one is off. */
  certificate?: Record<string, number | null>;
  naive?: Record<string, number | null>;
};
export type Candle = { time: number; open: number; high: number; low: number; close: number };
export type Change = "reset" | "append" | "fills";

const MOST_POINTS = 3_600;
/** How many of the oldest points go at once when the history is full (so charts are refilled seldom). */
const DROPPED_AT_ONCE = 300;
const MOST_FILLS = 1_000;

let points: Point[] = [];
let fills: Fill[] = [];
const listeners = new Set<(change: Change) => void>();

export const historyPoints = (): readonly Point[] => points;
export const rememberedFills = (): readonly Fill[] => fills;

export function onHistory(listener: (change: Change) => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

const tell = (change: Change): void => listeners.forEach((listener) => listener(change));

/** Fetches the whole history; without an answer the charts go on with what they have. */
export async function loadHistory(): Promise<void> {
  try {
    const answer = await fetch("/api/history");
    if (!answer.ok) return;
    const { points: sent } = (await answer.json()) as { points: Point[] };
    points = sent.slice(-MOST_POINTS).sort((a, b) => a.ts - b.ts);
    tell("reset");
  } catch {
    // The stream says that the node is gone; the history is fetched again when it is back.
  }
}

export function acceptPoint(point: Point): void {
  const last = points.at(-1);
  if (last && point.ts < last.ts) {
    // The node's clock went back: another run has begun.
    points = [];
    fills = [];
    void loadHistory();
    return;
  }
  points.push(point);
  if (points.length <= MOST_POINTS) return tell("append");
  points.splice(0, DROPPED_AT_ONCE);
  tell("reset");
}

/** Adds the node's newest fills (newest first) to those remembered for the markers. */
export function rememberFills(newest: readonly Fill[]): void {
  const known = new Set(fills.map((fill) => fill.id));
  const fresh = newest.filter((fill) => !known.has(fill.id));
  if (fresh.length === 0) return;
  fills = [...fresh, ...fills].slice(0, MOST_FILLS);
  tell("fills");
}

const seconds = (ts: number): number => Math.floor(ts / 1_000);

/** One value per second (the last one wins); points at which the value is unknown are left out. */
export function line(value: (point: Point) => number | null | undefined): { time: number; value: number }[] {
  const drawn: { time: number; value: number }[] = [];
  for (const point of points) {
    const known = value(point);
    if (known === null || known === undefined) continue;
    const time = seconds(point.ts);
    const last = drawn.at(-1);
    if (last?.time === time) last.value = known;
    else drawn.push({ time, value: known });
  }
  return drawn;
}

const CANDLE_SECONDS = [5, 10, 15, 30, 60, 300, 900, 3_600, 14_400, 86_400];

/** Seconds per candle: few enough to tell the story of the whole history in about a hundred candles. */
export function candleSeconds(): number {
  const first = points[0];
  const last = points.at(-1);
  const wanted = first && last ? (last.ts - first.ts) / 1_000 / 120 : 0;
  return CANDLE_SECONDS.find((step) => step >= wanted) ?? 86_400;
}

export function candles(instrument: string, step: number): Candle[] {
  const drawn: Candle[] = [];
  for (const { time, value } of line((point) => point.prices[instrument])) {
    const start = time - (time % step);
    const last = drawn.at(-1);
    if (last?.time === start) {
      last.high = Math.max(last.high, value);
      last.low = Math.min(last.low, value);
      last.close = value;
    } else {
      const open = last?.close ?? value;
      drawn.push({ time: start, open, high: Math.max(open, value), low: Math.min(open, value), close: value });
    }
  }
  return drawn;
}

/** When and on which side we traded an instrument: one mark per side and step, oldest first. */
export function trades(instrument: string, step: number): { time: number; side: "buy" | "sell" }[] {
  const first = points[0];
  if (!first) return [];
  const marks = new Map<string, { time: number; side: "buy" | "sell" }>();
  for (const fill of fills) {
    if (fill.instrument !== instrument || fill.ts === null || fill.ts < first.ts) continue;
    const time = seconds(fill.ts) - (seconds(fill.ts) % step);
    marks.set(`${time} ${fill.side}`, { time, side: fill.side });
  }
  return [...marks.values()].sort((a, b) => a.time - b.time);
}
