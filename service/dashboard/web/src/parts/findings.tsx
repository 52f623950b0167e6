/** What the results and the learning curves show, and what to do: about the study, and about its trials by rule. */

import { useEffect, useState } from "preact/hooks";
import { get } from "../api";
import { number } from "../format";
import type { Evidence, Finding, StudyDiagnosis, StudyView } from "../wire";

/** The service judges a study at most once in this time, in milliseconds. */
const AGAIN_MS = 5000;
const NAMED = 12;

export function FindingsCard({ study, path }: { study: StudyView; path: string }) {
  const [shown, setShown] = useState<StudyDiagnosis | null>(null);

  useEffect(() => {
    const asking = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const again = () => {
      timer = setTimeout(ask, AGAIN_MS);
    };
    const ask = () =>
      get<StudyDiagnosis>(`${path}/diagnosis`, asking.signal).then((answer) => {
        setShown(answer);
        // A new finding is no new revision of the study, so the stream tells nothing of it.
        if (answer.lags) again();
      }, () => asking.signal.aborted || again());
    void ask();
    return () => {
      asking.abort();
      clearTimeout(timer);
    };
  }, [path, study.revision]);

  if (!shown || (shown.findings.length === 0 && shown.trial_findings.length === 0)) return null;
  return (
    <section class="card" aria-labelledby="findings">
      <h2 id="findings">Findings</h2>
      <ul class="checks findings">
        {shown.findings.map((finding) => <FindingLine key={finding.rule} finding={finding} />)}
        {shown.trial_findings.map(({ rule, num_trials, trials, clearest }) => (
          <FindingLine key={`trials ${rule}`} finding={clearest} trials={named(trials, num_trials)} />
        ))}
      </ul>
      {shown.lags && <p class="quiet">The study has changed since; the service judges it again in some seconds.</p>}
    </section>
  );
}

function named(trials: number[], num: number): string {
  const more = num > NAMED ? ` and ${num - NAMED} more` : "";
  return `${num === 1 ? "trial" : "trials"} ${trials.slice(0, NAMED).join(", ")}${more}`;
}

function FindingLine({ finding, trials }: { finding: Finding; trials?: string }) {
  const { rule, confidence, sentence, evidence, remedies } = finding;
  return (
    <li>
      <span class={`state ${confidence}`} title="confidence">{confidence}</span>
      <div>
        <strong>{rule.replaceAll("_", " ")}</strong>{trials && <span class="quiet"> {trials}</span>} {sentence}
        {(evidence.length > 0 || remedies.length > 0) && (
          <details>
            <summary class="quiet">Evidence and remedies</summary>
            {evidence.length > 0 && <p class="quiet">{evidence.map(figure).join("; ")}</p>}
            <ol>{remedies.map((each) => <li key={each.name}>{each.sentence}</li>)}</ol>
          </details>
        )}
      </div>
    </li>
  );
}

function figure({ name, step, value }: Evidence): string {
  return `${name}${step === null ? "" : ` at step ${step}`}: ${typeof value === "number" ? number(value) : value.status}`;
}
