// The two charts: the price of a chosen instrument with our trades on it, and our equity above its drawdown.
// They draw from the history, not from the view, so that a new view never touches a canvas.
import {
  AreaSeries, BaselineSeries, CandlestickSeries, LineSeries, LineStyle, createSeriesMarkers,
  type IChartApi, type ISeriesApi, type IPriceLine, type SeriesMarker, type Time,
} from "lightweight-charts";
import { useEffect, useRef, useState } from "preact/hooks";
import { chartTime, put, useChart, type Drawing, type Palette } from "./chart";
import { duration, isKnown, number, price, priceDecimals } from "./format";
import { candleSeconds, candles, historyPoints, line, onHistory, trades } from "./history";
import { Age, Panel } from "./table";
import type { Equity, Instrument, Maybe, Position } from "./view";

type Shape = "line" | "candles";
type Choice = { instrument: string; shape: Shape; average: Maybe };

function priceDrawing(chart: IChartApi, colours: Palette, choice: { current: Choice }): Drawing {
  const quiet = { priceLineVisible: true, lastValueVisible: true, priceLineStyle: LineStyle.Dotted } as const;
  const lines = chart.addSeries(LineSeries, { ...quiet, lineWidth: 2 });
  const bars = chart.addSeries(CandlestickSeries, quiet);
  const series: Record<Shape, ISeriesApi<"Line"> | ISeriesApi<"Candlestick">> = { line: lines, candles: bars };
  const markers = { line: createSeriesMarkers<Time>(lines, []), candles: createSeriesMarkers<Time>(bars, []) };
  let shown: Choice = { instrument: "", shape: "line", average: null };
  let step = 1;
  let average: IPriceLine | null = null;
  let now = colours;

  const mark = (): void => {
    const marks = trades(shown.instrument, shown.shape === "line" ? 1 : step).map(
      ({ time, side }): SeriesMarker<Time> => ({
        time: chartTime(time),
        position: side === "buy" ? "belowBar" : "aboveBar",
        shape: side === "buy" ? "arrowUp" : "arrowDown",
        color: side === "buy" ? now.up : now.down,
      }),
    );
    markers[shown.shape].setMarkers(marks);
  };

  const drawAverage = (): void => {
    if (average) series[shown.shape].removePriceLine(average);
    average = null;
    if (!isKnown(choice.current.average)) return;
    average = series[choice.current.shape].createPriceLine({
      price: choice.current.average, color: now.text, lineStyle: LineStyle.Dashed, lineWidth: 1, title: "our average",
    });
  };

  const clear = (): void => {
    markers[shown.shape].setMarkers([]);
    series[shown.shape].setData([]);
  };

  const draw = (change: "reset" | "append" | "fills"): void => {
    const wanted = choice.current;
    const moved = wanted.instrument !== shown.instrument || wanted.shape !== shown.shape;
    if (moved || wanted.average !== shown.average) drawAverage();
    if (moved) clear();
    shown = { ...wanted };
    const wantedStep = candleSeconds();
    const anew = moved || change === "reset" || (shown.shape === "candles" && wantedStep !== step);
    step = wantedStep;
    if (change !== "fills" || anew) {
      const { instrument } = shown;
      if (anew) {
        const size = historyPoints().at(-1)?.prices[instrument] ?? 1;
        const minMove = 10 ** -priceDecimals(size);
        series[shown.shape].applyOptions({ priceFormat: { type: "custom", formatter: price, minMove } });
      }
      if (shown.shape === "line") put(lines, line((point) => point.prices[instrument]), anew);
      else put(bars, candles(instrument, step), anew);
    }
    if (change === "fills" || anew) mark();
  };

  const recolour = (next: Palette): void => {
    now = next;
    lines.applyOptions({ color: next.accent });
    bars.applyOptions({
      upColor: next.up, downColor: next.down, wickUpColor: next.up, wickDownColor: next.down,
      borderUpColor: next.up, borderDownColor: next.down,
    });
    mark();
    drawAverage();
  };
  recolour(colours);
  return { draw, recolour };
}

type PriceChartProps = { instruments: Instrument[]; positions: Position[]; numeraire: string };

