// The top bar: one large word that says whether it is safe, why, and the account in a handful of numbers.
// The word also goes into the title and the icon of the browser's tab, for the trader who looks elsewhere.
import type { ComponentChildren } from "preact";
import { useEffect } from "preact/hooks";
import { UNKNOWN, clock, duration, money, number, percent, signed } from "./format";
import { attention } from "./safety";
import { Age } from "./table";
import type { Connection, Maybe, View } from "./view";

type Safety = "safe" | "watch" | "stopped" | "blind";
type Status = { word: string; safety: Safety; reasons: string[] };

/** What the large word says: first whether we see at all, then what the node says, then what is amiss. */
function statusOf({ view, link, problem, silent, now }: Connection): Status {
  if (link === "connecting") return { word: "Connecting", safety: "watch", reasons: ["waiting for the node's first word"] };
  if (link === "lost") {
    const last = silent === null ? "nothing has been received" : `last word ${duration(silent)} ago: nothing below is live`;
    return { word: "Disconnected", safety: "blind", reasons: [problem, last] };
  }
  if (view.status === null) return { word: "Unknown", safety: "watch", reasons: ["the node does not say whether it trades"] };
  if (view.status === "trading") {
    const amiss = attention(view, now);
    const bounded = view.robust?.groups?.length ? `, ${view.robust.groups.length} certificates hold` : "";
    const quiet = `${view.breakers.length} breakers closed, ${view.sources.length} sources live, ${view.gates.length} gates passing${bounded}`;
    return { word: "Trading", safety: amiss.length ? "watch" : "safe", reasons: amiss.length ? amiss : [quiet] };
  }
  const reasons = view.reasons.length ? view.reasons : ["no reason given"];
  if (view.status === "halted") return { word: "Halted", safety: "stopped", reasons };
  return { word: view.status, safety: "watch", reasons };
}

const SHAPES: Record<Safety, string> = {
  safe: "M2 8.5 6.5 13 14 3.5",
  watch: "M8 2 15 14H1zM8 6.5v3.5m0 1.6v.4",
  stopped: "M5 1.5h6L14.5 5v6L11 14.5H5L1.5 11V5zM5 8h6",
  blind: "M3 3l10 10M13 3 3 13",
};
const ICON_COLOURS: Record<Safety, string> = { safe: "#2f9e6b", watch: "#c98a00", stopped: "#d13438", blind: "#7a8591" };

function useTab(status: Status, equity: string): void {
  const title = `${status.word.toUpperCase()} · ${equity}Seawall`;
  useEffect(() => {
    document.title = title;
  }, [title]);
  useEffect(() => {
    const picture = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16" fill="none" stroke="${ICON_COLOURS[status.safety]}" stroke-width="2.4"><path d="${SHAPES[status.safety]}"/></svg>`;
    document.querySelector("link[rel=icon]")?.setAttribute("href", `data:image/svg+xml,${encodeURIComponent(picture)}`);
  }, [status.safety]);
}

type TileProps = {
  label: string;
  testId: string;
  ts: Maybe;
  wide?: boolean;
  children: ComponentChildren;
  below: ComponentChildren;
};

/** One number of the top bar, with its age in the corner and a remark below. */
function Tile({ label, testId, ts, wide = false, children, below }: TileProps) {
  return (
    <div class={wide ? "tile wide" : "tile"} data-testid={testId}>
      <dt>{label} <span class="age"><Age ts={ts} /></span></dt>
      <dd class="tile-value">{children}</dd>
      <dd class="tile-below">{below}</dd>
    </div>
  );
}

const Unit = ({ children }: { children: ComponentChildren }) => <span class="unit"> {children}</span>;

function Account({ view }: { view: View }) {
  const { equity, numeraire } = view;
  const { ts } = equity;
  const profit = (value: Maybe) => <span class={value ? (value > 0 ? "up" : "down") : ""}>{signed(value)}</span>;
  return (
    <>
      <Tile label="Equity" testId="equity" ts={ts} wide below={<>cash {money(equity.cash)} {numeraire}</>}>
        {money(equity.value)}<Unit>{numeraire}</Unit>
      </Tile>
      <Tile label="Drawdown" testId="drawdown" ts={ts} wide below={<>from {money(equity.peak)} {numeraire}</>}>
        {percent(equity.drawdown)}
      </Tile>
      <Tile label="Leverage" testId="leverage" ts={ts} below="of equity">
        {number(equity.leverage, 2)}<Unit>×</Unit>
      </Tile>
      <Tile label="Unrealised" testId="unrealised" ts={ts} wide below={<>realised {profit(equity.realised)}, fees {money(equity.fees)} {numeraire}</>}>
        {profit(equity.unrealised)}<Unit>{numeraire}</Unit>
      </Tile>
    </>
  );
}

export function Header({ connection }: { connection: Connection }) {
  const { view, now, link } = connection;
  const status = statusOf(connection);
  useTab(status, link === "live" ? `${money(view.equity.value)} ${view.numeraire} · ` : "");
  return (
    <header class={`top ${status.safety}`}>
      <div class="status" data-testid="status" data-status={link === "live" ? view.status : link} role="status">
        <svg viewBox="0 0 16 16" aria-hidden="true"><path d={SHAPES[status.safety]} /></svg>
        <h1>{status.word}</h1>
        <ul>{status.reasons.map((reason) => <li key={reason}>{reason}</li>)}</ul>
      </div>
      <dl class="tiles">
        <Account view={view} />
        <Tile label="Mode" testId="mode" ts={view.now} below={<>up {duration(view.uptime_s === null ? null : view.uptime_s * 1_000)}</>}>
          {view.mode ?? UNKNOWN}
        </Tile>
        <Tile label="Feed" testId="feed" ts={view.now} wide below={<span class="clamped" title={view.feed.detail ?? ""}>{view.feed.detail || "no remark"}</span>}>
          {view.feed.name ?? UNKNOWN}
        </Tile>
        <Tile label="Journal" testId="journal" ts={view.now} below={<>hash <code title={view.journal.hash ?? ""}>{view.journal.hash?.slice(0, 8) ?? UNKNOWN}</code></>}>
          {number(view.journal.rows)}<Unit>rows</Unit>
        </Tile>
        <Tile label="Clock" testId="clock" ts={view.now} below="UTC">
          {clock(now)}
        </Tile>
      </dl>
    </header>
  );
}
