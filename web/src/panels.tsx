// What we hold and do (positions, orders, fills) and what the market shows (instruments), one table each.
// Units stand in the head of a column when all its rows share them, else beside the number.
import type { ComponentChildren } from "preact";
import { fee, money, number, percent, price, quantity, signed, words } from "./format";
import { Age, Badge, Clock, Panel, Table, ageColumn } from "./table";
import type { Account, Fill, Instrument, Maybe, Order, Position } from "./view";

function ProfitAndLoss({ value }: { value: Maybe }) {
  const tone = value === null || value === undefined || value === 0 ? "" : value > 0 ? "up" : "down";
  return <span class={tone}>{signed(value)}</span>;
}

/** Two numbers of a kind, one above the other, so that a table of many fits its panel. */
const Two = ({ above, below }: { above: ComponentChildren; below: ComponentChildren }) => <><div>{above}</div><div>{below}</div></>;

const Name = ({ name }: { name: string }) => <span class="name" title={name}>{name}</span>;

const Side = ({ side }: { side: string }) => (
  <span class={side === "buy" ? "side up" : "side down"}>{side}</span>
);

export function Positions({ rows, numeraire }: { rows: Position[]; numeraire: string }) {
  return (
    <Panel testId="positions" title="Positions" note={rows.length ? `${rows.length}, in ${numeraire}` : ""}>
      <Table
        label="Positions"
        rows={rows}
        rowKey={(row) => row.instrument}
        empty="No open positions"
        columns={[
          { head: "instrument", cell: (row) => <Name name={row.instrument} /> },
          { head: "quantity", kind: "number", cell: (row) => <>{quantity(row.quantity)} <span class="unit">{row.unit}</span></> },
          { head: "average", below: "mark", kind: "number", cell: (row) => <Two above={price(row.average_price)} below={price(row.mark)} /> },
          { head: "notional", below: "target", kind: "number", cell: (row) => <Two above={money(row.notional)} below={money(row.target)} /> },
          {
            head: "unrealised", below: "realised", kind: "number",
            cell: (row) => <Two above={<ProfitAndLoss value={row.unrealised} />} below={<ProfitAndLoss value={row.realised} />} />,
          },
          ageColumn((row: Position) => row.ts),
        ]}
      />
    </Panel>
  );
}

const ACCOUNT_TONES: Record<string, "good" | "warn" | "bad"> = { trading: "good", waiting: "warn", halted: "bad" };
/** Books and venue are compared once a minute. */
const COMPARED_EVERY_MS = 60_000;

const held = (row: Account): string =>
  [...Object.values(row.positions ?? {}), ...Object.entries(row.balances ?? {}).map(([asset, amount]) => `${quantity(amount)} ${asset}`)].join(", ");

/** Where there are several; one alone is what the top bar says. */
export function Accounts({ rows, numeraire }: { rows: Account[]; numeraire: string }) {
  if (rows.every((row) => row.name === "")) return null;
  const trading = rows.filter((row) => row.state === "trading").length;
  return (
    <Panel testId="accounts" title="Accounts" note={`${trading} of ${rows.length} trading, in ${numeraire}`}>
      <Table
        label="Accounts"
        rows={rows}
        rowKey={(row) => row.name}
        empty="No accounts"
        tone={(row) => (row.state === "trading" ? "plain" : ACCOUNT_TONES[row.state] ?? "plain")}
        remark={(row) => row.reason}
        columns={[
          { head: "account", cell: (row) => <Two above={<Name name={row.name} />} below={<Badge tone={ACCOUNT_TONES[row.state] ?? "plain"}>{row.state}</Badge>} /> },
          { head: "equity", below: "cash", kind: "number", cell: (row) => <Two above={money(row.equity)} below={money(row.cash)} /> },
          { head: "unrealised", below: "realised", kind: "number", cell: (row) => <Two above={<ProfitAndLoss value={row.unrealised} />} below={<ProfitAndLoss value={row.realised} />} /> },
          { head: "holds", cell: (row) => <span class="clamped" title={held(row)}>{held(row)}</span> },
          { head: "compared", kind: "age", cell: (row) => <Age ts={row.compared} every={COMPARED_EVERY_MS} /> },
        ]}
      />
    </Panel>
  );
}

const FINISHED = new Set(["FILLED", "CANCELLED", "CANCELED", "REJECTED", "EXPIRED", "FAILED"]);
const isOpen = (order: Order): boolean => !FINISHED.has(order.state);

