/** Small marks: a state, whether the page is live, how much of the budget is spent. */

import { useEffect, useState } from "preact/hooks";
import { number, numFinished } from "../format";
import type { Live } from "../live";
import type { StudyState, StudyView, TrialState } from "../wire";

export function State({ state }: { state: StudyState | TrialState | "damaged" }) {
  return <span class={`state ${state}`}>{state}</span>;
}

/** Whether what is shown is current. A study that is over has no mark: nothing of it changes any more. */
export function LiveMark({ live, isOver = false }: { live: Live; isOver?: boolean }) {
  const [wasLive, setWasLive] = useState(false);
  useEffect(() => setWasLive(wasLive || live.connected), [live.connected]);
  return <p class="live" role="status">{mark(live, isOver, wasLive)}</p>;
}

function mark(live: Live, isOver: boolean, wasLive: boolean) {
  if (live.error) return <span class="error">reconnecting… {live.error}</span>;
  if (isOver) return null;
  if (live.connected) return <span class="dot">live</span>;
  return wasLive ? "reconnecting…" : "connecting…";
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
  if (study.pareto_front?.length) return <strong class="number">{study.pareto_front.length} on the front</strong>;
  const value = study.best?.values?.[0];
  if (value === undefined) return <span class="quiet">none yet</span>;
  return <strong class="number">{number(value)}</strong>;
}
