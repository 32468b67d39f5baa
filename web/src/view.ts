// What the node tells the page (the shape of its view), and the connection over which it tells it.
// A view is live only while the stream is open and keeps speaking; otherwise the page must look dead.
import { useEffect, useReducer } from "preact/hooks";
import { acceptPoint, loadHistory, rememberFills, type Point } from "./history";

/** A number that the node may not know. */
export type Maybe = number | null;

export type Equity = {
  value: Maybe; cash: Maybe; unrealised: Maybe; realised: Maybe; fees: Maybe;
  peak: Maybe; drawdown: Maybe; leverage: Maybe; ts: Maybe;
};
export type Position = {
  instrument: string; quantity: string | null; unit: string; average_price: Maybe; mark: Maybe;
  notional: Maybe; unrealised: Maybe; realised: Maybe; target: Maybe; ts: Maybe;
};
/** state: trading, waiting (for its venue) or halted (until somebody has looked). No name: there is one alone. */
export type Account = {
  name: string; state: string; reason: string | null; equity: Maybe; cash: Maybe; unrealised: Maybe; realised: Maybe;
  fees: Maybe; balances: Record<string, string> | null; positions: Record<string, string> | null; orders: Maybe;
  compared: Maybe; ts: Maybe;
};
export type Order = {
  client_id: string; instrument: string; side: "buy" | "sell"; type: string; price: Maybe;
  quantity: string | null; filled: string | null; state: string; ts: Maybe;
};
export type Fill = {
  id: string; ts: Maybe; instrument: string; side: "buy" | "sell"; price: Maybe;
  quantity: string | null; fee: string | null; fee_asset: string;
};
export type Breaker = {
  name: string; scope: string; state: string; measure: Maybe; threshold: Maybe;
  unit: string; reason: string | null; since: Maybe; ts: Maybe;
};
export type Source = {
  name: string; state: string; rate: Maybe; admitted: Maybe; refused: Maybe;
  refusals: Record<string, Maybe> | null; trust: Maybe; last: Maybe;
} & Partial<{
  /** trusted, suspended, probation or banned. */
  standing: string; votes: boolean;
  /** Of the authenticity gate, last and highest, as a multiple of its limit: 1 and more rejects. */
  score: Maybe; worst: Maybe;
  /** Of the last rejection or ban. */
  reason: string | null; rejections: Maybe; strikes: Maybe; clean: Maybe; until: Maybe; suspected: Maybe;
}>;
export type Gate = { name: string; decision: string; detail: string | null; ts: Maybe };
export type Instrument = {
  name: string; group: string; bid: Maybe; ask: Maybe; mid: Maybe; spread_bps: Maybe; volatility: Maybe;
  regime: string | null; consensus: Maybe; deviation_bps: Maybe; sources: Maybe; ts: Maybe;
};
/** A window or a model beside the reference: Mahalanobis distance, extreme eigenvalues, divergence in nats. */
export type Corridor = { distance: Maybe; spectrum: [Maybe, Maybe] | null; divergence: Maybe };
/** Lengths in sigma: standard deviations of the group's reference. */
export type Certificate = {
  standing: string; past: Maybe; next_hour: Maybe; conditional: boolean | null; sample: Maybe; decisions: Maybe;
  reference: Maybe; axes: Record<string, Maybe> | null; sources: Maybe; faulty: Maybe; excluded: Maybe;
  updates: Maybe; ts: Maybe;
};
export type Figures = {
  shift: Maybe; window: Corridor | null; model: Corridor | null; corridor: Corridor | null;
  limits: { distance: Maybe; spectrum: Maybe; divergence: Maybe } | null; rows: Maybe; ts: Maybe;
};
/** What a group of sources that quote the same thing has learned, and how far it can be trusted. */
export type Group = {
  name: string; sources: Maybe; voting: Maybe; decision: string | null; reason: string | null;
  counts: Record<string, Maybe> | null; rolled_back: Maybe; corroboration: Maybe; verdict: string | null;
  reference: { name: string; rows: Maybe; provisional: boolean } | null;
  certificate: Certificate | null; figures: Figures | null;
};
export type Exposure = { instrument: string; wanted: Maybe; low: Maybe; high: Maybe; bound: Maybe; ts: Maybe };
/** every: milliseconds from one review to the next. */
export type Robust = { reviewed: Maybe; every?: Maybe; groups: Group[] | null; exposures: Exposure[] | null };
/** Sources of the simulated market that are told to lie; their names with commas between. */
export type Hostile = {
  source: string; attack: string; detail: string | null; since: Maybe; active: boolean; off: string | null;
};
/** What a system that believes every source makes of the same rows. */
export type Naive = { price: Maybe; consensus: Maybe; price_off_bps: Maybe; shift: Maybe; ts: Maybe };
export type View = {
  now: Maybe; mode: string | null; status: string | null; reasons: string[];
  feed: { name: string | null; detail: string | null }; numeraire: string; uptime_s: Maybe; equity: Equity;
  positions: Position[]; accounts: Account[]; orders: Order[]; fills: Fill[]; breakers: Breaker[]; sources: Source[];
  gates: Gate[]; instruments: Instrument[]; journal: { rows: Maybe; hash: string | null };
  robust: Robust | null; hostile: Hostile | null; naive: Record<string, Naive> | null;
};

