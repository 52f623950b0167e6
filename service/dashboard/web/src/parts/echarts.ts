/** The parts of ECharts that the charts take, and what they have in common; loaded only when a chart is shown. */

import { HeatmapChart, LineChart, ScatterChart } from "echarts/charts";
import { GridComponent, LegendComponent, MarkLineComponent, TooltipComponent, VisualMapComponent } from "echarts/components";
import { init as initChart, use, type ECharts } from "echarts/core";
import { CanvasRenderer } from "echarts/renderers";
import { number, objectives, parameter } from "../format";
import type { StudyView, TrialView } from "../wire";

use([
  HeatmapChart, LineChart, ScatterChart, GridComponent, LegendComponent, MarkLineComponent, TooltipComponent, VisualMapComponent,
  CanvasRenderer,
]);

export function init(place: HTMLElement): ECharts {
  return initChart(place);
}

/** The page's colours and type as they are now, and what follows from them for axes and tooltips. */
export function look(study: StudyView) {
  const style = getComputedStyle(document.documentElement);
  const color = (name: string) => style.getPropertyValue(`--${name}`).trim();
  const quiet = { color: color("quiet"), fontSize: 12 };
  return {
    color,
    quiet,
    textStyle: { fontFamily: style.fontFamily },
    axis: { axisLabel: quiet, nameTextStyle: quiet, axisLine: { lineStyle: { color: color("line") } } },
    legend: {
      top: 0, left: 0, itemHeight: 9, itemWidth: 9, itemGap: 16, selectedMode: false, textStyle: { color: color("text") },
    },
    // Drawn on the canvas: the default tooltip is HTML and would read a parameter's text as markup.
    tooltip: {
      renderMode: "richText",
      confine: true,
      backgroundColor: color("card"),
      borderColor: color("line"),
      textStyle: { color: color("text"), fontSize: 12 },
      formatter: (hit: { data: { trial?: TrialView } }) => (hit.data.trial ? describe(study, hit.data.trial) : ""),
    },
  };
}

function describe(study: StudyView, trial: TrialView): string {
  const lines = [`trial ${trial.number} · ${trial.state}`];
  objectives(study.spec).forEach(({ metric }, at) => {
    const value = trial.values?.[at];
    if (value !== undefined) lines.push(`${metric}  ${number(value)}`);
  });
  for (const [name, chosen] of Object.entries(trial.parameters)) lines.push(`${name}  ${parameter(chosen)}`);
  if (trial.state_reason) lines.push(trial.state_reason);
  return lines.join("\n");
}
