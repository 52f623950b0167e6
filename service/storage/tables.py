"""Database tables of the service. Timestamps are integer UTC microseconds; ids are opaque and never reused."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from service.contract.attempt import FailureClass
from service.contract.report import Action
from service.contract.study import StudyState
from service.contract.trial import AttemptState, TrialKind, TrialState

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

# With `none_as_null`, None is stored as SQL NULL, which `IS NULL` finds; without it, as the JSON value null.
Json = sa.JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
Instant = sa.BigInteger
Id = sa.String(32)


def _one_of(column: str, words: type[StrEnum]) -> sa.CheckConstraint:
    """Return a constraint that a column holds only values of the enum, or NULL if the column allows it."""
    listed = ", ".join(f"'{word}'" for word in words)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=column)


def _study_id() -> sa.Column[Any]:
    return sa.Column("study_id", Id, sa.ForeignKey("study.id", ondelete="CASCADE"), nullable=False)


def _of_attempt() -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(["trial_id", "attempt"], ["attempt.trial_id", "attempt.number"], ondelete="CASCADE")


deployment = sa.Table(
    "deployment",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("deployment_id", Id, nullable=False),
    sa.Column("epoch", sa.Integer, nullable=False),
    sa.Column("blob_store_id", Id),
    sa.Column("reaper_seen_at", Instant),
    sa.Column("created_at", Instant, nullable=False),
    sa.CheckConstraint("id = 1", name="singleton"),
)

study = sa.Table(
    "study",
    metadata,
    sa.Column("id", Id, primary_key=True),
    sa.Column("project", sa.String(64), nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("owner", sa.String(64)),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("state_reason", sa.Text),
    sa.Column("pause_cause", sa.String(16)),
    sa.Column("notice", sa.Text),
    sa.Column("stop_requested_at", Instant),
    sa.Column("archived_at", Instant),
    sa.Column("deleted_at", Instant),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("spec_version", sa.Integer, nullable=False),
    sa.Column("next_number", sa.Integer, nullable=False),
    sa.Column("code_fingerprint", sa.String(64)),
    sa.Column("data_fingerprint", sa.String(64)),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("finished_at", Instant),
    sa.Column("active_since", Instant),
    sa.Column("active_microseconds", sa.BigInteger, nullable=False, server_default="0"),
    sa.UniqueConstraint("project", "name"),
    sa.Index(None, "state", "priority"),
    _one_of("state", StudyState),
)

study_spec = sa.Table(
    "study_spec",
    metadata,
    _study_id(),
    sa.Column("version", sa.Integer, nullable=False),
    sa.Column("spec", Json, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("study_id", "version"),
)

trial = sa.Table(
    "trial",
    metadata,
    sa.Column("id", Id, primary_key=True),
    _study_id(),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("number", sa.Integer),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("state_reason", sa.Text),
    sa.Column("spec_version", sa.Integer, nullable=False),
    sa.Column("history_revision", sa.BigInteger, nullable=False),
    sa.Column("parameters", Json, nullable=False),
    sa.Column("suggestion_reason", sa.Text, nullable=False),
    sa.Column("notes", Json, nullable=False),
    sa.Column("stage", sa.Integer),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("run_until", sa.Integer),
    sa.Column("rung_results", Json, nullable=False, server_default="[]"),
    sa.Column("parent_id", Id, sa.ForeignKey("trial.id", ondelete="SET NULL")),
    sa.Column("parent_step", sa.BigInteger),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("value", sa.Double),
    sa.Column("values", Json),
    sa.Column("tie_break_loss", sa.Double),
    sa.Column("metrics", Json, nullable=False),
    sa.Column("infeasible", sa.Boolean, nullable=False),
    sa.Column("last_step", sa.BigInteger),
    sa.Column("num_attempts", sa.Integer, nullable=False),
    sa.Column("num_failures", sa.Integer, nullable=False),
    sa.Column("num_losses", sa.Integer, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("started_at", Instant),
    sa.Column("finished_at", Instant),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("study_id", "number"),
    sa.Index(None, "study_id", "revision"),
    sa.Index(None, "study_id", "state", "value"),
    # Removing a row searches for the rows that refer to it.
    sa.Index(None, "parent_id"),
    sa.CheckConstraint("(kind = 'search') = (number IS NOT NULL)", name="numbered"),
    _one_of("kind", TrialKind),
    _one_of("state", TrialState),
)

attempt = sa.Table(
    "attempt",
    metadata,
    sa.Column("trial_id", Id, sa.ForeignKey("trial.id", ondelete="CASCADE"), nullable=False),
    sa.Column("number", sa.Integer, nullable=False),
    _study_id(),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("nonce", Id, nullable=False),
    sa.Column("worker", sa.String(64), nullable=False),
    sa.Column("slot", sa.String(64), nullable=False),
    sa.Column("num_devices", sa.Integer, server_default="1", nullable=False),
    sa.Column("resume_step", sa.BigInteger),
    sa.Column("resume_batch", sa.BigInteger, server_default="0", nullable=False),
    sa.Column("num_reports", sa.Integer, nullable=False),
    sa.Column("last_step", sa.BigInteger),
    sa.Column("failure", sa.String(32)),
    sa.Column("fault_scope", sa.String(8)),
    sa.Column("message", sa.Text),
    sa.Column("traceback", sa.Text),
    sa.Column("fingerprint", sa.String(64)),
    sa.Column("outcome", Json),
    sa.Column("code_fingerprint", sa.String(64)),
    sa.Column("data_fingerprint", sa.String(64)),
    sa.Column("environment", Json),
    sa.Column("warnings", Json),
    sa.Column("started_at", Instant, nullable=False),
    sa.Column("ended_at", Instant),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("trial_id", "number"),
    sa.Index(None, "study_id", "ended_at"),
    _one_of("state", AttemptState),
    _one_of("failure", FailureClass),
)

lease = sa.Table(
    "lease",
    metadata,
    sa.Column("trial_id", Id, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    _study_id(),
    sa.Column("worker", sa.String(64), nullable=False),
    sa.Column("granted_at", Instant, nullable=False),
    sa.Column("renewed_at", Instant, nullable=False),
    sa.Column("expires_at", Instant, nullable=False),
    sa.PrimaryKeyConstraint("trial_id", "attempt"),
    _of_attempt(),
    sa.Index(None, "expires_at"),
    sa.Index(None, "worker"),
)

claim = sa.Table(
    "claim",
    metadata,
    sa.Column("request_id", sa.String(64), primary_key=True),
    sa.Column("worker", sa.String(64), nullable=False),
    _study_id(),
    sa.Column("trial_id", Id, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    _of_attempt(),
    sa.Index(None, "trial_id", "attempt"),
)

report = sa.Table(
    "report",
    metadata,
    sa.Column("trial_id", Id, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("metric", sa.String(128), nullable=False),
    sa.Column("step", sa.BigInteger, nullable=False),
    sa.Column("value", sa.Double),
    sa.Column("status", sa.String(4)),
    sa.Column("sequence", sa.Integer, nullable=False),
    sa.Column("reported_at", Instant, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("trial_id", "attempt", "metric", "step"),
    _of_attempt(),
    # Neither database stores NaN and infinity faithfully on every path, so they are stored as their status.
    sa.CheckConstraint("(value IS NULL) = (status IS NOT NULL)", name="finite"),
    sa.CheckConstraint("status IN ('nan', 'inf', '-inf')", name="status"),
)

verdict = sa.Table(
    "verdict",
    metadata,
    sa.Column("trial_id", Id, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("sequence", sa.Integer, nullable=False),
    sa.Column("step", sa.BigInteger, nullable=False),
    sa.Column("action", sa.String(16), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("history_revision", sa.BigInteger, nullable=False),
    sa.Column("decided_at", Instant, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("trial_id", "attempt", "sequence"),
    _of_attempt(),
    _one_of("action", Action),
)

artifact = sa.Table(
    "artifact",
    metadata,
    sa.Column("id", Id, primary_key=True),
    _study_id(),
    sa.Column("trial_id", Id, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("name", sa.String(128), nullable=False),
    sa.Column("sha256", sa.String(64), nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("uri", sa.Text, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    _of_attempt(),
    sa.Index(None, "trial_id", "kind"),
    sa.Index(None, "sha256"),
)

checkpoint = sa.Table(
    "checkpoint",
    metadata,
    sa.Column("trial_id", Id, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("step", sa.BigInteger, nullable=False),
    sa.Column("batch", sa.BigInteger, server_default="0", nullable=False),
    sa.Column("artifact_id", Id, sa.ForeignKey("artifact.id", ondelete="CASCADE"), nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("trial_id", "attempt", "step", "batch"),
    _of_attempt(),
    sa.Index(None, "artifact_id"),
)

log_chunk = sa.Table(
    "log_chunk",
    metadata,
    sa.Column("trial_id", Id, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("stream", sa.String(8), nullable=False),
    sa.Column("start_offset", sa.BigInteger, nullable=False),
    sa.Column("content", sa.LargeBinary, nullable=False),
    sa.Column("created_at", Instant, nullable=False),
    sa.PrimaryKeyConstraint("trial_id", "attempt", "stream", "start_offset"),
    _of_attempt(),
)

journal = sa.Table(
    "journal",
    metadata,
    _study_id(),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.Column("ordinal", sa.Integer, nullable=False),
    sa.Column("at", Instant, nullable=False),
    sa.Column("kind", sa.String(32), nullable=False),
    sa.Column("trial_id", Id),
    sa.Column("trial_number", sa.Integer),
    sa.Column("attempt", sa.Integer),
    sa.Column("data", Json, nullable=False),
    sa.PrimaryKeyConstraint("study_id", "revision", "ordinal"),
)

worker = sa.Table(
    "worker",
    metadata,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("capabilities", Json, nullable=False),
    sa.Column("protocol", sa.Integer, nullable=False),
    sa.Column("first_seen_at", Instant, nullable=False),
    sa.Column("last_seen_at", Instant, nullable=False),
    sa.Column("quarantined_at", Instant),
    sa.Column("quarantine_reason", sa.Text),
)

study_host_exclusion = sa.Table(
    "study_host_exclusion",
    metadata,
    _study_id(),
    sa.Column("host", sa.String(255), nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("excluded_at", Instant, nullable=False),
    sa.PrimaryKeyConstraint("study_id", "host"),
)

custom_entry = sa.Table(
    "custom_entry",
    metadata,
    sa.Column("section", sa.String(64), nullable=False),
    sa.Column("name", sa.String(64), nullable=False),
    sa.Column("description", Json, nullable=False),
    sa.Column("fingerprint", sa.String(64), nullable=False),
    sa.Column("worker", sa.String(64), nullable=False),
    sa.Column("registered_at", Instant, nullable=False),
    sa.PrimaryKeyConstraint("section", "name"),
)

enqueued_trial = sa.Table(
    "enqueued_trial",
    metadata,
    sa.Column("id", Id, primary_key=True),
    _study_id(),
    sa.Column("parameters", Json, nullable=False),
    sa.Column("priority", sa.Integer, nullable=False),
    sa.Column("trial_id", Id, sa.ForeignKey("trial.id", ondelete="SET NULL")),
    sa.Column("created_at", Instant, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("study_id", "revision"),
    sa.Index(None, "trial_id"),
)

stage = sa.Table(
    "stage",
    metadata,
    _study_id(),
    sa.Column("number", sa.Integer, nullable=False),
    sa.Column("box", Json, nullable=False),
    sa.Column("reason", sa.Text, nullable=False),
    sa.Column("review", sa.String(16)),
    sa.Column("decided_at", Instant, nullable=False),
    sa.Column("revision", sa.BigInteger, nullable=False),
    sa.PrimaryKeyConstraint("study_id", "number"),
)

prior_trial = sa.Table(
    "prior_trial",
    metadata,
    _study_id(),
    sa.Column("ordinal", sa.Integer, nullable=False),
    # No foreign key: the trial belongs to another study, which may be deleted.
    sa.Column("trial_id", Id, nullable=False),
    sa.Column("parameters", Json, nullable=False),
    sa.Column("value", sa.Double, nullable=False),
    sa.PrimaryKeyConstraint("study_id", "ordinal"),
)

trial_diagnosis = sa.Table(
    "trial_diagnosis",
    metadata,
    sa.Column("trial_id", Id, sa.ForeignKey("trial.id", ondelete="CASCADE"), primary_key=True),
    _study_id(),
    sa.Column("trial_revision", sa.BigInteger, nullable=False),
    sa.Column("rules", sa.String(64), nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("findings", Json, nullable=False),
    sa.Index(None, "study_id"),
)

study_diagnosis = sa.Table(
    "study_diagnosis",
    metadata,
    sa.Column("study_id", Id, sa.ForeignKey("study.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("judged_revision", sa.BigInteger, nullable=False),
    sa.Column("rules", sa.String(64), nullable=False),
    sa.Column("judged_at", Instant, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("findings", Json, nullable=False),
    sa.Column("trial_findings", Json, nullable=False),
    sa.Column("decomposition", Json),
)

Row = sa.Row[Any]
"""A row of one of these tables."""

Connection = sa.Connection
"""A connection to run queries on."""
