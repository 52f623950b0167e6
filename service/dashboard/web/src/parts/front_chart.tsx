/** The front of a study with several objectives as a chart of two of them, which can be chosen where there are more. */

import { useState } from "preact/hooks";
import { objectives } from "../format";
import type { StudyView, TrialView } from "../wire";
import { Chart } from "./chart";

export function FrontChart({ study, trials }: { study: StudyView; trials: TrialView[] }) {
  const [axes, setAxes] = useState<[number, number]>([0, 1]);
  const all = objectives(study.spec);
  const draw = async () => (await import("./front_options")).frontOptions(study, trials, axes);
  const metrics = axes.map((at) => all[at]!.metric);
  const choice = (label: string, at: 0 | 1) => (
    <label>
      {label}{" "}
      <select
        value={axes[at]}
        onChange={(event) => {
          const chosen = Number(event.currentTarget.value);
          // Choosing what the other axis shows swaps the two.
          setAxes(at === 0 ? [chosen, chosen === axes[1] ? axes[0] : axes[1]] : [chosen === axes[0] ? axes[1] : axes[0], chosen]);
        }}
      >
        {all.map(({ metric }, index) => <option key={metric} value={index}>{metric}</option>)}
      </select>
    </label>
  );
  return (
    <>
      {all.length > 2 && <p class="line">{choice("across", 0)} {choice("up", 1)}</p>}
      <Chart draw={draw} of={[study, trials, axes]} label={summary(study, trials, metrics.join(" and "))} />
    </>
  );
}

function summary(study: StudyView, trials: TrialView[], metrics: string): string {
  const completed = trials.filter((trial) => trial.state === "completed").length;
  const found = study.pareto_front?.length ? `trials ${study.pareto_front.join(", ")} are on the front` : "no trial is on the front yet";
  return `${metrics} of ${completed} completed trials; ${found}. The table below has every value.`;
}
