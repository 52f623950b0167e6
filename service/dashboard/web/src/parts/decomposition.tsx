/** The parts of the best trial's test error as bars that begin where the part before ends, and what reduces the largest. */

import { useEffect, useState } from "preact/hooks";
import { get } from "../api";
import { metric, numFinished } from "../format";
import type { Decomposition, ErrorPart, NonFinite, StudyDiagnosis, StudyView } from "../wire";

/** The service judges a study at most this often. */
const JUDGED_AGAIN_MS = 5_500;

export function DecompositionCard({ study, path }: { study: StudyView; path: string }) {
  const [shown, setShown] = useState<Decomposition | null>(null);
  const ended = numFinished(study);

  useEffect(() => {
    const asking = new AbortController();
    const ask = () =>
      get<StudyDiagnosis>(`${path}/diagnosis`, asking.signal).then(({ decomposition, lags }) => {
        setShown(decomposition);
        if (lags) later = setTimeout(() => void ask(), JUDGED_AGAIN_MS);
      }, () => {});
    let later: ReturnType<typeof setTimeout> | undefined;
    void ask();
    return () => {
      clearTimeout(later);
      asking.abort();
    };
  }, [path, ended]);

  if (!shown) return null;
  const places = placed(shown.parts);
  return (
    <section class="card" aria-labelledby="decomposition">
      <h2 id="decomposition">Parts of the test error</h2>
      <dl class="parts">
        {shown.parts.map((part, at) => (
          <div key={part.name} class={part.name === shown.largest ? "largest" : undefined}>
            <dt>{part.name.replace("_", " ")}</dt>
            <dd>
              <span class="track" aria-hidden="true">
                <span class={finite(part.value) < 0 ? "bar below" : "bar"} style={places[at]} />
              </span>
              <span class="number">{figure(part.value, shown.is_share)}</span>
              <span class="quiet">{figure(part.low, shown.is_share)} to {figure(part.high, shown.is_share)}</span>
            </dd>
          </div>
        ))}
      </dl>
      <p>{shown.sentence}</p>
      {shown.remedies.length > 0 && <ol>{shown.remedies.map(({ sentence }) => <li key={sentence}>{sentence}</li>)}</ol>}
    </section>
  );
}

/** Where each bar lies: it begins at the sum of the parts before it. A part below 0 goes back. */
function placed(parts: ErrorPart[]): { left: string; width: string }[] {
  let end = 0;
  const bars = parts.map(({ value }) => {
    const begin = end;
    end += finite(value);
    return { from: Math.min(begin, end), to: Math.max(begin, end) };
  });
  const low = Math.min(0, ...bars.map(({ from }) => from));
  const whole = Math.max(...bars.map(({ to }) => to)) - low || 1;
  return bars.map(({ from, to }) => ({ left: `${(100 * (from - low)) / whole}%`, width: `${(100 * (to - from)) / whole}%` }));
}

function finite(value: number | NonFinite): number {
  return typeof value === "number" ? value : 0;
}

function figure(value: number | NonFinite, isShare: boolean): string {
  return isShare && typeof value === "number" ? `${(100 * value).toFixed(1)} %` : metric(value);
}
