// How trust in each source and the bound on our model went over time, with the naive model's error above it.
// The lower pane is logarithmic: what an attacker can do to us and to the naive model differ by orders of magnitude.
import { LineSeries, LineStyle, PriceScaleMode, type IChartApi, type ISeriesApi } from "lightweight-charts";
import { useEffect, useRef, useState } from "preact/hooks";
import { put, useChart, type Drawing, type Palette } from "./chart";
import { number, sigma } from "./format";
import { historyPoints, line, onHistory } from "./history";
import { Age, Panel } from "./table";
import type { Group, Source, View } from "./view";

const COLOURS = 6;
const colourOf = (index: number): string => `--series-${(index % COLOURS) + 1}`;
const colour = (name: string): string => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

type Choice = { group: string; sources: readonly string[] };

function trustDrawing(chart: IChartApi, colours: Palette, choice: { current: Choice }): Drawing {
  const quiet = { priceLineVisible: false, crosshairMarkerRadius: 3 } as const;
  const trust = new Map<string, ISeriesApi<"Line">>();
  const shift = {
    priceFormat: { type: "custom" as const, formatter: (value: number) => sigma(value), minMove: 0.0001 }, ...quiet,
  };
  const bound = chart.addSeries(LineSeries, { ...shift, lineWidth: 2 }, 1);
  const naive = chart.addSeries(LineSeries, { ...shift, lineWidth: 2, lineStyle: LineStyle.Dashed }, 1);
  bound.priceScale().applyOptions({ mode: PriceScaleMode.Logarithmic });
  let shown = "";

  const add = (name: string, index: number): void => {
    const series = chart.addSeries(LineSeries, {
      ...quiet, lineWidth: 2, color: colour(colourOf(index)), lastValueVisible: false,
      priceFormat: { type: "custom", formatter: (value: number) => number(value, 2), minMove: 0.01 },
      autoscaleInfoProvider: () => ({ priceRange: { minValue: 0, maxValue: 1 } }),
    });
    trust.set(name, series);
    put(series, line((point) => point.trust?.[name]), true);
  };

  const draw = (change: "reset" | "append" | "fills"): void => {
    const { group, sources } = choice.current;
    const anew = change === "reset" || group !== shown;
    if (change === "fills" && !anew) return;
    shown = group;
    sources.forEach((name, index) => trust.has(name) || add(name, index));
    for (const [name, series] of trust) put(series, line((point) => point.trust?.[name]), anew);
    put(bound, line((point) => point.certificate?.[group]), anew);
    put(naive, line((point) => point.naive?.[group]), anew);
  };

  const recolour = (next: Palette): void => {
    bound.applyOptions({ color: next.accent });
    naive.applyOptions({ color: next.down });
    [...trust.values()].forEach((series, index) => series.applyOptions({ color: colour(colourOf(index)) }));
  };
  recolour(colours);
  return { draw, recolour };
}

function Legend({ sources, naive }: { sources: Source[]; naive: boolean }) {
  return (
    <ul class="legend">
      {sources.map((source, index) => (
        <li key={source.name} style={{ "--key": `var(${colourOf(index)})` }}>{source.name} {number(source.trust, 2)}</li>
      ))}
      <li style={{ "--key": "var(--accent)" }}>our bound</li>
      {naive && <li class="dashed" style={{ "--key": "var(--down)" }}>naive model's shift</li>}
    </ul>
  );
}

export function TrustChart({ view }: { view: View }) {
  const [chosen, choose] = useState<string | null>(null);
  const groups: Group[] = view.robust?.groups ?? [];
  const group = groups.find(({ name }) => name === chosen) ?? groups[0];
  const name = group?.name ?? "";
  const sources = view.sources.map((source) => source.name);
  const choice = useRef<Choice>({ group: name, sources });
  choice.current = { group: name, sources };
  const { box, drawing, fit } = useChart((chart, colours) => trustDrawing(chart, colours, choice), onHistory);
  useEffect(() => {
    drawing.current?.draw("fills");
    fit();
  }, [name, sources.join()]);

  const note = (
    <>
      <span class="age"><Age ts={historyPoints().at(-1)?.ts ?? null} /></span>
      <select aria-label="Group" value={name} onChange={(event) => choose(event.currentTarget.value)}>
        {groups.map((row) => <option key={row.name} value={row.name}>{row.name}</option>)}
      </select>
      <button type="button" onClick={fit}>fit</button>
    </>
  );
  return (
    <Panel testId="trust-chart" title="Trust (0–1) and shift (σ)" note={note} className="chart">
      <Legend sources={view.sources} naive={view.naive !== null} />
      <div class="canvas" ref={box} role="img" aria-label={`Trust in each source, and below it the bound on our model of ${name} beside the naive model's shift, over time`} />
    </Panel>
  );
}
