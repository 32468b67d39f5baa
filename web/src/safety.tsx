// The column that says whether it is safe: breakers, sources of data, and the gates that the data must pass.
// Each knows which of its rows ask for attention, and the status above sums them up.
import { reviewEvery, uncertified } from "./certificate";
import { UNKNOWN, clock, isKnown, measure, moment, number, unitBeside, words } from "./format";
import { lyingVoters } from "./hostile";
import { Badge, Panel, RED_MS, Table, ageColumn, type Tone } from "./table";
import type { Breaker, Gate, Maybe, Source, View } from "./view";

/** The gate has just rejected it, but it has not lost its vote. */
const suspected = (row: Source): boolean => row.standing === "trusted" && isKnown(row.score) && row.score >= 1;

const distrusted = (row: Source): boolean =>
  (row.standing ?? "trusted") !== "trusted" || row.votes === false || suspected(row);

/** What is amiss, in words; empty when every guard is quiet. */
export function attention(view: View, now: Maybe): string[] {
  const named = (what: string, names: string[]): string[] =>
    names.length === 0 ? [] : [`${what}: ${names.map((name) => name.replaceAll("_", " ")).join(", ")}`];
  const old = (ts: Maybe): boolean => !isKnown(ts) || !isKnown(now) || now - ts > RED_MS;
  const shutOut = view.sources.filter((row) => row.votes === false).map((row) => row.name);
  const held = new Set(view.positions.map((row) => row.instrument));
  // Nobody listens to a source without a vote: its prices matter only where we hold what it trades.
  const heeded = (name: string): boolean => held.has(name) || !shutOut.includes(name.split("@")[1] ?? "");
  const reviewed = view.robust?.reviewed;
  const overdue = isKnown(reviewed) && isKnown(now) && now - reviewed > 2 * reviewEvery(view.robust) + RED_MS;
  const guards = { breakers: view.breakers, sources: view.sources, gates: view.gates };
  return [
    ...named("not reported", Object.entries(guards).filter(([, rows]) => rows.length === 0).map(([what]) => what)),
    ...(old(view.equity.ts) ? ["account figures are old"] : []),
    ...named("old price", view.instruments.filter((row) => old(row.ts) && heeded(row.name)).map((row) => row.name)),
    ...named("breaker not closed", view.breakers.filter((row) => row.state !== "CLOSED").map((row) => row.name)),
    ...named("source not live", view.sources.filter((row) => row.state !== "live").map((row) => row.name)),
    ...named("source not trusted", view.sources.filter(distrusted).map((row) => `${row.name} (${standingWord(row)})`)),
    ...named("lies and has a vote", lyingVoters(view).map((row) => row.name)),
    ...uncertified(view).flatMap(([what, groups]) => named(what, groups)),
    ...(overdue ? ["review of the sources is overdue"] : []),
    ...named("gate not passing", view.gates.filter((row) => row.decision !== "pass").map((row) => row.name)),
    ...named("order unknown", view.orders.filter((row) => row.state === "UNKNOWN").map((row) => row.instrument)),
  ];
}

/** Its name, and what it guards where there is one for each: "anchor_anomaly BTC". */
function breakerName(row: Breaker): [string, string] {
  const [name = "", ...key] = row.name.split(" ");
  return [name, key.join(" ")];
}

const breakerTone = (state: string) => (state === "OPEN" ? "bad" : state === "CLOSED" ? "good" : "warn");

/** A bar below a number. */
function Bar({ part, tone, text }: { part: number; tone: Tone; text: string }) {
  return (
    <span class="reach" role="img" aria-label={text} title={text}>
      <span class={tone} style={{ width: `${Math.min(1, Math.max(0, part)) * 100}%` }} />
    </span>
  );
}

/** How near a measure is to its threshold; the bar is full where it is reached. */
function Reach({ measure: value, threshold }: { measure: Maybe | undefined; threshold: Maybe }) {
  const known = isKnown(value) && isKnown(threshold) && threshold !== 0;
  const reach = known ? Math.min(1, Math.abs(value / threshold)) : 0;
  const text = known ? `${Math.round(reach * 100)} % of the threshold` : "unknown";
  return <Bar part={reach} tone={reach >= 1 ? "bad" : reach >= 0.75 ? "warn" : "good"} text={text} />;
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
        first={(row) => row.state !== "CLOSED"}
        tone={(row) => (row.state === "OPEN" ? "bad" : row.state === "CLOSED" ? "plain" : "warn")}
        remark={(row) => {
          if (row.state === "CLOSED") return null;
          const since = isKnown(row.since) ? `; since ${moment(row.since)} UTC` : "";
          return `${row.reason || "no reason given"}${since}`;
        }}
        columns={[
          { head: "breaker", cell: (row) => <span class="name" title={`${row.name}, ${row.scope}`}>{words(breakerName(row)[0])}</span> },
          { head: "scope", cell: (row) => <span class="scope" title={`${row.scope} ${breakerName(row)[1]}`}>{breakerName(row)[1] || row.scope}</span> },
          { head: "measure / threshold", kind: "number", cell: (row) => (
            <>
              {measure(row.measure, row.unit)} / {measure(row.threshold, row.unit)}
              {unitBeside(row.unit) && <span class="unit short" title={row.unit}> {unitBeside(row.unit)}</span>}
              <Reach measure={row.measure} threshold={row.threshold} />
            </>
          ) },
          { head: "state", cell: (row) => <Badge tone={breakerTone(row.state)}>{words(row.state)}</Badge> },
          ageColumn((row: Breaker) => row.ts),
        ]}
      />
    </Panel>
  );
}

