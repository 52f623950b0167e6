/** The list of studies, newest first, live. */

import { useEffect, useState } from "preact/hooks";
import { get } from "../api";
import { goals, instant } from "../format";
import { useLive } from "../live";
import { DamagedRows } from "../parts/damaged";
import { Best, LiveMark, Progress, State } from "../parts/status";
import { studyPath } from "../router";
import type { StudyList, StudyView } from "../wire";

export function StudiesPage() {
  const [list, setList] = useState<StudyList | null>(null);
  const live = useLive("/stream", async (signal) => setList(await get<StudyList>("/studies", signal)));
  useEffect(() => {
    document.title = "Studies · Assayer";
  }, []);
  return (
    <>
      <div class="heading">
        <h1>Studies</h1>
        <LiveMark live={live} />
      </div>
      {list && <DamagedRows kind="studies" rows={list.damaged} />}
      {list && list.studies.length > 0 && <Table studies={list.studies} />}
      {list && list.studies.length + list.damaged.length === 0 && <NoStudies />}
    </>
  );
}

function Table({ studies }: { studies: StudyView[] }) {
  return (
    <div class="card scroll">
      <table>
        <thead>
          <tr>
            <th scope="col">Study</th>
            <th scope="col">State</th>
            <th scope="col">Trials</th>
            <th scope="col">Best</th>
            <th scope="col">Objective</th>
            <th scope="col">Created</th>
          </tr>
        </thead>
        <tbody>
          {studies.map((study) => (
            <tr key={study.id}>
              <th scope="row">
                <a href={studyPath(study)} data-page>{study.name}</a>
                {study.project !== "default" && <span class="quiet"> in {study.project}</span>}
              </th>
              <td>
                <State state={study.state} />
                {study.state === "active" && study.preflight?.holds_back && <div class="quiet standing">waits for its preflight</div>}
              </td>
              <td><Progress study={study} /></td>
              <td>
                <Best study={study} />
                {study.reference_summary && <div class="quiet standing">{study.reference_summary}</div>}
              </td>
              <td>{goals(study.spec)}</td>
              <td class="quiet">{instant(study.created_at)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function NoStudies() {
  return (
    <section class="card empty">
      <h2>No studies yet</h2>
      <p>A study is one search: a search space, an objective and a budget of trials. Create one with</p>
      <pre><code>study create examples/digits.yaml</code></pre>
      <p>and start a worker that trains its trials:</p>
      <pre><code>worker --cpu</code></pre>
      <p class="quiet">It appears here by itself.</p>
    </section>
  );
}