const NO_EQUITY: Equity = {
  value: null, cash: null, unrealised: null, realised: null, fees: null,
  peak: null, drawdown: null, leverage: null, ts: null,
};

/** A view of which nothing is known yet; it also fills what a node leaves out. */
export const UNKNOWN_VIEW: View = {
  now: null, mode: null, status: null, reasons: [], feed: { name: null, detail: null }, numeraire: "",
  uptime_s: null, equity: NO_EQUITY, positions: [], accounts: [], orders: [], fills: [], breakers: [], sources: [],
  gates: [], instruments: [], journal: { rows: null, hash: null },
  robust: null, hostile: null, naive: null,
};

function readView(text: string): View {
  const sent = JSON.parse(text) as Partial<View>;
  const given = Object.fromEntries(Object.entries(sent).filter(([, value]) => value !== null));
  return { ...UNKNOWN_VIEW, ...given };
}

/** The node speaks twice a second; silent for this long, it no longer counts as live. */
const SILENCE_MS = 4_000;
/** A stream that stays silent for this long is torn down and opened anew. */
const REOPEN_MS = 10_000;

export type Link = "connecting" | "live" | "lost";

/** The connection as the page sees it at this moment. */
export type Connection = {
  view: View;
  link: Link;
  /** What went wrong, in words; empty while live. */
  problem: string;
  /** The node's clock now: that of its last view, carried on by ours; null before the first view. */
  now: Maybe;
  /** Milliseconds since the last view arrived; null before the first. */
  silent: Maybe;
};

type Stream = { view: View | null; received: number; open: boolean; problem: string };

function describe(stream: Stream): Connection {
  const silent = stream.view === null ? null : performance.now() - stream.received;
  const speaking = silent !== null && silent < SILENCE_MS;
  const live = stream.open && speaking && stream.problem === "";
  const link: Link = live ? "live" : stream.view === null && stream.problem === "" ? "connecting" : "lost";
  const problem = live ? "" : stream.problem || (stream.open ? "the node is connected but silent" : "");
  const clock = stream.view?.now ?? null;
  return {
    view: stream.view ?? UNKNOWN_VIEW, link, problem, silent,
    now: clock === null || silent === null ? null : clock + silent,
  };
}

/** Opens the stream, calls `changed` whenever the page should be drawn anew; returns the way to close it. */
function follow(stream: Stream, changed: () => void): () => void {
  let events: EventSource;
  let opened = 0;

  const open = (): void => {
    opened = performance.now();
    events = new EventSource("/api/monitoring/stream");
    events.onopen = () => {
      stream.open = true;
      void loadHistory();
    };
    events.onerror = () => {
      stream.open = false;
      stream.problem = "the node does not answer";
      changed();
    };
    events.addEventListener("view", (event: MessageEvent<string>) => {
      try {
        stream.view = readView(event.data);
      } catch {
        stream.problem = "the node sends what this page cannot read";
        return changed();
      }
      stream.received = performance.now();
      stream.open = true;
      stream.problem = "";
      rememberFills(stream.view.fills);
      changed();
    });
    events.addEventListener("point", (event: MessageEvent<string>) => {
      try {
        acceptPoint(JSON.parse(event.data) as Point);
      } catch {
        // One lost point of a chart is no reason to stop; an unreadable view is.
      }
    });
  };

  const watch = setInterval(() => {
    // The browser retries by itself, except after a refusal (HTTP error) and on a connection that died unnoticed.
    const quiet = performance.now() - Math.max(stream.received, opened);
    const refused = events.readyState === EventSource.CLOSED && quiet > 2_000;
    if (refused || quiet > REOPEN_MS) {
      events.close();
      stream.open = false;
      stream.problem ||= "the node fell silent";
      open();
    }
    changed();
  }, 1_000);

  open();
  return () => {
    clearInterval(watch);
    events.close();
  };
}

const stream: Stream = { view: null, received: 0, open: false, problem: "" };

/** The connection to the node; the component that calls it is drawn anew with each view and each second. */
export function useConnection(): Connection {
  const [, changed] = useReducer((count: number, _: void) => count + 1, 0);
  useEffect(() => follow(stream, () => changed()), []);
  return describe(stream);
}
