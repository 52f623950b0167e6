/** A chart in its place: drawn once ECharts is there, and again when its data, its size or the colour scheme changes. */

import type { ECharts, EChartsCoreOption } from "echarts/core";
import { useEffect, useRef } from "preact/hooks";

/** `draw` says what to draw, anew whenever one of `of` is another; `label` says it to who does not see it. */
export function Chart({ draw, of, label }: { draw: () => Promise<EChartsCoreOption>; of: unknown[]; label: string }) {
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<ECharts | null>(null);
  const repaint = useRef(() => {});
  repaint.current = () => void draw().then((option) => chart.current?.setOption(option, { notMerge: true }));

  useEffect(() => {
    let gone = false;
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const resized = new ResizeObserver(() => chart.current?.resize());
    const again = () => repaint.current();
    void import("./echarts").then(({ init }) => {
      if (gone || !place.current) return;
      chart.current = init(place.current);
      again();
      resized.observe(place.current);
      dark.addEventListener("change", again);
    });
    return () => {
      gone = true;
      resized.disconnect();
      dark.removeEventListener("change", again);
      chart.current?.dispose();
      chart.current = null;
    };
  }, []);

  useEffect(() => repaint.current(), of);

  return <div ref={place} class="chart" role="img" aria-label={label} />;
}
