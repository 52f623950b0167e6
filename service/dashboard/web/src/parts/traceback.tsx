/** How the newest attempt of a trial failed: its message and traceback; asked for when it is to be shown. */

import { useEffect, useState } from "preact/hooks";
import { get } from "../api";
import type { AttemptView, StudyView, TrialDetail, TrialView } from "../wire";

export function Traceback({ study, trial }: { study: StudyView; trial: TrialView }) {
  const [attempt, setAttempt] = useState<AttemptView | null>(null);

  useEffect(() => {
    const asking = new AbortController();
    // The page's stream tells when the service is away; the row shows the rest without it.
    get<TrialDetail>(`/studies/${encodeURIComponent(study.id)}/trials/${trial.id}`, asking.signal).then(
      (detail) => setAttempt(detail.attempts.at(-1) ?? null),
      () => {},
    );
    return () => asking.abort();
  }, [study.id, trial.id, trial.state, trial.num_attempts]);

  if (!attempt?.traceback) return null;
  return (
    <>
      <dt>Traceback of attempt {attempt.number}</dt>
      <dd><pre class="traceback">{attempt.traceback}</pre></dd>
    </>
  );
}