const stateTone = (state: string): Tone => (state === "live" ? "good" : state === "down" ? "bad" : "warn");

const standingTone = (row: Source): Tone =>
  row.standing === "banned" || row.standing === "suspended" ? "bad" : distrusted(row) ? "warn" : row.standing ? "good" : "plain";

function standingWord(row: Source): string {
  if (!row.standing) return row.votes === false ? "no vote" : UNKNOWN;
  if (row.standing === "trusted" && row.votes === false) return "no vote yet";
  return suspected(row) ? "suspected" : words(row.standing);
}

/** Clean reviews that end a probation. */
const PROBATION = 10;

/** Why a source stands where it stands, and what of its rows was refused. */
function sourceRemark(row: Source): string | null {
  const given = Object.entries(row.refusals ?? {}).filter(([, count]) => count !== 0);
  const suspended = row.standing === "suspended" && isKnown(row.until);
  const rejected = (row.rejections ?? 0) > 0 ? `rejected ${number(row.rejections)} times, worst ${number(row.worst, 1)} × limit` : "";
  const parts = [
    row.reason ? `authenticity: ${row.reason}` : "",
    rejected,
    suspended ? `until ${clock(row.until)} UTC` : "",
    row.standing === "probation" ? `${number(row.clean)} of ${PROBATION} clean reviews` : "",
    isKnown(row.suspected) && distrusted(row) ? `suspected since ${clock(row.suspected)} UTC` : "",
    given.length ? `refused: ${given.map(([why, n]) => `${words(why)} ${number(n)}`).join(", ")}` : "",
  ];
  return parts.filter(Boolean).join("; ") || null;
}

/** A source is only as good as the worse of what it sends and of how far it is believed. */
function sourceRowTone(row: Source): Tone {
  const tones = [stateTone(row.state), standingTone(row)];
  return tones.includes("bad") ? "bad" : tones.includes("warn") ? "warn" : "plain";
}

export function Sources({ rows }: { rows: Source[] }) {
  const live = rows.filter((row) => row.state === "live").length;
  const voting = rows.filter((row) => !distrusted(row)).length;
  const note = (
    <>
      {rows.some((row) => row.standing) && <Count quiet={voting} total={rows.length} word="trusted" />}
      <Count quiet={live} total={rows.length} word="live" />
    </>
  );
  return (
    <Panel testId="sources" title="Sources" note={note}>
      <Table
        label="Sources"
        rows={rows}
        rowKey={(row) => row.name}
        empty="No sources known"
        first={distrusted}
        tone={sourceRowTone}
        remark={sourceRemark}
        columns={[
          { head: "source", cell: (row) => <span class="name" title={row.name}>{row.name}</span> },
          { head: "trust", unit: "0–1", kind: "number", cell: (row) => (
            <>
              {number(row.trust, 2)}
              <Bar part={row.trust ?? 0} tone={standingTone(row)} text={`trust ${number(row.trust, 2)} of 1`} />
            </>
          ) },
          { head: "standing", cell: (row) => <Badge tone={standingTone(row)}>{standingWord(row)}</Badge> },
          { head: "score", unit: "× limit", kind: "number", cell: (row) => (
            <>
              {number(row.score, 2)}
              <Reach measure={row.score} threshold={1} />
            </>
          ) },
          { head: "rate", unit: "rows/s", kind: "number", cell: (row) => number(row.rate, 1) },
          { head: "refused", unit: "/ admitted", kind: "number", cell: (row) => <>{number(row.refused)} <span class="unit">/ {number(row.admitted)}</span></> },
          { head: "state", cell: (row) => <Badge tone={stateTone(row.state)}>{words(row.state)}</Badge> },
          ageColumn((row: Source) => row.last),
        ]}
      />
    </Panel>
  );
}

const gateTone = (decision: string) => (decision === "pass" ? "good" : decision === "freeze" ? "warn" : "bad");

export function Gates({ rows, every }: { rows: Gate[]; every: number }) {
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
          ageColumn((row: Gate) => row.ts, undefined, every),
        ]}
      />
    </Panel>
  );
}
