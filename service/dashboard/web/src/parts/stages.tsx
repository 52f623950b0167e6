/** How the boxes of a coarse-to-fine search came about, and the one that waits for a person to accept it. */

import { useEffect, useState } from "preact/hooks";
import { get, post } from "../api";
import type { StageList, StudyView } from "../wire";
import { DamagedRows } from "./damaged";

interface Props {
  study: StudyView;
  path: string;
  onChange: (study: StudyView) => void;
}

export function StagesCard({ study, path, onChange }: Props) {
  const [shown, setShown] = useState<StageList | null>(null);
  const [error, setError] = useState<string | null>(null);
  const isStaged = study.spec.sampler.name === "coarse_to_fine";

  useEffect(() => {
    if (!isStaged) return;
    const asking = new AbortController();
    // What keeps the service away is told by the page's stream; until it answers, what was known stays.
    get<StageList>(`${path}/stages`, asking.signal).then(setShown, () => {});
    return () => asking.abort();
  }, [path, isStaged, study.revision]);

  const accept = async (number: number) => {
    try {
      onChange(await post<StudyView>(`${path}/stages/${number}`, {}));
      setError(null);
    } catch (problem) {
      setError((problem as Error).message);
    }
  };

  if (!shown) return null;
  if (shown.stages.length === 0) return <DamagedRows kind="stages" rows={shown.damaged} />;
  return (
    <>
      <DamagedRows kind="stages" rows={shown.damaged} />
      <section class="card" aria-labelledby="stages">
        <h2 id="stages">Stages</h2>
        {shown.stages.map(({ number, reason, review }) => (
          <div key={number}>
            <h3>Stage {number + 1} of {shown.num_stages}{review && `, ${review}`}</h3>
            {reason.split("; ").map((change) => <p class="quiet" key={change}>{change}</p>)}
            {review === "proposed" && (
              <p class="line">
                <button class="primary" onClick={() => void accept(number)}>Accept this box</button>
                <span class="quiet">or choose another range: study accept {study.name} --box 'NAME=[LOW, HIGH]'</span>
              </p>
            )}
          </div>
        ))}
        {error && <p role="alert" class="error">{error}</p>}
      </section>
    </>
  );
}
