/** What ECharts draws for the front of a study with several objectives. */

import type { EChartsCoreOption } from "echarts/core";
import { number, objectives } from "../format";
import type { StudyView, TrialView } from "../wire";
import { look } from "./echarts";

/** A point per completed trial, at its values of two objectives; those on the front stand out. */
export function frontOptions(study: StudyView, trials: TrialView[], axes: [number, number]): EChartsCoreOption {
  const { color, quiet, axis, legend, tooltip, textStyle } = look(study);
  const all = objectives(study.spec);
  const front = new Set(study.pareto_front);
  const completed = trials.filter((trial) => trial.state === "completed" && trial.values !== null);
  const points = (isOnFront: boolean) =>
    completed
      .filter((trial) => trial.number !== null && front.has(trial.number) === isOnFront)
      .map((trial) => ({ value: axes.map((at) => trial.values![at]), trial }));
  const scale = (at: number) => ({
    type: "value", scale: true, name: `${all[at]!.metric} (${all[at]!.direction})`, nameLocation: "middle", ...axis,
    axisLabel: { ...quiet, formatter: number }, splitLine: { lineStyle: { color: color("line") } },
  });
  const size = trials.length > 1000 ? 4 : 8;
  return {
    animation: false,
    textStyle,
    grid: { left: 40, right: 30, top: 48, bottom: 40, containLabel: true },
    legend: { ...legend, data: [{ name: "on the front", icon: "circle" }, { name: "dominated", icon: "circle" }] },
    tooltip,
    xAxis: { ...scale(axes[0]), nameGap: 28 },
    yAxis: { ...scale(axes[1]), nameGap: 52 },
    series: [
      { type: "scatter", name: "dominated", data: points(false), symbolSize: size - 1, itemStyle: { color: color("quiet"), opacity: 0.6 } },
      { type: "scatter", name: "on the front", data: points(true), symbolSize: size + 3, itemStyle: { color: color("best") } },
    ],
  };
}
