/** The optimisation history of a study, as the series of its chart; pure. */

import { objective } from "./format";
import type { Direction, TrialView } from "./wire";

export interface History {
  completed: TrialView[];
  pruned: TrialView[];
  /** Failed and infeasible trials: they have no value that counts. */
  failed: TrialView[];
  /** Best completed value so far, one point where it improves: [number, value]. */
  best: [number, number][];
}

export function historyOf(trials: TrialView[], direction: Direction): History {
  const history: History = { completed: [], pruned: [], failed: [], best: [] };
  const better = (a: number, b: number) => (direction === "maximize" ? a > b : a < b);
  let best: number | null = null;
  let last: number | null = null;
  for (const trial of trials) {
    const value = objective(trial);
    if (trial.number === null) continue;
    if (trial.state === "failed" || trial.infeasible) history.failed.push(trial);
    else if (trial.state === "pruned" && value !== null) history.pruned.push(trial);
    else if (trial.state === "completed" && value !== null) {
      history.completed.push(trial);
      if (best === null || better(value, best)) history.best.push([trial.number, (best = value)]);
    } else continue;
    last = trial.number;
  }
  if (best !== null && last !== null) history.best.push([last, best]);
  return history;
}

/** Range of the value axis: all values, and the reference lines that are near enough not to squash them. */
export function valueRange(history: History, references: number[]): [number, number] | null {
  const values = [...history.completed, ...history.pruned].map((trial) => objective(trial)!);
  if (!values.length) return references.length ? [Math.min(...references), Math.max(...references)] : null;
  let [low, high] = values.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
  const span = high - low || Math.abs(high) * 0.1 || 1;
  for (const line of references) {
    if (line >= low - span && line <= high + span) [low, high] = [Math.min(low, line), Math.max(high, line)];
  }
  return [low - 0.05 * (high - low || span), high + 0.05 * (high - low || span)];
}
