/** What ECharts draws for the optimisation history, and only the parts of ECharts that it takes. */

import { LineChart, ScatterChart } from "echarts/charts";
import { GridComponent, LegendComponent, MarkLineComponent, TooltipComponent } from "echarts/components";
import { init as initChart, use, type ECharts, type EChartsCoreOption } from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";
import { number, objective, parameter } from "../format";
import { historyOf, valueRange } from "../history";
import type { StudyView, TrialView } from "../wire";

use([LineChart, ScatterChart, GridComponent, LegendComponent, MarkLineComponent, TooltipComponent, CanvasRenderer]);

const FAILED = "failed or infeasible";
const CROSS = "path://M0 0 L10 10 M10 0 L0 10";

export function init(place: HTMLElement): ECharts {
  return initChart(place);
}

export function historyOptions(study: StudyView, trials: TrialView[]): EChartsCoreOption {
  const { metric, direction } = study.spec.objective;
  const history = historyOf(trials, direction);
  const references = Object.entries(study.spec.reference ?? {}).filter((entry): entry is [string, number] => entry[1] !== null);
  const range = valueRange(history, references.map(([, value]) => value));
  const shown = references
    .filter(([, value]) => range && value >= range[0] && value <= range[1])
    .sort(([, a], [, b]) => b - a);
  const size = trials.length > 1000 ? 4 : 8;
  const labels = lineLabels(shown, range ? range[1] - range[0] : 0);
  const style = getComputedStyle(document.documentElement);
  const color = (name: string) => style.getPropertyValue(`--${name}`).trim();
  const quiet = { color: color("quiet"), fontSize: 12 };
  const axis = { axisLabel: quiet, nameTextStyle: quiet, axisLine: { lineStyle: { color: color("line") } } };
  const points = (list: TrialView[]) => list.map((trial) => ({ value: [trial.number, objective(trial)], trial }));
  return {
    animation: false,
    textStyle: { fontFamily: style.fontFamily },
    grid: { left: 12, right: 112, top: 48, bottom: 30, containLabel: true },
    legend: {
      top: 0, left: 0, itemHeight: 9, itemWidth: 9, itemGap: 16, selectedMode: false, textStyle: { color: color("text") },
      data: [
        { name: "completed", icon: "circle" },
        { name: "pruned", icon: "circle" },
        { name: FAILED, icon: CROSS },
        { name: "best so far", icon: "path://M0 4 H10 V6 H0 Z" },
      ],
    },
    // Drawn on the canvas: the default tooltip is HTML and would read a parameter's text as markup.
    tooltip: {
      renderMode: "richText",
      confine: true,
      backgroundColor: color("card"),
      borderColor: color("line"),
      textStyle: { color: color("text"), fontSize: 12 },
      formatter: (hit: { data: { trial?: TrialView } }) => (hit.data.trial ? describe(hit.data.trial, metric) : ""),
    },
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

function describe(trial: TrialView, metric: string): string {
  const value = objective(trial);
  const lines = [`trial ${trial.number} · ${trial.state}`];
  if (value !== null) lines.push(`${metric}  ${number(value)}`);
  for (const [name, chosen] of Object.entries(trial.parameters)) lines.push(`${name}  ${parameter(chosen)}`);
  if (trial.state_reason) lines.push(trial.state_reason);
  return lines.join("\n");
}
