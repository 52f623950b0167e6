"""The durable outbox: a SQLite file that holds every claim id, report and outcome until the service has answered it.

Rows are written before anything is sent and deleted only after the answer, so the agent may die at any instant: the
next agent continues with the same file. Only an attempt's newest values may wait in memory to be batched with the next
ones. If the agent dies, its training processes die too, and the attempt that resumes from the checkpoint measures these
values again. They are therefore written before the checkpoint is. Uses no network.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from pathlib import Path

from service.contract.attempt import CheckpointRequest, FailureClass, FinishRequest, Outcome
from service.contract.claim import Grant
from service.contract.predictions import PredictionsRequest
from service.contract.provenance import ProvenanceRequest
from service.contract.report import Point, ReportRequest
from worker.agent.attempts import AttemptKey
from worker.agent.outbox.outbox_file import OutboxFile
from worker.agent.outbox.report_buffer import ReportBuffer, split
from worker.protocol import CheckpointSaved, Provenance


@dataclass(frozen=True)
class Entry:
    """One message that waits for the service's answer."""

    id: int
    key: AttemptKey
    request: ProvenanceRequest | ReportRequest | FinishRequest


@dataclass(frozen=True)
class Upload:
    """One checkpoint to upload and register; `is_next` is True once the service has answered all reports before it."""

    id: int
    key: AttemptKey
    path: str
    request: CheckpointRequest
    is_next: bool


@dataclass(frozen=True)
class PredictionsEntry:
    """A file of predictions to register; `is_finished` is True once no other message of its attempt is left to send."""

    key: AttemptKey
    request: PredictionsRequest
    is_finished: bool


