/** What ECharts draws for the optimisation history. */

import type { EChartsCoreOption } from "echarts/core";
import { number, objective, objectives } from "../format";
import { historyOf, valueRange } from "../history";
import type { StudyView, TrialView } from "../wire";
import { look } from "./echarts";

const FAILED = "failed or infeasible";
const CROSS = "path://M0 0 L10 10 M10 0 L0 10";

export function historyOptions(study: StudyView, trials: TrialView[]): EChartsCoreOption {
  const { direction } = objectives(study.spec)[0];
  const history = historyOf(trials, direction);
  const references = Object.entries(study.spec.reference ?? {}).filter((entry): entry is [string, number] => entry[1] !== null);
  const range = valueRange(history, references.map(([, value]) => value));
  const shown = references
    .filter(([, value]) => range && value >= range[0] && value <= range[1])
    .sort(([, a], [, b]) => b - a);
  const size = trials.length > 1000 ? 4 : 8;
  const labels = lineLabels(shown, range ? range[1] - range[0] : 0);
  const { color, quiet, axis, legend, tooltip, textStyle } = look(study);
  const points = (list: TrialView[]) => list.map((trial) => ({ value: [trial.number, objective(trial)], trial }));
  return {
    animation: false,
    textStyle,
    grid: { left: 12, right: 112, top: 48, bottom: 30, containLabel: true },
    legend: {
      ...legend,
      data: [
        { name: "completed", icon: "circle" },
        { name: "pruned", icon: "circle" },
        { name: FAILED, icon: CROSS },
        { name: "best so far", icon: "path://M0 4 H10 V6 H0 Z" },
      ],
    },
    tooltip,
    xAxis: { type: "value", name: "trial", nameLocation: "middle", nameGap: 26, minInterval: 1, splitLine: { show: false }, ...axis },
    yAxis: [
      {
        type: "value", scale: true, ...(range && { min: range[0], max: range[1] }), ...axis,
        axisLabel: { ...quiet, formatter: number, showMinLabel: false, showMaxLabel: false },
        splitLine: { lineStyle: { color: color("line") } },
      },
      // Failed trials have no value: they stand on the lower edge.
      { type: "value", min: 0, max: 1, show: false },
    ],
    series: [
      {
        type: "scatter", name: "pruned", data: points(history.pruned), symbolSize: size - 1,
        itemStyle: { color: "transparent", borderColor: color("pruned"), borderWidth: 1.5 },
      },
      { type: "scatter", name: "completed", data: points(history.completed), symbolSize: size, itemStyle: { color: color("accent"), opacity: 0.75 } },
      {
        type: "scatter", name: FAILED, yAxisIndex: 1, symbol: CROSS, symbolSize: 8,
        itemStyle: { color: "none", borderColor: color("failed"), borderWidth: 2 },
        data: history.failed.map((trial) => ({ value: [trial.number, 0.02], trial })),
      },
      {
        type: "line", name: "best so far", step: "end", data: history.best, showSymbol: false, silent: true,
        lineStyle: { color: color("best"), width: 2 }, itemStyle: { color: color("best") },
        markLine: {
          silent: true, symbol: "none",
          lineStyle: { color: color("quiet"), type: "dashed" },
          data: shown.map(([, value], index) => ({ yAxis: value, label: { formatter: labels[index], lineHeight: 15, ...quiet } })),
        },
      },
    ],
  };
}

/** Labels of reference lines, topmost first; lines too close for a label each share the upper one's. */
function lineLabels(lines: [string, number][], span: number): string[] {
  const labels: string[] = [];
  let owner = 0;
  lines.forEach(([name, value], index) => {
    const text = `${name} ${number(value)}`;
    if (index > 0 && lines[owner]![1] - value < 0.06 * span) {
      labels[owner] += `\n${text}`;
      labels.push("");
    } else {
      owner = index;
      labels.push(text);
    }
  });
  return labels;
}
