"""Rows that storage tests insert by hand."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from service.storage import tables

STUDY: dict[str, Any] = {
    "id": "s1",
    "project": "default",
    "name": "digits",
    "state": "active",
    "priority": 0,
    "revision": 0,
    "spec_version": 1,
    "next_number": 0,
    "created_at": 0,
}
TRIAL: dict[str, Any] = {
    "id": "t0",
    "study_id": "s1",
    "kind": "search",
    "number": 0,
    "state": "running",
    "spec_version": 1,
    "history_revision": 0,
    "parameters": {"lr": 0.1},
    "suggestion_reason": "drawn",
    "notes": {},
    "seed": 1,
    "priority": 0,
    "metrics": {},
    "infeasible": False,
    "num_attempts": 1,
    "num_failures": 0,
    "num_losses": 0,
    "created_at": 0,
    "revision": 1,
}
ATTEMPT: dict[str, Any] = {
    "trial_id": "t0",
    "number": 1,
    "study_id": "s1",
    "state": "running",
    "nonce": "n",
    "worker": "w",
    "slot": "0",
    "num_reports": 0,
    "started_at": 0,
    "revision": 1,
}
REPORT: dict[str, Any] = {
    "trial_id": "t0",
    "attempt": 1,
    "metric": "loss",
    "step": 1,
    "value": 0.5,
    "sequence": 1,
    "reported_at": 0,
    "revision": 1,
}
VERDICT: dict[str, Any] = {
    "trial_id": "t0",
    "attempt": 1,
    "sequence": 1,
    "step": 1,
    "action": "continue",
    "reason": "",
    "history_revision": 1,
    "decided_at": 0,
    "revision": 1,
}
ARTIFACT: dict[str, Any] = {
    "study_id": "s1",
    "trial_id": "t0",
    "attempt": 1,
    "kind": "checkpoint",
    "name": "step-1",
    "sha256": "0" * 64,
    "size": 1,
    "uri": "file:///1",
    "created_at": 0,
}
CHECKPOINT: dict[str, Any] = {"trial_id": "t0", "attempt": 1, "created_at": 0, "revision": 1}


def put(connection: sa.Connection, table: sa.Table, row: dict[str, Any], **changes: Any) -> None:
    connection.execute(table.insert().values(**row | changes))


def put_attempt(connection: sa.Connection) -> None:
    """A study with one trial and its one running attempt."""
    put(connection, tables.study, STUDY)
    put(connection, tables.trial, TRIAL)
    put(connection, tables.attempt, ATTEMPT)
