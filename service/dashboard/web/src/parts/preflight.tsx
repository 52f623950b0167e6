/** What the checks before the first trial found: a line for each, and the loss over the learning rates. */

import { useEffect, useState } from "preact/hooks";
import { get } from "../api";
import { number } from "../format";
import type { Check, Curve, LearningRateRange, PreflightView, StudyView } from "../wire";

const RATES = "learning_rate";

export function PreflightCard({ study, path }: { study: StudyView; path: string }) {
  const [shown, setShown] = useState<PreflightView | null>(null);
  const { preflight } = study;

  useEffect(() => {
    if (!preflight) return;
    const asking = new AbortController();
    // What keeps the service away is told by the page's stream; until it answers, what was known stays.
    get<PreflightView>(`${path}/preflight`, asking.signal).then(setShown, () => {});
    return () => asking.abort();
  }, [path, preflight?.state, preflight?.state_reason]);

  if (!preflight || !shown) return null;
  const checks = shown.result?.checks ?? [];
  const rates = checks.find(({ name }) => name === RATES)?.curves[0];
  const found = shown.result?.learning_rate;
  return (
    <section class="card" aria-labelledby="preflight">
      <h2 id="preflight">Preflight</h2>
      <p class="quiet">{summary(shown, preflight.holds_back)}</p>
      {checks.length > 0 && (
        <details open={checks.some(({ status }) => status === "failed" || status === "warned")}>
          <summary>{checks.length} checks</summary>
          <ul class="checks">
            {checks.map((check) => <CheckLine key={`${check.number} ${check.name}`} check={check} />)}
          </ul>
          {rates && found && <Rates curve={rates} found={found} />}
        </details>
      )}
      {shown.proposals.map(({ reason }) => (
        <p class="quiet" key={reason}>Proposal: {reason}. To accept it, run study preflight {study.name} and follow its last line.</p>
      ))}
    </section>
  );
}

function summary({ state, state_reason }: PreflightView, holdsBack: boolean): string {
  const then = holdsBack ? "; the first trial begins after it" : "";
  if (state === "waiting") return `It waits for a worker${then}.`;
  if (state === "running") return `A worker makes the checks${then}.`;
  return state === "completed" ? `${state_reason}`.replace(/^preflight: /, "") : `${state}: ${state_reason}`;
}

function CheckLine({ check }: { check: Check }) {
  return (
    <li>
      <span class={`state ${check.status}`}>{check.status.replace("_", " ")}</span>
      <div>
        <strong>{check.name.replaceAll("_", " ")}</strong> {check.sentence}
        {check.remedy && <p class="quiet">{check.remedy}</p>}
      </div>
    </li>
  );
}

const [WIDTH, HEIGHT, MARGIN] = [640, 180, 20];

/** The loss over the learning rate; losses that explode, or are no numbers, lie at the upper edge. */
function Rates({ curve, found }: { curve: Curve; found: LearningRateRange }) {
  const losses = curve.y.filter((loss) => loss !== null);
  const [first, lowest, highest] = [losses[0], curve.x[0], curve.x[curve.x.length - 1]];
  if (first === undefined || lowest === undefined || highest === undefined) return null;
  const low = Math.min(...losses);
  const high = Math.min(Math.max(...losses), low + 1.25 * (first - low)) || low + 1;
  const [left, right] = [Math.log(lowest), Math.log(highest)];
  const x = (rate: number) => MARGIN + ((Math.log(rate) - left) / (right - left || 1)) * (WIDTH - 2 * MARGIN);
  const y = (loss: number | null | undefined) =>
    HEIGHT - MARGIN - Math.min(1, ((loss ?? high) - low) / (high - low || 1)) * (HEIGHT - 2 * MARGIN);
  // Marks may lie close to each other, so their words stand to the left, in the middle and to the right.
  const marks: [number, string, "end" | "middle" | "start"][] = [[found.falls, "falls from", "end"], [found.proposed, "proposed:", "middle"]];
  if (found.explodes !== null) marks.push([found.explodes, "explodes at", "start"]);
  const words = marks.map(([rate, what]) => `${what} ${number(rate)}`).join(", ");
  return (
    <figure class="rates">
      <svg viewBox={`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label={`Loss over the learning rate: ${words}`}>
        {marks.map(([rate, what, anchor]) => (
          <g key={what}>
            <line class="mark" x1={x(rate)} x2={x(rate)} y1={MARGIN} y2={HEIGHT - MARGIN} />
            <text x={x(rate)} y={MARGIN - 6} text-anchor={anchor}>{what.replace(/ .*|:/, "")}</text>
          </g>
        ))}
        <polyline points={curve.x.map((rate, at) => `${x(rate).toFixed(1)},${y(curve.y[at]).toFixed(1)}`).join(" ")} />
        <text x={MARGIN} y={HEIGHT - 4}>{number(lowest)}</text>
        <text x={WIDTH - MARGIN} y={HEIGHT - 4} text-anchor="end">{number(highest)}</text>
      </svg>
      <figcaption class="quiet">Loss over the learning rate: {words}</figcaption>
    </figure>
  );
}
