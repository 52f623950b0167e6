"""The durable outbox: a SQLite file holding every claim id, report and outcome until the service has answered for it.

Rows are written before anything is sent and deleted only after the answer, so the agent may die at any instant: the
next agent on the same file goes on where this one stopped. Only an attempt's newest values may wait in memory for the
next ones; a training process dies with its agent, and whoever resumes its checkpoint measures them again. So they are
written before the checkpoint is. Knows no network.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from pathlib import Path

from service.contract.lease import CheckpointRequest, FailureClass, FinishRequest, Grant, Outcome
from service.contract.predictions import PredictionsRequest
from service.contract.provenance import ProvenanceRequest
from service.contract.report import Point, ReportRequest
from worker.agent.gathered import Gathered, split
from worker.agent.held import AttemptKey
from worker.agent.outbox_file import OutboxFile
from worker.protocol import Checkpointed, Provenance


@dataclass(frozen=True)
class Entry:
    """One message that waits for the service's answer."""

    id: int
    key: AttemptKey
    request: ProvenanceRequest | ReportRequest | FinishRequest


@dataclass(frozen=True)
class Upload:
    """One checkpoint that waits to be uploaded and registered; `is_next` once the reports before it were answered."""

    id: int
    key: AttemptKey
    path: str
    request: CheckpointRequest
    is_next: bool


@dataclass(frozen=True)
class PredictionsEntry:
    """A file of predictions that waits to be registered; `is_finished` once nothing of its attempt is left to send."""

    key: AttemptKey
    request: PredictionsRequest
    is_finished: bool


