// The panel and the table that every list on the page is made of, and the age that stands beside every number.
// Rows keep the place in which they were first seen: a trader's eye finds them again without reading.
import { createContext, type ComponentChildren } from "preact";
import { useContext, useRef } from "preact/hooks";
import { UNKNOWN, clock, duration, isKnown, moment } from "./format";
import type { Maybe } from "./view";

/** The node's clock at this moment, from which ages are counted. */
export const Now = createContext<Maybe>(null);

const AMBER_MS = 5_000;
export const RED_MS = 30_000;

function ageLevel(age: number, every: number): "fresh" | "amber" | "red" {
  if (age > 2 * every + RED_MS) return "red";
  return age > every + AMBER_MS ? "amber" : "fresh";
}

type AgeProps = {
  ts: Maybe;
  /** A past event (a fill, a finished order) only grows older; its age is no warning. */
  event?: boolean;
  /** Milliseconds from one such number to the next, where it comes seldom. */
  every?: number;
};

export function Age({ ts, event = false, every = 0 }: AgeProps) {
  const now = useContext(Now);
  if (!isKnown(ts) || !isKnown(now)) return <span class="age-text" data-level="unknown">{UNKNOWN}</span>;
  const age = Math.max(0, now - ts);
  return (
    <time class="age-text" data-level={event ? "event" : ageLevel(age, every)} title={`${moment(ts)} UTC`}>
      {duration(age)}
    </time>
  );
}

export type Tone = "good" | "fair" | "warn" | "bad" | "plain";

/** A state in words; the mark before it repeats in shape what the colour says. */
export function Badge({ tone, children }: { tone: Tone; children: ComponentChildren }) {
  return <span class={`badge ${tone}`}>{children}</span>;
}

export const Clock = ({ ts }: { ts: Maybe }) => <span title={`${moment(ts)} UTC`}>{clock(ts)}</span>;

type PanelProps = {
  testId: string;
  title: string;
  note?: ComponentChildren;
  children: ComponentChildren;
  className?: string;
};

export function Panel({ testId, title, note, children, className = "" }: PanelProps) {
  const heading = `${testId}-title`;
  return (
    <section class={`panel ${className}`} data-testid={testId} aria-labelledby={heading}>
      <header class="panel-head">
        <h2 id={heading}>{title}</h2>
        <div class="panel-note">{note}</div>
      </header>
      {children}
    </section>
  );
}

export type Column<Row> = {
  head: string;
  /** The unit of the numbers below, when it is the same for every row. */
  unit?: string;
  /** The name of the second number of a cell, below the first. */
  below?: string;
  cell: (row: Row) => ComponentChildren;
  kind?: "number" | "age";
};

export const ageColumn = <Row,>(ts: (row: Row) => Maybe, event?: (row: Row) => boolean, every = 0): Column<Row> => ({
  head: "age",
  kind: "age",
  cell: (row) => <Age ts={ts(row)} event={event?.(row) ?? false} every={every} />,
});

/** Orders rows as they were first seen; with `newestFirst`, rows that appear later go on top. */
function useStableOrder<Row>(rows: readonly Row[], key: (row: Row) => string, newestFirst: boolean): Row[] {
  const seen = useRef<string[]>([]);
  const present = new Map(rows.map((row) => [key(row), row]));
  const kept = seen.current.filter((name) => present.has(name));
  const known = new Set(kept);
  const fresh = [...present.keys()].filter((name) => !known.has(name));
  seen.current = newestFirst ? [...fresh, ...kept] : [...kept, ...fresh];
  return seen.current.map((name) => present.get(name) as Row);
}

type TableProps<Row> = {
  label: string;
  rows: readonly Row[];
  rowKey: (row: Row) => string;
  columns: readonly Column<Row>[];
  empty: string;
  newestFirst?: boolean;
  /** Rows for which this holds stand above the others. */
  first?: (row: Row) => boolean;
  tone?: (row: Row) => Tone;
  /** A second line below a row, where there is something to say in words. */
  remark?: (row: Row) => string | null | undefined;
};

export function Table<Row>(table: TableProps<Row>) {
  const { columns, rowKey, tone, remark, first } = table;
  const stable = useStableOrder(table.rows, rowKey, table.newestFirst ?? false);
  const rows = first ? [...stable.filter(first), ...stable.filter((row) => !first(row))] : stable;
  const heard = useContext(Now) !== null;
  if (rows.length === 0) return <p class="empty">{heard ? table.empty : "Not known: nothing heard from the node yet"}</p>;
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label={table.label}>
      <table>
        <thead>
          <tr>
            {columns.map(({ head, unit, below, kind }) => (
              <th key={head} scope="col" class={kind}>
                {head}
                {below && <div>{below}</div>}
                {unit && <span class="unit"> {unit}</span>}
              </th>
            ))}
          </tr>
        </thead>
        {rows.map((row) => {
          const words = remark?.(row);
          return (
            <tbody key={rowKey(row)} class={tone?.(row)} data-row={rowKey(row)}>
              <tr>
                {columns.map(({ head, kind, cell }, index) =>
                  index === 0 ? <th key={head} scope="row">{cell(row)}</th> : <td key={head} class={kind}>{cell(row)}</td>,
                )}
              </tr>
              {words && (
                <tr class="remark">
                  <td colSpan={columns.length}><div>{words}</div></td>
                </tr>
              )}
            </tbody>
          );
        })}
      </table>
    </div>
  );
}
