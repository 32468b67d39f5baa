// The column that says whether it is safe: breakers, sources of data, and the gates that the data must pass.
// Each knows which of its rows ask for attention, and the status above sums them up.
import { isKnown, measure, moment, number, unitBeside, words } from "./format";
import { Badge, Panel, RED_MS, Table, ageColumn } from "./table";
import type { Breaker, Gate, Maybe, Source, View } from "./view";

/** What is amiss, in words; empty when every guard is quiet. */
export function attention(view: View, now: Maybe): string[] {
  const named = (what: string, names: string[]): string[] =>
    names.length === 0 ? [] : [`${what}: ${names.map((name) => name.replaceAll("_", " ")).join(", ")}`];
  const old = (ts: Maybe): boolean => !isKnown(ts) || !isKnown(now) || now - ts > RED_MS;
  const guards = { breakers: view.breakers, sources: view.sources, gates: view.gates };
  return [
    ...named("not reported", Object.entries(guards).filter(([, rows]) => rows.length === 0).map(([what]) => what)),
    ...(old(view.equity.ts) ? ["account figures are old"] : []),
    ...named("old price", view.instruments.filter((row) => old(row.ts)).map((row) => row.name)),
    ...named("breaker not closed", view.breakers.filter((row) => row.state !== "CLOSED").map((row) => row.name)),
    ...named("source not live", view.sources.filter((row) => row.state !== "live").map((row) => row.name)),
    ...named("gate not passing", view.gates.filter((row) => row.decision !== "pass").map((row) => row.name)),
    ...named("order unknown", view.orders.filter((row) => row.state === "UNKNOWN").map((row) => row.instrument)),
  ];
}

const breakerTone = (state: string) => (state === "OPEN" ? "bad" : state === "CLOSED" ? "good" : "warn");

/** How near the measure is to its threshold; the bar is full where the breaker opens. */
function Reach({ row }: { row: Breaker }) {
  const known = isKnown(row.measure) && isKnown(row.threshold) && row.threshold !== 0;
  const reach = known ? Math.min(1, Math.abs((row.measure ?? 0) / (row.threshold ?? 1))) : 0;
  const level = reach >= 1 ? "bad" : reach >= 0.75 ? "warn" : "good";
  const text = known ? `${Math.round(reach * 100)} % of the threshold` : "unknown";
  return (
    <span class="reach" role="img" aria-label={text} title={text}>
      <span class={level} style={{ width: `${reach * 100}%` }} />
    </span>
  );
}

function Count({ quiet, total, word }: { quiet: number; total: number; word: string }) {
  if (total === 0) return null;
  return <Badge tone={quiet === total ? "good" : "bad"}>{`${quiet} of ${total} ${word}`}</Badge>;
}

export function Breakers({ rows }: { rows: Breaker[] }) {
  const closed = rows.filter((row) => row.state === "CLOSED").length;
  return (
    <Panel testId="breakers" title="Breakers" note={<Count quiet={closed} total={rows.length} word="closed" />}>
      <Table
        label="Breakers"
        rows={rows}
        rowKey={(row) => `${row.name} ${row.scope}`}
        empty="No breakers known"
        tone={(row) => (row.state === "OPEN" ? "bad" : row.state === "CLOSED" ? "plain" : "warn")}
        remark={(row) => {
          if (row.state === "CLOSED") return null;
          const since = isKnown(row.since) ? `; since ${moment(row.since)} UTC` : "";
          return `${row.reason || "no reason given"}${since}`;
        }}
        columns={[
          { head: "breaker", cell: (row) => <span class="name" title={`${row.name}, ${row.scope}`}>{words(row.name)}</span> },
          { head: "scope", cell: (row) => <span class="scope" title={row.scope}>{row.scope}</span> },
          { head: "measure / threshold", kind: "number", cell: (row) => (
            <>
              {measure(row.measure, row.unit)} / {measure(row.threshold, row.unit)}
              {unitBeside(row.unit) && <span class="unit"> {unitBeside(row.unit)}</span>}
              <Reach row={row} />
            </>
          ) },
          { head: "state", cell: (row) => <Badge tone={breakerTone(row.state)}>{words(row.state)}</Badge> },
          ageColumn((row: Breaker) => row.ts),
        ]}
      />
    </Panel>
  );
}

const sourceTone = (state: string) => (state === "live" ? "good" : state === "down" ? "bad" : "warn");

function refusals(row: Source): string | null {
  const given = Object.entries(row.refusals ?? {}).filter(([, count]) => count !== 0);
  return given.length === 0 ? null : `refused: ${given.map(([why, n]) => `${words(why)} ${number(n)}`).join(", ")}`;
}

export function Sources({ rows }: { rows: Source[] }) {
  const live = rows.filter((row) => row.state === "live").length;
  return (
    <Panel testId="sources" title="Sources" note={<Count quiet={live} total={rows.length} word="live" />}>
      <Table
        label="Sources"
        rows={rows}
        rowKey={(row) => row.name}
        empty="No sources known"
        tone={(row) => (row.state === "live" ? "plain" : sourceTone(row.state))}
        remark={refusals}
        columns={[
          { head: "source", cell: (row) => <span class="name" title={row.name}>{row.name}</span> },
          { head: "rate", unit: "rows/s", kind: "number", cell: (row) => number(row.rate, 1) },
          { head: "admitted", unit: "rows", kind: "number", cell: (row) => number(row.admitted) },
          { head: "refused", kind: "number", cell: (row) => number(row.refused) },
          { head: "trust", unit: "0–1", kind: "number", cell: (row) => number(row.trust, 2) },
          { head: "state", cell: (row) => <Badge tone={sourceTone(row.state)}>{words(row.state)}</Badge> },
          ageColumn((row: Source) => row.last),
        ]}
      />
    </Panel>
  );
}

const gateTone = (decision: string) => (decision === "pass" ? "good" : decision === "freeze" ? "warn" : "bad");

export function Gates({ rows }: { rows: Gate[] }) {
  const passing = rows.filter((row) => row.decision === "pass").length;
  return (
    <Panel testId="gates" title="Gates" note={<Count quiet={passing} total={rows.length} word="pass" />}>
      <Table
        label="Gates"
        rows={rows}
        rowKey={(row) => row.name}
        empty="No gates known"
        tone={(row) => (row.decision === "pass" ? "plain" : gateTone(row.decision))}
        remark={(row) => row.detail}
        columns={[
          { head: "gate", cell: (row) => <span class="name" title={row.name}>{words(row.name)}</span> },
          { head: "decision", cell: (row) => <Badge tone={gateTone(row.decision)}>{words(row.decision)}</Badge> },
          ageColumn((row: Gate) => row.ts),
        ]}
      />
    </Panel>
  );
}