class Outbox(OutboxFile):
    """Entries leave it in order per attempt; what the service refuses for good is set aside with its reason."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._gathered = Gathered()

    # Claims: an id is on disk before it is sent, so a claim whose answer was lost is repeated, not doubled.

    def claim_id(self, slot: str) -> str:
        """The id of the slot's unanswered claim, or that of a new one."""
        with self._transaction() as database:
            fresh = uuid.uuid4().hex
            database.execute("INSERT INTO claim VALUES (?, ?) ON CONFLICT (slot) DO NOTHING", (slot, fresh))
            row = database.execute("SELECT request_id FROM claim WHERE slot = ?", (slot,)).fetchone()
            return str(row[0])

    def settle_claim(self, slot: str, grant: Grant | None) -> None:
        """The claim is answered: forget its id and remember the attempt it granted, in one transaction."""
        with self._transaction() as database:
            database.execute("DELETE FROM claim WHERE slot = ?", (slot,))
            if grant is not None:
                database.execute(
                    "INSERT INTO attempt (trial, attempt, nonce) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                    (grant.trial, grant.attempt, grant.nonce),
                )

    # Provenance, reports and outcomes.

    def add_provenance(self, key: AttemptKey, told: Provenance) -> bool:
        """Keep what the attempt was made from; False where nothing of it is wanted any more."""
        with self._transaction() as database:
            row = database.execute(
                "SELECT nonce FROM attempt WHERE trial = ? AND attempt = ? AND refusal IS NULL AND NOT ended", key
            ).fetchone()
            if row is None:
                return False
            request = ProvenanceRequest(
                nonce=row[0], code=told.code, data=told.data, environment=dict(told.environment)
            )
            self._add(key, "provenance", request.model_dump_json())
            return True

    def add_values(self, key: AttemptKey, point: Point, *, at_once: bool = False) -> bool:
        """Keep one step's metrics for the attempt's next report, which is written if it is due or to be sent at once.

        Whether there is something new to send, now or once it is due.
        """
        with self._lock:
            self._gathered.add(key, point)
            if at_once or not self._gathered.seconds_left(key):
                return self._write_report(key)
            return self._gathered.num(key) == 1

    def write_due_reports(self) -> float | None:
        """Write the reports that are due; in how many seconds the next one will be, None: nothing waits for it."""
        with self._lock:
            left = {key: self._gathered.seconds_left(key) for key in self._gathered.waiting()}
            for key in (key for key, seconds in left.items() if not seconds):
                self._write_report(key)
            return min(filter(None, left.values()), default=None)

    def _write_report(self, key: AttemptKey) -> bool:
        """Write the values that wait as the next reports; False where none do, or none are wanted any more."""
        with self._transaction():
            batches = list(split(self._gathered.take(key)))
            return bool(batches) and all(self._write_batch(key, batch) for batch in batches)

    def _write_batch(self, key: AttemptKey, points: list[Point]) -> bool:
        with self._transaction() as database:
            row = database.execute(
                "UPDATE attempt SET num_reports = num_reports + 1 "
                "WHERE trial = ? AND attempt = ? AND refusal IS NULL AND NOT ended RETURNING nonce, num_reports",
                key,
            ).fetchone()
            if row is None:
                self._gathered.forget(key)
                return False
            self._add(key, "report", ReportRequest(nonce=row[0], sequence=row[1], points=points).model_dump_json())
            return True

    def add_checkpoint(self, key: AttemptKey, saved: Checkpointed, uri: str) -> bool:
        """Keep a checkpoint that the attempt saved and that is to be had at `uri` once it was brought there.

        Of those that were not registered yet, the newest two stay, and the newest of a whole step.
        """
        with self._transaction() as database:
            self._write_report(key)
            row = database.execute(
                "SELECT nonce FROM attempt WHERE trial = ? AND attempt = ? AND refusal IS NULL AND NOT ended", key
            ).fetchone()
            if row is None:
                return False
            request = CheckpointRequest(
                nonce=row[0], step=saved.step, batch=saved.batch, sha256=saved.sha256, size=saved.size, uri=uri
            )
            body = json.dumps({"path": saved.path, "request": request.model_dump(mode="json")})
            self._add(key, "checkpoint", body)
            database.execute(
                "DELETE FROM entry WHERE id IN (SELECT id FROM entry WHERE trial = ? AND attempt = ? "
                "AND kind = 'checkpoint' ORDER BY id DESC LIMIT -1 OFFSET ?) AND id IS NOT (SELECT max(id) FROM entry "
                "WHERE trial = ? AND attempt = ? AND kind = 'checkpoint' "
                "AND coalesce(json_extract(body, '$.request.batch'), 0) = 0)",
                (*key, _KEPT, *key),
            )
            return True

    def add_finish(self, key: AttemptKey, outcome: Outcome) -> bool:
        """Keep how the attempt ended; if it was refused, as that says, whatever `outcome` does."""
        with self._transaction() as database:
            self._write_report(key)
            self._gathered.forget(key)
            row = database.execute(
                "UPDATE attempt SET ended = 1 WHERE trial = ? AND attempt = ? AND NOT ended RETURNING nonce, refusal",
                key,
            ).fetchone()
            if row is None:
                return False
            nonce, refusal = row
            outcome = outcome if refusal is None else Outcome.model_validate_json(refusal)
            if outcome.result in _FINAL:  # nobody will resume it; the last of what succeeded may be the study's best
                database.execute(
                    "DELETE FROM entry WHERE id IN (SELECT id FROM entry WHERE trial = ? AND attempt = ? "
                    "AND kind = 'checkpoint' ORDER BY id DESC LIMIT -1 OFFSET ?)",
                    (*key, 1 if outcome.result == "succeeded" else 0),
                )
            self._add(key, "finish", FinishRequest(nonce=nonce, outcome=outcome).model_dump_json())
            return True

    def finish_abandoned(self) -> int:
        """End the attempts that an earlier agent left unended when it died, and their processes with it; how many."""
        with self._transaction() as database:
            abandoned = database.execute("SELECT trial, attempt FROM attempt WHERE NOT ended").fetchall()
            for trial, attempt in abandoned:
                message = "the worker ended without stopping its training process first"
                outcome = Outcome(result="failed", failure=FailureClass.PROCESS_KILLED, message=message)
                self.add_finish(AttemptKey(trial, attempt), outcome)
            return len(abandoned)

    # Sending: what is due, and what became of it.

    def heads(self) -> list[Entry]:
        """The oldest entry of each attempt but its checkpoints; outcomes wait for the checkpoints before them."""
        with self._lock:
            rows = self._database.execute(
                "SELECT id, trial, attempt, kind, body FROM entry "
                "WHERE id IN (SELECT min(id) FROM entry WHERE kind != 'checkpoint' GROUP BY trial, attempt) AND NOT ("
                "kind = 'finish' AND EXISTS (SELECT 1 FROM entry AS saved WHERE saved.kind = 'checkpoint' "
                "AND saved.trial = entry.trial AND saved.attempt = entry.attempt)) ORDER BY id"
            ).fetchall()
        return [Entry(row[0], AttemptKey(row[1], row[2]), _MODELS[row[3]].model_validate_json(row[4])) for row in rows]

    def uploads(self) -> list[Upload]:
        """The oldest checkpoint of each attempt, oldest first."""
        with self._lock:
            rows = self._database.execute(
                "SELECT id, trial, attempt, body, NOT EXISTS (SELECT 1 FROM entry AS earlier WHERE "
                "earlier.trial = entry.trial AND earlier.attempt = entry.attempt AND earlier.id < entry.id) "
                "FROM entry WHERE id IN (SELECT min(id) FROM entry WHERE kind = 'checkpoint' GROUP BY trial, attempt) "
                "ORDER BY id"
            ).fetchall()
        uploads = []
        for id_, trial, attempt, body, is_next in rows:
            saved = json.loads(body)
            request = CheckpointRequest.model_validate(saved["request"])
            uploads.append(Upload(id_, AttemptKey(trial, attempt), saved["path"], request, bool(is_next)))
        return uploads

    def settle_checkpoint(self, upload: Upload, refusal: str | None) -> None:
        """The checkpoint is registered, or will not be: then it is set aside with the reason."""
        with self._transaction() as database:
            if refusal is not None:
                self.set_entry_aside(upload.id, refusal)
            else:
                database.execute("DELETE FROM entry WHERE id = ?", (upload.id,))

    def set_entry_aside(self, id_: int, reason: str) -> None:
        """The service will never take this one entry; the rest of its attempt goes on."""
        with self._transaction():
            self._set_aside_where("id = ?", (id_,), reason)

    def answered(self, entry: Entry) -> None:
        """The service has taken the entry; an outcome takes the attempt with it."""
        with self._transaction() as database:
            database.execute("DELETE FROM entry WHERE id = ?", (entry.id,))
            if isinstance(entry.request, FinishRequest):
                database.execute("DELETE FROM attempt WHERE trial = ? AND attempt = ?", entry.key)

    def refuse(self, key: AttemptKey, outcome: Outcome) -> None:
        """The service will take no more of the attempt: set its entries aside, and end it with this outcome."""
        with self._transaction() as database:
            self._write_report(key)
            refusal = outcome.model_dump_json()
            database.execute("UPDATE attempt SET refusal = ? WHERE trial = ? AND attempt = ?", (refusal, *key))
            self._set_aside(key, outcome.message)
            row = database.execute(
                "UPDATE attempt SET ended = 0 WHERE trial = ? AND attempt = ? AND ended RETURNING 1", key
            ).fetchone()
            if row is not None:
                self.add_finish(key, outcome)

    def drop(self, key: AttemptKey, reason: str) -> None:
        """The service wants nothing more of the attempt: set its entries aside and forget it."""
        with self._transaction() as database:
            self._write_report(key)
            self._gathered.forget(key)
            self._set_aside(key, reason)
            database.execute("DELETE FROM attempt WHERE trial = ? AND attempt = ?", key)

    def set_aside(self) -> list[tuple[AttemptKey, str]]:
        """Attempt and reason of each entry that was set aside, oldest first; their bodies stay in the file."""
        with self._lock:
            rows = self._database.execute("SELECT trial, attempt, reason FROM set_aside ORDER BY id").fetchall()
        return [(AttemptKey(trial, attempt), reason) for trial, attempt, reason in rows]

    def unsent_checkpoints(self) -> set[AttemptKey]:
        """The attempts with a checkpoint that is not registered yet."""
        with self._lock:
            rows = self._database.execute("SELECT DISTINCT trial, attempt FROM entry WHERE kind = 'checkpoint'")
            return {AttemptKey(*row) for row in rows.fetchall()}

    # Predictions are in files; here stands which of them the service has not heard of.

    def add_predictions(self, key: AttemptKey, sha256: str, size: int) -> bool:
        """Keep in mind that the attempt has left predictions; False where nothing of it is wanted any more."""
        with self._transaction() as database:
            found = database.execute(
                "INSERT INTO predicted SELECT trial, attempt, nonce, ?, ? FROM attempt "
                "WHERE trial = ? AND attempt = ? AND refusal IS NULL AND NOT ended ON CONFLICT DO NOTHING RETURNING 1",
                (sha256, size, *key),
            ).fetchone()
            return found is not None

    def predictions(self) -> list[PredictionsEntry]:
        """The predictions that the service has not heard of, oldest first."""
        with self._lock:
            rows = self._database.execute(
                "SELECT trial, attempt, nonce, sha256, size, NOT EXISTS (SELECT 1 FROM attempt WHERE "
                "attempt.trial = predicted.trial AND attempt.attempt = predicted.attempt) FROM predicted ORDER BY rowid"
            ).fetchall()
        return [
            PredictionsEntry(
                AttemptKey(trial, attempt), PredictionsRequest(nonce=nonce, sha256=sha256, size=size), bool(is_finished)
            )
            for trial, attempt, nonce, sha256, size, is_finished in rows
        ]

    def settle_predictions(self, key: AttemptKey) -> None:
        """The service has the predictions, or does not want them."""
        with self._transaction() as database:
            database.execute("DELETE FROM predicted WHERE trial = ? AND attempt = ?", key)

    # What attempts print is in files; here stands of which the service has not heard everything.

    def add_printed(self, key: AttemptKey, nonce: str) -> None:
        """Keep in mind that the attempt prints."""
        with self._transaction() as database:
            database.execute("INSERT INTO printed VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (*key, nonce))

    def settle_printed(self, key: AttemptKey) -> None:
        """The service has heard all that the attempt printed, or never will."""
        with self._transaction() as database:
            database.execute("DELETE FROM printed WHERE trial = ? AND attempt = ?", key)

    def printed(self) -> list[tuple[AttemptKey, str]]:
        """The attempts of whose print the service has not heard everything, with their nonces."""
        with self._lock:
            rows = self._database.execute("SELECT trial, attempt, nonce FROM printed ORDER BY rowid").fetchall()
        return [(AttemptKey(trial, attempt), nonce) for trial, attempt, nonce in rows]

    def holds(self, key: AttemptKey) -> bool:
        """Whether anything of the attempt still waits for an answer, or to be sent."""
        written = "SELECT 1 FROM entry WHERE trial = ? AND attempt = ?"
        with self._lock:
            return self._gathered.num(key) > 0 or bool(self._database.execute(written, key).fetchone())

    def is_empty(self) -> bool:
        """Whether every entry has been answered or set aside."""
        with self._lock:
            return not self._gathered.waiting() and not self._database.execute("SELECT 1 FROM entry").fetchone()

    def trials(self) -> set[str]:
        """The trials of which the service has not heard everything."""
        query = "SELECT trial FROM attempt UNION SELECT trial FROM printed UNION SELECT trial FROM predicted"
        with self._lock:
            return {row[0] for row in self._database.execute(query).fetchall()}

    def _add(self, key: AttemptKey, kind: str, body: str) -> None:
        self._database.execute(
            "INSERT INTO entry (trial, attempt, kind, body) VALUES (?, ?, ?, ?)",
            (*key, kind, body),
        )

    def _set_aside(self, key: AttemptKey, reason: str) -> None:
        self._set_aside_where("trial = ? AND attempt = ?", key, reason)

    def _set_aside_where(self, which: str, given: tuple[object, ...], reason: str) -> None:
        self._database.execute(
            "INSERT INTO set_aside (trial, attempt, kind, body, reason) "
            f"SELECT trial, attempt, kind, body, ? FROM entry WHERE {which} ORDER BY id",
            (reason, *given),
        )
        self._database.execute(f"DELETE FROM entry WHERE {which}", given)


_KEPT = 2
"""Newest unsent checkpoints of an attempt, as many as its training process keeps files of."""
_FINAL = frozenset({"succeeded", "pruned"})
"""Results after which a trial is not executed again."""
_MODELS: dict[str, type[ProvenanceRequest] | type[ReportRequest] | type[FinishRequest]] = {
    "provenance": ProvenanceRequest,
    "report": ReportRequest,
    "finish": FinishRequest,
}
