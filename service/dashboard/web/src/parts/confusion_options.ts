/** What ECharts draws for a confusion matrix. */

import type { EChartsCoreOption } from "echarts/core";
import type { StudyView } from "../wire";
import { look } from "./echarts";

/** Of more classes the counts find no room in their cells; the tooltip has them. */
const LABELLED = 20;

/** A cell for each true class (rows, from the top) and predicted one, as dark as its share of its row. */
export function confusionOptions(study: StudyView, classes: string[], counts: number[][]): EChartsCoreOption {
  const { color, quiet, axis, tooltip, textStyle } = look(study);
  const cells = counts.flatMap((row, at) => {
    const total = row.reduce((sum, count) => sum + count, 0);
    return row.map((count, to) => {
      const share = total ? count / total : 0;
      const shown = count > 0 && classes.length <= LABELLED;
      return { value: [to, at, share], count, label: { show: shown, color: color(share > 0.5 ? "card" : "text") } };
    });
  });
  const scale = (name: string) => ({
    type: "category", data: classes, name, nameLocation: "middle", ...axis,
    nameTextStyle: quiet, axisTick: { show: false }, axisLabel: { ...quiet, width: 90, overflow: "truncate" },
  });
  return {
    animation: false,
    textStyle,
    grid: { left: 24, right: 8, top: 8, bottom: 24, containLabel: true },
    xAxis: { ...scale("predicted"), nameGap: 26, axisLabel: { ...quiet, width: 90, overflow: "truncate", hideOverlap: true } },
    yAxis: { ...scale("true"), inverse: true, nameGap: 12 + 7 * Math.min(13, Math.max(...classes.map((name) => name.length))) },
    visualMap: { show: false, min: 0, max: 1, dimension: 2, inRange: { color: [color("card"), color("accent")] } },
    tooltip: {
      ...tooltip,
      formatter: ({ data }: { data: { value: [number, number, number]; count: number } }) => {
        const [to, at, share] = data.value;
        return `true ${classes[at]}\npredicted ${classes[to]}\n${data.count} examples, ${(100 * share).toFixed(1)} % of its row`;
      },
    },
    series: [
      {
        type: "heatmap", data: cells,
        itemStyle: { borderColor: color("line"), borderWidth: classes.length <= LABELLED ? 1 : 0 },
        label: { formatter: ({ data }: { data: { count: number } }) => String(data.count) },
        emphasis: { itemStyle: { borderColor: color("text"), borderWidth: 1.5 } },
      },
    ],
  };
}
