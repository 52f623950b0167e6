/** One study: where it stands, its optimisation history and its trials, live. */

import { useEffect, useRef, useState } from "preact/hooks";
import { get } from "../api";
import { budgets, goals, instant, objectives, parameter } from "../format";
import { useLive } from "../live";
import { Controls } from "../parts/controls";
import { DamagedRows } from "../parts/damaged";
import { DecompositionCard } from "../parts/decomposition";
import { FindingsCard } from "../parts/findings";
import { FrontChart } from "../parts/front_chart";
import { HistoryChart } from "../parts/history_chart";
import { ImportanceCard } from "../parts/importance";
import { PreflightCard } from "../parts/preflight";
import { StagesCard } from "../parts/stages";
import { Best, LiveMark, Progress, State } from "../parts/status";
import { TrialsTable } from "../parts/trials_table";
import type { DamagedRow, EventList, StudyView, TrialList, TrialView } from "../wire";

/** Trials read at once; a longer answer is continued from its revision. */
const PAGE = 5000;

interface Shown {
  study: StudyView;
  /** In the order of their numbers. */
  trials: TrialView[];
  damagedTrials: DamagedRow[];
  damagedEvents: DamagedRow[];
}

/** What was read of a study so far, so that the next read asks for the changes alone. */
interface Known {
  /** The study's id: another study can get the name of one that was deleted. */
  id: string | null;
  revision: number;
  trials: Map<string, TrialView>;
  /** By name: the number of the trial. */
  damagedTrials: Map<string, DamagedRow>;
  damagedEvents: DamagedRow[];
}

export function StudyPage({ study: key }: { study: string }) {
  const path = `/studies/${encodeURIComponent(key)}`;
  const [shown, setShown] = useState<Shown | null>(null);
  const known = useRef<Known>(nothing(null));

  const live = useLive(`${path}/stream`, async (signal) => {
    const study = await get<StudyView>(path, signal);
    if (known.current.id !== study.id) {
      // The page shows no intact events, and a stored event does not change: so it reads the edits once.
      const { damaged } = await get<EventList>(`${path}/events?kind=study_edited`, signal);
      known.current = { ...nothing(study.id), damagedEvents: damaged };
    }
    await readTrials(path, study, known.current, signal);
    const { trials, damagedTrials, damagedEvents } = known.current;
    setShown({
      study,
      trials: [...trials.values()].sort((a, b) => (a.number ?? 0) - (b.number ?? 0)),
      damagedTrials: [...damagedTrials.values()],
      damagedEvents,
    });
    return String(study.revision);
  });

  useEffect(() => {
    document.title = `${shown?.study.name ?? key} · Assayer`;
  }, [shown?.study.name]);

  if (shown && live.code === "unknown_study") return <Unloaded name={shown.study.name} error="This study was deleted." />;
  if (!shown) return <Unloaded name={key} error={live.error} />;
  const { study, trials, damagedTrials, damagedEvents } = shown;
  const several = objectives(study.spec).length > 1;
  return (
    <>
      <div class="heading">
        <h1>{study.name}</h1>
        <State state={study.state} />
        <Controls study={study} path={path} onChange={(changed) => setShown({ ...shown, study: changed })} />
        <LiveMark live={live} isOver={study.finished_at !== null} />
      </div>
      {study.spec.description && <p>{study.spec.description}</p>}
      {study.notice && <p class="quiet">{study.notice}</p>}
      {study.state_reason && <p class="quiet">{study.state}: {study.state_reason}</p>}
      <Facts study={study} />
      <DamagedRows kind="trials" rows={damagedTrials} />
      <DamagedRows kind="events" rows={damagedEvents} />
      <PreflightCard study={study} path={path} />
      {trials.length === 0 ? (
        damagedTrials.length === 0 && <NoTrials study={study} />
      ) : (
        <>
          <section class="card" aria-labelledby="history">
            {several ? (
              <>
                <h2 id="history">Front of {objectives(study.spec).map(({ metric }) => metric).join(" and ")}</h2>
                <FrontChart study={study} trials={trials} />
              </>
            ) : (
              <>
                <h2 id="history">Optimisation history of {objectives(study.spec)[0].metric}</h2>
                <HistoryChart study={study} trials={trials} />
              </>
            )}
          </section>
          <FindingsCard study={study} path={path} />
          <StagesCard study={study} path={path} onChange={(changed) => setShown({ ...shown, study: changed })} />
          <DecompositionCard study={study} path={path} />
          <ImportanceCard study={study} path={path} />
          <section class="card" aria-labelledby="trials">
            <h2 id="trials">Trials</h2>
            <TrialsTable study={study} trials={trials} />
          </section>
        </>
      )}
    </>
  );
}

