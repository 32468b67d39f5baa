// One chart on the page: made once, coloured by the style sheet's variables, and kept at the whole history
// until the trader moves it. The library is TradingView's Lightweight Charts; the page links to it.
import { ColorType, createChart, type IChartApi, type Time } from "lightweight-charts";
import type { RefObject } from "preact";
import { useEffect, useRef } from "preact/hooks";

export type Palette = { text: string; line: string; grid: string; up: string; down: string; accent: string; wash: string };

function palette(): Palette {
  const style = getComputedStyle(document.documentElement);
  const colour = (name: string): string => style.getPropertyValue(name).trim();
  return {
    text: colour("--muted"), line: colour("--border"), grid: colour("--grid"), up: colour("--up"),
    down: colour("--down"), accent: colour("--accent"), wash: colour("--down-wash"),
  };
}

/** The chart library counts in whole seconds of UTC. */
export const chartTime = (seconds: number): Time => seconds as Time;

const at = <Datum extends { time: number }>(data: Datum[]) =>
  data.map((datum) => ({ ...datum, time: chartTime(datum.time) }));

/** Fills a series anew, or only adds the newest datum. */
export function put<Datum extends { time: number }>(
  series: { setData(data: object[]): void; update(datum: object): void }, data: Datum[], anew: boolean,
): void {
  const newest = data.at(-1);
  if (anew) series.setData(at(data));
  else if (newest) series.update({ ...newest, time: chartTime(newest.time) });
}

const twoDigits = (value: number): string => String(value).padStart(2, "0");

function hourAndMinute(time: Time): string {
  const date = new Date((time as number) * 1_000);
  return `${twoDigits(date.getUTCHours())}:${twoDigits(date.getUTCMinutes())}:${twoDigits(date.getUTCSeconds())}`;
}

function createStyledChart(box: HTMLElement): IChartApi {
  return createChart(box, {
    autoSize: true,
    layout: { attributionLogo: false, fontSize: 11, fontFamily: getComputedStyle(box).fontFamily },
    rightPriceScale: { borderVisible: false, entireTextOnly: true, scaleMargins: { top: 0.12, bottom: 0.1 } },
    timeScale: { borderVisible: false, timeVisible: true, secondsVisible: true, minBarSpacing: 0.02, rightOffset: 0 },
    localization: { timeFormatter: hourAndMinute },
    handleScroll: { vertTouchDrag: false },
  });
}

function dress(chart: IChartApi, colours: Palette): void {
  chart.applyOptions({
    layout: {
      background: { type: ColorType.Solid, color: "transparent" },
      textColor: colours.text,
      panes: { separatorColor: colours.line, enableResize: false },
    },
    grid: { vertLines: { color: colours.grid }, horzLines: { color: colours.grid } },
    crosshair: {
      vertLine: { color: colours.text, labelBackgroundColor: colours.accent },
      horzLine: { color: colours.text, labelBackgroundColor: colours.accent },
    },
  });
}

/** What a drawing does with the chart once it exists. */
export type Drawing = {
  /** Draws what is new; called with each change of the history. */
  draw: (change: "reset" | "append" | "fills") => void;
  recolour: (colours: Palette) => void;
};

export type ChartHandle = {
  box: RefObject<HTMLDivElement | null>;
  drawing: RefObject<Drawing | null>;
  /** Shows the whole history again and follows it. */
  fit: () => void;
};

/** Makes the chart when its box appears and removes it with the box; `start` puts the series on it. */
export function useChart(
  start: (chart: IChartApi, colours: Palette) => Drawing,
  listen: (listener: (change: "reset" | "append" | "fills") => void) => () => void,
): ChartHandle {
  const box = useRef<HTMLDivElement | null>(null);
  const drawing = useRef<Drawing | null>(null);
  const follow = useRef(true);
  const chart = useRef<IChartApi | null>(null);

  const fit = (): void => {
    follow.current = true;
    chart.current?.timeScale().fitContent();
  };

  useEffect(() => {
    const element = box.current;
    if (!element) return;
    const made = createStyledChart(element);
    const colours = palette();
    dress(made, colours);
    chart.current = made;
    const drawn = start(made, colours);
    drawing.current = drawn;

    const draw = (change: "reset" | "append" | "fills"): void => {
      drawn.draw(change);
      if (follow.current) made.timeScale().fitContent();
    };
    draw("reset");
    const stopListening = listen(draw);

    const moved = (): void => {
      follow.current = false;
    };
    element.addEventListener("wheel", moved, { passive: true });
    element.addEventListener("pointerdown", moved);

    const scheme = matchMedia("(prefers-color-scheme: dark)");
    const recolour = (): void => {
      dress(made, palette());
      drawn.recolour(palette());
    };
    scheme.addEventListener("change", recolour);

    return () => {
      scheme.removeEventListener("change", recolour);
      stopListening();
      made.remove();
      chart.current = null;
    };
  }, []);

  return { box, drawing, fit };
}
