/** The optimisation history as a chart. */

import { number, objectives } from "../format";
import { historyOf } from "../history";
import type { StudyView, TrialView } from "../wire";
import { Chart } from "./chart";

export function HistoryChart({ study, trials }: { study: StudyView; trials: TrialView[] }) {
  const draw = async () => (await import("./history_options")).historyOptions(study, trials);
  return <Chart draw={draw} of={[study, trials]} label={summary(study, trials)} />;
}

function summary(study: StudyView, trials: TrialView[]): string {
  const { metric, direction } = objectives(study.spec)[0];
  const { completed, pruned, failed } = historyOf(trials, direction);
  const counts = `${completed.length} completed, ${pruned.length} pruned and ${failed.length} failed or infeasible trials`;
  const best = study.best?.values?.[0];
  const found = best === undefined ? "no best value yet" : `best ${number(best)} in trial ${study.best?.number}`;
  return `${metric} of each trial: ${counts}; ${found}. The table below has every value.`;
}
