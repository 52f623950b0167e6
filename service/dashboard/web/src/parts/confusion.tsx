/** What a completed trial's model takes for what, as a heat map of one split; asked for when it is to be shown. */

import { useEffect, useState } from "preact/hooks";
import { get } from "../api";
import type { Confusion, StudyView, TrialDetail, TrialView } from "../wire";
import { Chart } from "./chart";

/** What is first shown: the split that the search goes by. */
const FIRST = "val";

export function ConfusionMatrix({ study, trial }: { study: StudyView; trial: TrialView }) {
  const [confusion, setConfusion] = useState<Confusion | null>(null);
  const [split, setSplit] = useState(FIRST);

  useEffect(() => {
    const asking = new AbortController();
    // What keeps the service away is told by the page's stream; the row says the rest without it.
    get<TrialDetail>(`/studies/${encodeURIComponent(study.id)}/trials/${trial.id}`, asking.signal).then(
      (detail) => setConfusion(detail.confusion),
      () => {},
    );
    return () => asking.abort();
  }, [study.id, trial.id, trial.state]);

  const counts = confusion?.splits[split] ?? Object.values(confusion?.splits ?? {})[0];
  if (!confusion || !counts) return null;
  const { classes, splits } = confusion;
  const draw = async () => (await import("./confusion_options")).confusionOptions(study, classes, counts);
  return (
    <>
      <dt>Confusion</dt>
      <dd>
        {Object.keys(splits).length > 1 && (
          <label>
            split{" "}
            <select value={split} onChange={(event) => setSplit(event.currentTarget.value)}>
              {Object.keys(splits).map((name) => <option key={name}>{name}</option>)}
            </select>
          </label>
        )}
        <p class="quiet">{summary(classes, counts)}</p>
        <div class="matrix" style={{ "--classes": String(classes.length) }}>
          <Chart draw={draw} of={[study, counts]} label={`Confusion of trial ${trial.number} on ${split}: ${summary(classes, counts)}`} />
        </div>
      </dd>
    </>
  );
}

/** How much is right, and the worst of what is not. */
function summary(classes: string[], counts: number[][]): string {
  const total = counts.flat().reduce((sum, count) => sum + count, 0);
  const right = counts.reduce((sum, row, at) => sum + row[at]!, 0);
  const wrong = counts.flatMap((row, at) => row.map((count, to) => ({ count: at === to ? 0 : count, at, to })));
  const worst = wrong.reduce((most, each) => (each.count > most.count ? each : most), { count: 0, at: 0, to: 0 });
  const told = worst.count > 1 ? `; mostly ${classes[worst.at]} is taken for ${classes[worst.to]} (${worst.count} times)` : "";
  return `${right} of ${total} right${told}`;
}
