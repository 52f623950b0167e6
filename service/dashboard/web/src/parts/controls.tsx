/** Pause, resume and stop of one study. */

import { useRef, useState } from "preact/hooks";
import { post } from "../api";
import type { StudyView } from "../wire";

interface Props {
  study: StudyView;
  path: string;
  onChange: (study: StudyView) => void;
}

export function Controls({ study, path, onChange }: Props) {
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<string | null>(null);
  const dialog = useRef<HTMLDialogElement>(null);

  const ask = async (intent: "pause" | "resume" | "stop") => {
    setBusy(true);
    setError(null);
    try {
      onChange(await post<StudyView>(`${path}/${intent}`, { reason: "asked for in the dashboard" }));
    } catch (problem) {
      setError((problem as Error).message);
    } finally {
      setBusy(false);
    }
  };

  if (study.stop_requested && study.state === "active") return <p class="quiet">stopping: waiting for running trials to end</p>;
  const open = study.state === "active" || study.state === "paused";
  return (
    <div class="controls">
      {study.state === "active" && <button disabled={busy} onClick={() => ask("pause")}>Pause</button>}
      {study.state === "paused" && <button disabled={busy} class="primary" onClick={() => ask("resume")}>Resume</button>}
      {open && <button disabled={busy} class="danger" onClick={() => dialog.current?.showModal()}>Stop…</button>}
      {error && <p role="alert" class="error">{error}</p>}
      <dialog ref={dialog} aria-labelledby="stop-title" onClose={() => dialog.current?.returnValue === "stop" && void ask("stop")}>
        <form method="dialog">
          <h2 id="stop-title">Stop {study.name}?</h2>
          <p>No more trials begin, waiting ones are cancelled, and running ones are told to stop at their next report. Nothing already measured is lost.</p>
          <div class="line end">
            <button value="">Keep going</button>
            <button value="stop" class="danger">Stop study</button>
          </div>
        </form>
      </dialog>
    </div>
  );
}
