/**
 * Which parameters mattered: a bar for each one's share, asked for anew whenever a trial has ended.
 * While a study is active the service computes them every 5 seconds at most; an older answer is asked for once more then.
 */

import { useEffect, useState } from "preact/hooks";
import { get } from "../api";
import { numFinished } from "../format";
import type { Importance, StudyView } from "../wire";

const COMPUTED_AGAIN_MS = 5_500;

export function ImportanceCard({ study, path }: { study: StudyView; path: string }) {
  const [shown, setShown] = useState<Importance | null>(null);
  const ended = numFinished(study);

  useEffect(() => {
    const asking = new AbortController();
    // What keeps the service away is told by the page's stream; until it answers, what was known stays.
    const ask = () =>
      get<Importance>(`${path}/importance`, asking.signal).then((told) => {
        setShown(told);
        if (told.revision < study.revision) later = setTimeout(() => void ask(), COMPUTED_AGAIN_MS);
      }, () => {});
    let later: ReturnType<typeof setTimeout> | undefined;
    void ask();
    return () => {
      clearTimeout(later);
      asking.abort();
    };
  }, [path, ended]);

  if (!shown || shown.parameters.length === 0) return null;
  return (
    <section class="card" aria-labelledby="importance">
      <h2 id="importance">What mattered</h2>
      <dl class="shares">
        {shown.parameters.map(({ name, share }) => (
          <div key={name}>
            <dt>{name}</dt>
            <dd>
              <progress max={1} value={share} aria-label={`share of ${name}`} />
              <span class="number">{Math.round(share * 100)} %</span>
            </dd>
          </div>
        ))}
      </dl>
      <p class="quiet">
        {[`Shares of what sets the best ${shown.num_best} of ${shown.num_trials} trials apart from all`, ...shown.notes].join("; ")}.
      </p>
    </section>
  );
}
