/** The damaged rows of a listing, each with the reason why the service cannot read it from its database. */

import type { DamagedRow } from "../wire";
import { State } from "./status";

/** Rows shown at once: a broken disk can damage thousands. */
const ROWS = 20;

/** What the rows of a listing are, and one of them. */
const ONE = { studies: "A study", trials: "A trial", events: "An event", stages: "A stage" };

interface Props {
  kind: keyof typeof ONE;
  rows: DamagedRow[];
}

export function DamagedRows({ kind, rows }: Props) {
  if (rows.length === 0) return null;
  const id = `damaged-${kind}`;
  return (
    <section class="card scroll" aria-labelledby={id}>
      <table>
        <caption id={id}>
          {rows.length === 1 ? ONE[kind] : `${rows.length} ${kind}`} {rows.length === 1 ? "is" : "are"} damaged
          <span class="quiet"> in the service's database and cannot be shown; <code>assayer fsck</code> lists all damage</span>
        </caption>
        <tbody>
          {rows.slice(0, ROWS).map((row) => (
            <tr key={row.name}>
              <th scope="row">{row.name}</th>
              <td><State state="damaged" /></td>
              <td class="reason">{row.reason}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {rows.length > ROWS && <p class="quiet">and {rows.length - ROWS} more</p>}
    </section>
  );
}