export function PriceChart({ instruments, positions, numeraire }: PriceChartProps) {
  const [chosen, choose] = useState<string | null>(null);
  const [shape, setShape] = useState<Shape>("line");
  const instrument = instruments.find((row) => row.name === chosen) ?? instruments[0];
  const name = instrument?.name ?? "";
  const average = positions.find((row) => row.instrument === name)?.average_price ?? null;

  const choice = useRef<Choice>({ instrument: name, shape, average });
  choice.current = { instrument: name, shape, average };
  const { box, drawing, fit } = useChart((chart, colours) => priceDrawing(chart, colours, choice), onHistory);
  useEffect(() => {
    drawing.current?.draw("fills");
    fit();
  }, [name, shape]);

  const note = (
    <>
      <strong class="last">{price(instrument?.mid)} <span class="unit">{numeraire}</span></strong>
      <span class="age">mid, <Age ts={instrument?.ts ?? null} /></span>
      <span class="key up side-buy">bought</span>
      <span class="key down side-sell">sold</span>
      <select aria-label="Instrument" value={name} onChange={(event) => choose(event.currentTarget.value)}>
        {instruments.map((row) => <option key={row.name} value={row.name}>{row.name}</option>)}
      </select>
      <select aria-label="Shape of the chart" value={shape} onChange={(event) => setShape(event.currentTarget.value as Shape)}>
        <option value="line">line</option>
        <option value="candles">candles of {duration(candleSeconds() * 1_000)}</option>
      </select>
      <button type="button" onClick={fit}>fit</button>
    </>
  );
  return (
    <Panel testId="price-chart" title="Price" note={note} className="chart">
      <div class="canvas" ref={box} role="img" aria-label={`Price of ${name} over time with our trades`} />
    </Panel>
  );
}

function equityDrawing(chart: IChartApi, colours: Palette): Drawing {
  const equity = chart.addSeries(AreaSeries, {
    lineWidth: 2, topColor: "transparent", bottomColor: "transparent", priceLineStyle: LineStyle.Dotted,
    priceFormat: { type: "custom", formatter: (value: number) => number(value, value >= 1e6 ? 0 : 2), minMove: 0.01 },
  });
  const drawdown = chart.addSeries(BaselineSeries, {
    lineWidth: 1, baseValue: { type: "price", price: 0 }, priceLineVisible: false,
    topLineColor: "transparent", topFillColor1: "transparent", topFillColor2: "transparent",
    priceFormat: { type: "custom", formatter: (value: number) => `${number(value, 2)} %`, minMove: 0.01 },
    autoscaleInfoProvider: (own: () => { priceRange: { minValue: number; maxValue: number } | null } | null) => ({
      priceRange: { minValue: Math.min(-0.1, own()?.priceRange?.minValue ?? 0), maxValue: 0 },
    }),
  }, 1);
  const [upper, lower] = chart.panes();
  upper?.setStretchFactor(2);
  lower?.setStretchFactor(1);

  const recolour = (next: Palette): void => {
    equity.applyOptions({ lineColor: next.accent });
    drawdown.applyOptions({ bottomLineColor: next.down, bottomFillColor1: next.wash, bottomFillColor2: next.wash });
  };
  recolour(colours);
  return {
    recolour,
    draw: (change) => {
      if (change === "fills") return;
      put(equity, line((point) => point.equity), change === "reset");
      put(drawdown, line(({ drawdown: down }) => (isKnown(down) ? -100 * down : null)), change === "reset");
    },
  };
}

export function EquityChart({ equity, numeraire }: { equity: Equity; numeraire: string }) {
  const { box, fit } = useChart(equityDrawing, onHistory);
  const points = historyPoints();
  const first = points[0];
  const last = points.at(-1);
  const note = (
    <>
      <span class="age">{numeraire} {first && last ? `last ${duration(last.ts - first.ts)}` : "no history"}, <Age ts={equity.ts} /></span>
      <a href="https://www.tradingview.com/" rel="noreferrer" title="TradingView Lightweight Charts, Copyright (c) 2025 TradingView, Inc.">charts by TradingView</a>
      <button type="button" onClick={fit}>fit</button>
    </>
  );
  return (
    <Panel testId="equity-chart" title="Equity and drawdown" note={note} className="chart">
      <div class="canvas" ref={box} role="img" aria-label="Equity over time, and drawdown in percent below it" />
    </Panel>
  );
}
