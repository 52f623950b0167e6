/** Numbers, instants and counts as people read them. */

import type { NonFinite, Objective, StudySpec, StudyView, TrialState, TrialView, Value } from "./wire";

export function number(value: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 1e6) return String(value);
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2).replace("e+", "e");
  return String(Number(value.toPrecision(4)));
}

export function metric(value: number | NonFinite): string {
  return typeof value === "number" ? number(value) : value.status;
}

export function parameter(value: Value | undefined): string {
  if (value === undefined) return "–";
  if (Array.isArray(value)) return `[${value.map(parameter).join(", ")}]`;
  return typeof value === "number" ? number(value) : String(value);
}

/** Length of time in its two largest units. */
export function seconds(total: number): string {
  if (total < 10) return `${total.toFixed(1)} s`;
  if (total < 60) return `${Math.round(total)} s`;
  const minutes = Math.floor(total / 60);
  if (minutes < 60) return `${minutes} min ${Math.round(total % 60)} s`;
  return `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** How long a trial took; nothing while it is open. */
export function duration(trial: TrialView): string {
  if (!trial.started_at || !trial.finished_at) return "–";
  return seconds((Date.parse(trial.finished_at) - Date.parse(trial.started_at)) / 1000);
}

export function instant(iso: string): string {
  return new Date(iso).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

const FINISHED: readonly TrialState[] = ["completed", "pruned", "failed", "cancelled"];

export function numFinished(study: StudyView): number {
  return FINISHED.reduce((sum, state) => sum + (study.num_trials[state] ?? 0), 0);
}

/** What is used of each budget but that of trials: "1.5 of 12 hours". */
export function budgets({ spec: { budget }, budget_used: used }: StudyView): string[] {
  const told: [number, number | null, string][] = [
    [used.hours, budget.hours, "hours"],
    [used.device_hours, budget.device_hours, "device-hours"],
    [used.resource, budget.resource, "steps"],
    [used.failures, budget.failures, "failures"],
    [used.since_improvement, budget.no_improvement, "trials without improvement"],
  ];
  const limited = told.filter(([, limit]) => limit !== null);
  const lines = limited.map(([spent, limit, words]) => `${Number(spent.toPrecision(3))} of ${limit} ${words}`);
  return budget.target === null ? lines : [...lines, `target ${number(budget.target)}`];
}

/** What a study optimises: one objective or several. */
export function objectives({ objective }: StudySpec): [Objective, ...Objective[]] {
  return Array.isArray(objective) ? (objective as [Objective, ...Objective[]]) : [objective];
}

/** The same in words. */
export function goals(spec: StudySpec): string {
  return objectives(spec).map(({ metric, direction }) => `${direction} ${metric}`).join(", ");
}

/** A trial's value of the objective, of several the first, if it has one. */
export function objective(trial: TrialView): number | null {
  return trial.values?.[0] ?? null;
}
