/** The trials of a study as a table; a row opens to tell why its parameters were chosen, how it ended and what it mistakes. */

import { Fragment } from "preact";
import { useMemo, useState } from "preact/hooks";
import { duration, metric, number, objective, objectives, parameter } from "../format";
import type { StudyView, TrialView } from "../wire";
import { ConfusionMatrix } from "./confusion";
import { Traceback } from "./traceback";
import { State } from "./status";

/** Rows shown at once: a page with 10,000 rows would not stay fluid. */
const ROWS = 100;

type Order = "newest" | "best";

export function TrialsTable({ study, trials }: { study: StudyView; trials: TrialView[] }) {
  const [order, setOrder] = useState<Order>("newest");
  const [num, setNum] = useState(ROWS);
  const [open, setOpen] = useState<string | null>(null);
  const { space, resource } = study.spec;
  const [goal, ...further] = objectives(study.spec);
  const names = Object.keys(space);
  const sorted = useMemo(() => sort(trials, order, goal.direction === "maximize" ? -1 : 1), [trials, order, goal.direction]);
  const header = (label: string, by: Order) => (
    <th scope="col" class="number" aria-sort={order === by ? "descending" : "none"}>
      <button class="plain" onClick={() => setOrder(by)} title={`${by} first`}>{label}{order === by && " ↓"}</button>
    </th>
  );
  return (
    <div class="scroll">
      <table>
        <thead>
          <tr>
            {header("Trial", "newest")}
            <th scope="col">State</th>
            {header(goal.metric, "best")}
            {further.map(({ metric }) => <th scope="col" key={metric} class="number">{metric}</th>)}
            <th scope="col" class="number">{resource?.name ?? "step"}</th>
            <th scope="col" class="number">Time</th>
            {names.map((name) => <th scope="col" key={name} class="number">{name}</th>)}
          </tr>
        </thead>
        <tbody>
          {sorted.slice(0, num).map((trial) => (
            <Fragment key={trial.id}>
              <tr class={isBest(study, trial) ? "best" : undefined}>
                <th scope="row" class="number">
                  <button
                    class="plain"
                    aria-expanded={open === trial.id}
                    aria-label={`Trial ${trial.number}: details`}
                    title={trial.suggestion_reason}
                    onClick={() => setOpen(open === trial.id ? null : trial.id)}
                  >
                    <span aria-hidden="true" class="fold">{open === trial.id ? "▾" : "▸"}</span> {trial.number}
                  </button>
                </th>
                <td title={trial.state_reason ?? undefined}><State state={trial.state} /></td>
                <td class="number">{value(trial)}</td>
                {further.map(({ metric }, at) => <td key={metric} class="number">{parameter(trial.values?.[at + 1])}</td>)}
                <td class="number">{trial.step ?? "–"}{resource && trial.step !== null && <span class="quiet"> / {resource.max}</span>}</td>
                <td class="number">{duration(trial)}</td>
                {names.map((name) => <td key={name} class="number">{parameter(trial.parameters[name])}</td>)}
              </tr>
              {open === trial.id && (
                <tr class="detail"><td colSpan={5 + further.length + names.length}><Detail study={study} trial={trial} /></td></tr>
              )}
            </Fragment>
          ))}
        </tbody>
      </table>
      {sorted.length > num && (
        <p class="line">
          <span class="quiet">{num} of {sorted.length} trials</span>
          <button onClick={() => setNum(num + ROWS)}>Show {Math.min(ROWS, sorted.length - num)} more</button>
        </p>
      )}
    </div>
  );
}

function Detail({ study, trial }: { study: StudyView; trial: TrialView }) {
  const metrics = Object.entries(trial.metrics);
  return (
    <dl>
      <dt>Why these parameters</dt>
      <dd>{trial.suggestion_reason}</dd>
      {trial.state_reason && <><dt>Why {trial.state}</dt><dd>{trial.state_reason}</dd></>}
      {trial.rung_results.map((at) => (
        <Fragment key={at.step}><dt>At step {at.step}</dt><dd>{number(at.value)}, place {at.rank} of {at.num}</dd></Fragment>
      ))}
      {trial.num_attempts > 1 && <><dt>Attempts</dt><dd>{trial.num_attempts}</dd></>}
      {metrics.length > 0 && <><dt>Measured</dt><dd>{metrics.map(([name, measured]) => `${name} ${metric(measured)}`).join(" · ")}</dd></>}
      {trial.state === "completed" && <ConfusionMatrix study={study} trial={trial} />}
      {(trial.state === "failed" || trial.state === "pruned" || trial.state === "waiting") && trial.num_attempts > 0 && <Traceback study={study} trial={trial} />}
    </dl>
  );
}

function isBest({ best, pareto_front }: StudyView, trial: TrialView): boolean {
  return trial.id === best?.id || (trial.number !== null && (pareto_front?.includes(trial.number) ?? false));
}

function value(trial: TrialView): string {
  const found = objective(trial) ?? (trial.state === "paused" ? (trial.rung_results.at(-1)?.value ?? null) : null);
  if (trial.infeasible) return "infeasible";
  return found === null ? "–" : number(found);
}

function sort(trials: TrialView[], order: Order, sign: number): TrialView[] {
  if (order === "newest") return trials.toReversed();
  const rank = (trial: TrialView) => {
    const found = objective(trial);
    return trial.state === "completed" && found !== null && !trial.infeasible ? sign * found : Infinity;
  };
  // Infinity minus itself is not a number, which would leave the order to chance.
  return trials.toSorted((a, b) => (rank(a) === rank(b) ? 0 : rank(a) - rank(b)));
}