function nothing(id: string | null): Known {
  return { id, revision: 0, trials: new Map(), damagedTrials: new Map(), damagedEvents: [] };
}

/** Read the trials that changed since `known.revision` into `known`. */
async function readTrials(path: string, study: StudyView, known: Known, signal: AbortSignal): Promise<void> {
  for (let more = true; more; ) {
    const answer = await get<TrialList>(`${path}/trials?since=${known.revision}&limit=${PAGE}`, signal);
    for (const trial of answer.trials) {
      known.trials.set(trial.id, trial);
      known.damagedTrials.delete(String(trial.number));
    }
    for (const row of answer.damaged) {
      known.damagedTrials.set(row.name, row);
      for (const { id, number } of known.trials.values()) if (String(number) === row.name) known.trials.delete(id);
    }
    known.revision = answer.revision;
    more = answer.trials.length + answer.damaged.length > 0 && answer.revision < study.revision;
  }
}

/** In place of a study that cannot be shown: why, if that is known yet. */
function Unloaded({ name, error }: { name: string; error: string | null }) {
  return (
    <>
      <div class="heading"><h1>{name}</h1></div>
      {error && (
        <section class="card empty" role="alert">
          <p class="error">{error}</p>
          <p><a href="/" data-page>See all studies</a></p>
        </section>
      )}
    </>
  );
}

function Facts({ study }: { study: StudyView }) {
  const { spec, best } = study;
  const counts = Object.entries(study.num_trials).filter(([, count]) => count > 0);
  return (
    <dl class="card facts">
      <div>
        <dt>{study.pareto_front ? "Front" : `Best ${objectives(spec)[0].metric}`}</dt>
        <dd class="large"><Best study={study} /></dd>
        {study.reference_summary && <dd>{study.reference_summary}</dd>}
        {best && (
          <dd class="quiet">
            trial {best.number}: {Object.entries(best.parameters).map(([name, value]) => `${name} ${parameter(value)}`).join(", ")}
          </dd>
        )}
      </div>
      <div>
        <dt>Trials</dt>
        <dd class="large"><Progress study={study} /></dd>
        <dd class="quiet">{counts.map(([state, count]) => `${count} ${state}`).join(" · ")}</dd>
        {budgets(study).map((line) => <dd class="quiet" key={line}>{line}</dd>)}
      </div>
      <div>
        <dt>Search</dt>
        <dd>{goals(spec)}</dd>
        <dd class="quiet">
          {spec.sampler.name}, pruner {spec.pruner.name}
          {spec.resource && `, up to ${spec.resource.max} ${spec.resource.name}s`}
        </dd>
        <dd class="quiet">created {instant(study.created_at)}</dd>
      </div>
    </dl>
  );
}

function NoTrials({ study }: { study: StudyView }) {
  if (study.finished_at) return <section class="card empty"><p>This study ended before a trial began.</p></section>;
  return (
    <section class="card empty">
      <h2>No trials yet</h2>
      {study.spec.task ? (
        <>
          <p>Trials begin as soon as a worker asks for one. Start one on any machine that reaches this service:</p>
          <pre><code>worker --cpu --server {location.origin}</code></pre>
        </>
      ) : (
        <p>This study has no task: your own program claims its trials and reports to them, through the Python client or the API.</p>
      )}
    </section>
  );
}