class Outbox(OutboxFile):
    """Queues entries in order per attempt; sets aside an entry that the service permanently refuses."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._buffer = ReportBuffer()

    # Claims: an id is on disk before it is sent, so that a claim whose answer was lost is retried under the same id.

    def claim_id(self, slot: str) -> str:
        """Return the id of the slot's unanswered claim, or a new id if there is none."""
        with self._transaction() as database:
            new_id = uuid.uuid4().hex
            database.execute("INSERT INTO claim VALUES (?, ?) ON CONFLICT (slot) DO NOTHING", (slot, new_id))
            row = database.execute("SELECT request_id FROM claim WHERE slot = ?", (slot,)).fetchone()
            return str(row[0])

    def ack_claim(self, slot: str, grant: Grant | None) -> None:
        """Delete the id of an answered claim and store the attempt that it granted, in one transaction."""
        with self._transaction() as database:
            database.execute("DELETE FROM claim WHERE slot = ?", (slot,))
            if grant is not None:
                database.execute(
                    "INSERT INTO attempt (trial, attempt, nonce) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                    (grant.trial, grant.attempt, grant.nonce),
                )

    # Provenance, reports and outcomes.

    def add_provenance(self, key: AttemptKey, provenance: Provenance) -> bool:
        """Store the attempt's provenance; return False if the attempt has ended or was refused."""
        with self._transaction() as database:
            row = database.execute(
                "SELECT nonce FROM attempt WHERE trial = ? AND attempt = ? AND refusal IS NULL AND NOT ended", key
            ).fetchone()
            if row is None:
                return False
            request = ProvenanceRequest(
                nonce=row[0], code=provenance.code, data=provenance.data, environment=dict(provenance.environment)
            )
            self._add(key, "provenance", request.model_dump_json())
            return True

    def add_point(self, key: AttemptKey, point: Point, *, at_once: bool = False) -> bool:
        """Buffer one step's metrics for the attempt's next report; write the report if it is due or `at_once` is set.

        Returns:
            Whether the sender has something new to send, now or when the report becomes due.
        """
        with self._lock:
            self._buffer.add(key, point)
            if at_once or not self._buffer.seconds_left(key):
                return self._write_report(key)
            return self._buffer.num_points(key) == 1

    def write_due_reports(self) -> float | None:
        """Write the reports that are due.

        Returns:
            The seconds until the next report is due; None if no values are buffered.
        """
        with self._lock:
            left = {key: self._buffer.seconds_left(key) for key in self._buffer.attempts()}
            for key in (key for key, seconds in left.items() if not seconds):
                self._write_report(key)
            return min(filter(None, left.values()), default=None)

    def _write_report(self, key: AttemptKey) -> bool:
        """Write the buffered values as the next reports.

        Returns:
            False if there are none, or if the attempt has ended or was refused.
        """
        with self._transaction():
            batches = list(split(self._buffer.take(key)))
            return bool(batches) and all(self._write_batch(key, batch) for batch in batches)

    def _write_batch(self, key: AttemptKey, points: list[Point]) -> bool:
        with self._transaction() as database:
            row = database.execute(
                "UPDATE attempt SET num_reports = num_reports + 1 "
                "WHERE trial = ? AND attempt = ? AND refusal IS NULL AND NOT ended RETURNING nonce, num_reports",
                key,
            ).fetchone()
            if row is None:
                self._buffer.forget(key)
                return False
            self._add(key, "report", ReportRequest(nonce=row[0], sequence=row[1], points=points).model_dump_json())
            return True

    def add_checkpoint(self, key: AttemptKey, saved: CheckpointSaved, uri: str) -> bool:
        """Store a checkpoint that the attempt saved, to be registered under `uri` once its file is there.

        Of the attempt's checkpoints that are not registered yet, the newest two stay, and the newest one of a whole
        step.
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
                (*key, _NUM_KEPT, *key),
            )
            return True

    def add_outcome(self, key: AttemptKey, outcome: Outcome) -> bool:
        """Store how the attempt ended; if it was refused, the refusal replaces `outcome`."""
        with self._transaction() as database:
            self._write_report(key)
            self._buffer.forget(key)
            row = database.execute(
                "UPDATE attempt SET ended = 1 WHERE trial = ? AND attempt = ? AND NOT ended RETURNING nonce, refusal",
                key,
            ).fetchone()
            if row is None:
                return False
            nonce, refusal = row
            outcome = outcome if refusal is None else Outcome.model_validate_json(refusal)
            if outcome.result in _FINAL:  # never resumed; the last checkpoint of a success may be the study's best
                database.execute(
                    "DELETE FROM entry WHERE id IN (SELECT id FROM entry WHERE trial = ? AND attempt = ? "
                    "AND kind = 'checkpoint' ORDER BY id DESC LIMIT -1 OFFSET ?)",
                    (*key, 1 if outcome.result == "succeeded" else 0),
                )
            self._add(key, "finish", FinishRequest(nonce=nonce, outcome=outcome).model_dump_json())
            return True

    def finish_abandoned(self) -> int:
        """End the attempts that an earlier agent left open when it died; return their number.

        Their training processes died together with that agent.
        """
        with self._transaction() as database:
            abandoned = database.execute("SELECT trial, attempt FROM attempt WHERE NOT ended").fetchall()
            for trial, attempt in abandoned:
                message = "the worker ended without stopping its training process first"
                outcome = Outcome(result="failed", failure=FailureClass.PROCESS_KILLED, message=message)
                self.add_outcome(AttemptKey(trial, attempt), outcome)
            return len(abandoned)

    # Sending: the entries that are due, and how the service answered.

    def pending(self) -> list[Entry]:
        """Return the oldest entry of each attempt, except checkpoints; an outcome waits for earlier checkpoints."""
        with self._lock:
            rows = self._database.execute(
                "SELECT id, trial, attempt, kind, body FROM entry "
                "WHERE id IN (SELECT min(id) FROM entry WHERE kind != 'checkpoint' GROUP BY trial, attempt) AND NOT ("
                "kind = 'finish' AND EXISTS (SELECT 1 FROM entry AS saved WHERE saved.kind = 'checkpoint' "
                "AND saved.trial = entry.trial AND saved.attempt = entry.attempt)) ORDER BY id"
            ).fetchall()
        return [
            Entry(row[0], AttemptKey(row[1], row[2]), _REQUESTS[row[3]].model_validate_json(row[4])) for row in rows
        ]

    def uploads(self) -> list[Upload]:
        """Return the oldest checkpoint of each attempt, oldest first."""
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

    def ack_checkpoint(self, upload: Upload, refusal: str | None) -> None:
        """Delete a registered checkpoint; with a `refusal`, set it aside with that reason instead."""
        with self._transaction() as database:
            if refusal is not None:
                self.dead_letter(upload.id, refusal)
            else:
                database.execute("DELETE FROM entry WHERE id = ?", (upload.id,))

    def dead_letter(self, id_: int, reason: str) -> None:
        """Set aside one entry that the service will never accept; the other entries of its attempt stay."""
        with self._transaction():
            self._dead_letter_where("id = ?", (id_,), reason)

    def acknowledge(self, entry: Entry) -> None:
        """Delete an entry that the service has accepted; after an outcome, delete the attempt too."""
        with self._transaction() as database:
            database.execute("DELETE FROM entry WHERE id = ?", (entry.id,))
            if isinstance(entry.request, FinishRequest):
                database.execute("DELETE FROM attempt WHERE trial = ? AND attempt = ?", entry.key)

    def refuse(self, key: AttemptKey, outcome: Outcome) -> None:
        """Set the attempt's entries aside and let it end with `outcome`, because the service refuses its messages.

        If the attempt has already ended, `outcome` replaces the outcome that was stored.
        """
        with self._transaction() as database:
            self._write_report(key)
            refusal = outcome.model_dump_json()
            database.execute("UPDATE attempt SET refusal = ? WHERE trial = ? AND attempt = ?", (refusal, *key))
            self._dead_letter(key, outcome.message)
            row = database.execute(
                "UPDATE attempt SET ended = 0 WHERE trial = ? AND attempt = ? AND ended RETURNING 1", key
            ).fetchone()
            if row is not None:
                self.add_outcome(key, outcome)

    def drop(self, key: AttemptKey, reason: str) -> None:
        """Set the attempt's entries aside and delete the attempt, because the service accepts no message of it."""
        with self._transaction() as database:
            self._write_report(key)
            self._buffer.forget(key)
            self._dead_letter(key, reason)
            database.execute("DELETE FROM attempt WHERE trial = ? AND attempt = ?", key)

    def dead_letters(self) -> list[tuple[AttemptKey, str]]:
        """Return attempt and reason of each entry that was set aside, oldest first; their bodies stay in the file."""
        with self._lock:
            rows = self._database.execute("SELECT trial, attempt, reason FROM dead_letter ORDER BY id").fetchall()
        return [(AttemptKey(trial, attempt), reason) for trial, attempt, reason in rows]

    def unsent_checkpoints(self) -> set[AttemptKey]:
        """Return the attempts with a checkpoint that is not registered yet."""
        with self._lock:
            rows = self._database.execute("SELECT DISTINCT trial, attempt FROM entry WHERE kind = 'checkpoint'")
            return {AttemptKey(*row) for row in rows.fetchall()}

    # Predictions are in files. This table lists those that are not registered yet.

    def add_predictions(self, key: AttemptKey, sha256: str, size: int) -> bool:
        """Record that the attempt has saved predictions; return False if the attempt has ended or was refused."""
        with self._transaction() as database:
            row = database.execute(
                "INSERT INTO prediction SELECT trial, attempt, nonce, ?, ? FROM attempt "
                "WHERE trial = ? AND attempt = ? AND refusal IS NULL AND NOT ended ON CONFLICT DO NOTHING RETURNING 1",
                (sha256, size, *key),
            ).fetchone()
            return row is not None

    def predictions(self) -> list[PredictionsEntry]:
        """Return the predictions that are not registered yet, oldest first."""
        with self._lock:
            rows = self._database.execute(
                "SELECT trial, attempt, nonce, sha256, size, NOT EXISTS (SELECT 1 FROM attempt WHERE "
                "attempt.trial = prediction.trial AND attempt.attempt = prediction.attempt) "
                "FROM prediction ORDER BY rowid"
            ).fetchall()
        return [
            PredictionsEntry(
                AttemptKey(trial, attempt), PredictionsRequest(nonce=nonce, sha256=sha256, size=size), bool(is_finished)
            )
            for trial, attempt, nonce, sha256, size, is_finished in rows
        ]

    def ack_predictions(self, key: AttemptKey) -> None:
        """Forget the attempt's predictions: the service has them, or declined them."""
        with self._transaction() as database:
            database.execute("DELETE FROM prediction WHERE trial = ? AND attempt = ?", key)

    # The output of attempts is in files. This table lists the attempts whose output is not completely uploaded.

    def add_output(self, key: AttemptKey, nonce: str) -> None:
        """Record that the attempt writes output."""
        with self._transaction() as database:
            database.execute("INSERT INTO output VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (*key, nonce))

    def ack_output(self, key: AttemptKey) -> None:
        """Forget the attempt's output: the service has all of it, or will not get the rest."""
        with self._transaction() as database:
            database.execute("DELETE FROM output WHERE trial = ? AND attempt = ?", key)

    def unsent_outputs(self) -> list[tuple[AttemptKey, str]]:
        """Return the attempts whose output is not completely uploaded, with their nonces."""
        with self._lock:
            rows = self._database.execute("SELECT trial, attempt, nonce FROM output ORDER BY rowid").fetchall()
        return [(AttemptKey(trial, attempt), nonce) for trial, attempt, nonce in rows]

    def has_messages(self, key: AttemptKey) -> bool:
        """Return whether a message of the attempt is buffered, unsent or unanswered."""
        written = "SELECT 1 FROM entry WHERE trial = ? AND attempt = ?"
        with self._lock:
            return self._buffer.num_points(key) > 0 or bool(self._database.execute(written, key).fetchone())

    def is_empty(self) -> bool:
        """Return whether every entry has been answered or set aside, and no values are buffered."""
        with self._lock:
            return not self._buffer.attempts() and not self._database.execute("SELECT 1 FROM entry").fetchone()

    def trials(self) -> set[str]:
        """Return the trials with an open attempt, or with output or predictions that the service lacks."""
        query = "SELECT trial FROM attempt UNION SELECT trial FROM output UNION SELECT trial FROM prediction"
        with self._lock:
            return {row[0] for row in self._database.execute(query).fetchall()}

    def _add(self, key: AttemptKey, kind: str, body: str) -> None:
        self._database.execute(
            "INSERT INTO entry (trial, attempt, kind, body) VALUES (?, ?, ?, ?)",
            (*key, kind, body),
        )

    def _dead_letter(self, key: AttemptKey, reason: str) -> None:
        self._dead_letter_where("trial = ? AND attempt = ?", key, reason)

    def _dead_letter_where(self, condition: str, values: tuple[object, ...], reason: str) -> None:
        self._database.execute(
            "INSERT INTO dead_letter (trial, attempt, kind, body, reason) "
            f"SELECT trial, attempt, kind, body, ? FROM entry WHERE {condition} ORDER BY id",
            (reason, *values),
        )
        self._database.execute(f"DELETE FROM entry WHERE {condition}", values)


_NUM_KEPT = 2
"""The newest unregistered checkpoints to keep per attempt: as many as its training process keeps files of."""
_FINAL = frozenset({"succeeded", "pruned"})
"""Results after which a trial is not executed again."""
_REQUESTS: dict[str, type[ProvenanceRequest] | type[ReportRequest] | type[FinishRequest]] = {
    "provenance": ProvenanceRequest,
    "report": ReportRequest,
    "finish": FinishRequest,
}