function orderTone(state: string): "good" | "warn" | "bad" | "plain" {
  if (state === "UNKNOWN") return "bad";
  if (state === "REJECTED" || state === "FAILED") return "warn";
  return state === "FILLED" ? "good" : "plain";
}

export function Orders({ rows, numeraire }: { rows: Order[]; numeraire: string }) {
  const open = rows.filter(isOpen).length;
  const unknown = rows.filter((row) => row.state === "UNKNOWN").length;
  const note = (
    <>
      {unknown > 0 && <Badge tone="bad">{unknown} unknown</Badge>} {open} open, {rows.length - open} recent
    </>
  );
  return (
    <Panel testId="orders" title="Orders" note={rows.length ? note : ""}>
      <Table
        label="Orders"
        rows={rows}
        rowKey={(row) => row.client_id}
        empty="No orders yet"
        newestFirst
        first={isOpen}
        tone={(row) => (row.state === "UNKNOWN" ? "bad" : "plain")}
        columns={[
          { head: "instrument", cell: (row) => <Name name={row.instrument} /> },
          { head: "side, type", cell: (row) => <><Side side={row.side} /> {row.type}</> },
          { head: "price", unit: numeraire, kind: "number", cell: (row) => (row.type === "market" ? "at market" : price(row.price)) },
          { head: "filled", unit: "of quantity", kind: "number", cell: (row) => <>{quantity(row.filled)} / {quantity(row.quantity)}</> },
          { head: "state", cell: (row) => <Badge tone={orderTone(row.state)}>{words(row.state.replace("PARTIALLY", "PARTLY"))}</Badge> },
          ageColumn((row: Order) => row.ts, (row) => row.state !== "UNKNOWN"),
        ]}
      />
    </Panel>
  );
}

export function Fills({ rows, numeraire }: { rows: Fill[]; numeraire: string }) {
  return (
    <Panel testId="fills" title="Fills" note={rows.length ? `newest ${rows.length}` : ""}>
      <Table
        label="Fills"
        rows={rows}
        rowKey={(row) => row.id}
        empty="No fills yet"
        newestFirst
        columns={[
          { head: "instrument", cell: (row) => <Name name={row.instrument} /> },
          { head: "side", cell: (row) => <Side side={row.side} /> },
          { head: "price", unit: numeraire, kind: "number", cell: (row) => price(row.price) },
          { head: "quantity", kind: "number", cell: (row) => quantity(row.quantity) },
          { head: "fee", kind: "number", cell: (row) => <span title={row.fee ?? ""}>{fee(row.fee)} <span class="unit">{row.fee_asset}</span></span> },
          { head: "time", unit: "UTC", kind: "number", cell: (row) => <Clock ts={row.ts} /> },
          ageColumn((row: Fill) => row.ts, () => true),
        ]}
      />
    </Panel>
  );
}

function Regime({ regime }: { regime: string | null }) {
  const tone = regime === "EXTREME_VOL" ? "bad" : regime === "HIGH_VOL" ? "warn" : "plain";
  return <Badge tone={tone}>{words(regime?.replace(/_VOL$/, ""))}</Badge>;
}

export function Instruments({ rows, numeraire }: { rows: Instrument[]; numeraire: string }) {
  return (
    <Panel testId="instruments" title="Instruments" note={rows.length || ""}>
      <Table
        label="Instruments"
        rows={rows}
        rowKey={(row) => row.name}
        empty="No instruments yet"
        columns={[
          { head: "instrument", cell: (row) => <Name name={row.name} /> },
          { head: "bid", unit: numeraire, kind: "number", cell: (row) => price(row.bid) },
          { head: "ask", unit: numeraire, kind: "number", cell: (row) => price(row.ask) },
          { head: "spread", unit: "bps", kind: "number", cell: (row) => number(row.spread_bps, 1) },
          { head: "consensus", unit: numeraire, kind: "number", cell: (row) => price(row.consensus) },
          { head: "off", unit: "bps", kind: "number", cell: (row) => signed(row.deviation_bps, 1) },
          { head: "of", unit: "sources", kind: "number", cell: (row) => number(row.sources) },
          { head: "volatility", unit: "a year", kind: "number", cell: (row) => percent(row.volatility, 0) },
          { head: "regime", cell: (row) => <Regime regime={row.regime} /> },
          ageColumn((row: Instrument) => row.ts),
        ]}
      />
    </Panel>
  );
}
