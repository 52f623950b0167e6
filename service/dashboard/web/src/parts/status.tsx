/** Small marks: a state, whether the page is live, how much of the budget is spent. */

import { number, numFinished } from "../format";
import type { Live } from "../live";
import type { StudyState, StudyView, TrialState } from "../wire";

export function State({ state }: { state: StudyState | TrialState }) {
  return <span class={`state ${state}`}>{state}</span>;
}

export function LiveMark({ live }: { live: Live }) {
  return (
    <p class="live" role="status">
      {live.error ? <span class="error">{live.error}</span> : live.connected ? <span class="dot">live</span> : "connecting…"}
    </p>
  );
}

export function Progress({ study }: { study: StudyView }) {
  const done = numFinished(study);
  const budget = study.budget_trials;
  const text = budget === null ? `${done} finished` : `${done} / ${budget}`;
  return (
    <span class="progress">
      {budget !== null && <progress max={budget} value={done} aria-label={`${done} of ${budget} trials finished`} />}
      <span class="number">{text}</span>
    </span>
  );
}

export function Best({ study }: { study: StudyView }) {
  if (study.front?.length) return <strong class="number">{study.front.length} on the front</strong>;
  const value = study.best?.values?.[0];
  if (value === undefined) return <span class="quiet">none yet</span>;
  return <strong class="number">{number(value)}</strong>;
}
