// Turns what the node sends into text: numbers with fixed decimals, a true minus sign, durations and clock times.
// What is unknown becomes an en dash, never a nought: a trader must not take "no answer" for "nothing".

type Maybe = number | null | undefined;

export const UNKNOWN = "–";

export const isKnown = (value: Maybe): value is number => typeof value === "number" && Number.isFinite(value);

const formats = new Map<string, Intl.NumberFormat>();

function fixed(value: number, decimals: number, sign: "auto" | "exceptZero" | "negative"): string {
  const key = `${decimals} ${sign}`;
  let format = formats.get(key);
  if (!format) {
    format = new Intl.NumberFormat("en-US", {
      minimumFractionDigits: decimals, maximumFractionDigits: decimals, signDisplay: sign,
    });
    formats.set(key, format);
  }
  return format.format(value).replace("-", "−");
}

export const number = (value: Maybe, decimals = 0): string =>
  isKnown(value) ? fixed(value, decimals, "negative") : UNKNOWN;

/** With its sign always shown, as profit and loss are. */
export const signed = (value: Maybe, decimals = 2): string =>
  isKnown(value) ? fixed(value, decimals, "exceptZero") : UNKNOWN;

/** Decimals that suit a price of this size: 64,210.55, 3.1416, 0.00001234. */
export function priceDecimals(price: number): number {
  const size = Math.abs(price);
  if (size >= 100 || size === 0) return 2;
  if (size >= 1) return 4;
  return Math.min(10, 4 - Math.ceil(Math.log10(size)));
}

export const price = (value: Maybe): string => (isKnown(value) ? number(value, priceDecimals(value)) : UNKNOWN);

/** An amount of the numeraire; large ones without cents. */
export const money = (value: Maybe): string =>
  isKnown(value) ? number(value, Math.abs(value) >= 1e6 ? 0 : 2) : UNKNOWN;

export const percent = (fraction: Maybe, decimals = 2): string =>
  isKnown(fraction) ? `${number(fraction * 100, decimals)} %` : UNKNOWN;

/** A measure in its own unit; fractions (also "fraction a year") are shown as percent. */
export function measure(value: Maybe, unit: string): string {
  if (!isKnown(value)) return UNKNOWN;
  const size = Math.abs(value);
  if (/^fraction\b/.test(unit)) return percent(value, size < 0.01 ? 2 : size < 1 && unit === "fraction" ? 1 : 0);
  return number(value, Number.isInteger(value) || size >= 1_000 ? 0 : size >= 10 ? 1 : 2);
}

/** A length in standard deviations; never a nought that is none. */
export function sigma(value: Maybe): string {
  if (!isKnown(value)) return `${UNKNOWN} σ`;
  const size = Math.abs(value);
  if (size > 0 && size < 0.001) return "< 0.001 σ";
  return `${number(value, size === 0 || size >= 100 ? 0 : size < 1 ? 3 : size < 10 ? 2 : 1)} σ`;
}

/** What is left to say of a unit beside its measure: "x equity", or "a year" of "fraction a year". */
export const unitBeside = (unit: string): string => unit.replace(/^fraction ?/, "");

/** An exact quantity as the ledger holds it, without trailing noughts. */
export function quantity(text: string | null | undefined): string {
  if (text === null || text === undefined || text === "" || text === "NaN") return UNKNOWN;
  const short = /^-?\d+\.\d+$/.test(text) ? text.replace(/\.?0+$/, "") : text;
  return short.replace("-", "−");
}

/** A fee: to a ten-thousandth, or exact where that would show too little of it. */
export function fee(text: string | null | undefined): string {
  const value = Number(text);
  return text && Math.abs(value) >= 0.01 ? number(value, 4) : quantity(text);
}

/** How long: 3 s, 4 min, 2.5 h, 3 d. */
export function duration(ms: Maybe): string {
  if (!isKnown(ms)) return UNKNOWN;
  const s = Math.max(0, ms / 1_000);
  if (s < 60) return `${Math.floor(s)} s`;
  if (s < 3_600) return `${Math.floor(s / 60)} min`;
  if (s < 86_400) return `${(Math.floor(s / 360) / 10).toFixed(1)} h`;
  return `${Math.floor(s / 86_400)} d`;
}

const DAY_MS = 86_400_000;

/** 14:03:09, in UTC as everywhere on the page. */
export const clock = (ms: Maybe): string =>
  isKnown(ms) && Math.abs(ms) < 8.64e15 ? new Date(ms).toISOString().slice(11, 19) : UNKNOWN;

/** The day as well: 2026-11-21 14:03:09. */
export const moment = (ms: Maybe): string =>
  isKnown(ms) && ms > DAY_MS && ms < 2.5e14 ? new Date(ms).toISOString().slice(0, 19).replace("T", " ") : UNKNOWN;

/** HIGH_VOL → high vol, flash_crash → flash crash. */
export const words = (name: string | null | undefined): string =>
  name ? name.replaceAll("_", " ").toLowerCase() : UNKNOWN;
