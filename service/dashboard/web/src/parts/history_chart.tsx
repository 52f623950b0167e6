/** The optimisation history as a chart; ECharts is loaded only when one is shown. */

import type { ECharts } from "echarts/core";
import { useEffect, useRef } from "preact/hooks";
import { number } from "../format";
import { historyOf } from "../history";
import type { StudyView, TrialView } from "../wire";

export function HistoryChart({ study, trials }: { study: StudyView; trials: TrialView[] }) {
  const place = useRef<HTMLDivElement>(null);
  const chart = useRef<ECharts | null>(null);
  const latest = useRef({ study, trials });
  latest.current = { study, trials };
  const draw = useRef(() => {});

  useEffect(() => {
    let gone = false;
    const dark = matchMedia("(prefers-color-scheme: dark)");
    const resized = new ResizeObserver(() => chart.current?.resize());
    const repaint = () => draw.current();
    void import("./history_options").then(({ init, historyOptions }) => {
      if (gone || !place.current) return;
      chart.current = init(place.current);
      draw.current = () => chart.current?.setOption(historyOptions(latest.current.study, latest.current.trials), { notMerge: true });
      draw.current();
      resized.observe(place.current);
      dark.addEventListener("change", repaint);
    });
    return () => {
      gone = true;
      resized.disconnect();
      dark.removeEventListener("change", repaint);
      chart.current?.dispose();
    };
  }, []);

  useEffect(() => draw.current(), [study, trials]);

  return <div ref={place} class="chart" role="img" aria-label={summary(study, trials)} />;
}

function summary(study: StudyView, trials: TrialView[]): string {
  const { completed, pruned, failed } = historyOf(trials, study.spec.objective.direction);
  const counts = `${completed.length} completed, ${pruned.length} pruned and ${failed.length} failed or infeasible trials`;
  const best = study.best?.values?.[0];
  const found = best === undefined ? "no best value yet" : `best ${number(best)} in trial ${study.best?.number}`;
  return `${study.spec.objective.metric} of each trial: ${counts}; ${found}. The table below has every value.`;
}
