"""A trial and its attempts on the wire."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from service.contract.attempt import FailureClass
from service.contract.base import DamagedRow, Priority, Request, Response, Value
from service.contract.finding import Finding
from service.contract.predictions import Confusion
from service.contract.report import Number, Verdict


class TrialState(StrEnum):
    """The state of a trial. docs/architecture.md shows the transitions."""

    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    PRUNED = "pruned"
    FAILED = "failed"
    CANCELLED = "cancelled"


class AttemptState(StrEnum):
    """The state of an attempt. docs/architecture.md shows the transitions."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PRUNED = "pruned"
    PAUSED = "paused"
    FAILED = "failed"
    LOST = "lost"
    RELEASED = "released"
    CANCELLED = "cancelled"


class TrialKind(StrEnum):
    """The purpose of a trial.

    Only search trials have a number, count against budgets and are observations for samplers.
    """

    SEARCH = "search"
    PREFLIGHT = "preflight"
    CONFIRM = "confirm"
    RETRAIN = "retrain"
    FORK = "fork"


class RungResultView(Response):
    """A rung result: the objective when the trial reached the rung, and its rank among the `num` trials so far."""

    step: int
    value: float
    rank: int
    num: int


class TrialView(Response):
    """A trial as listings show it."""

    id: str
    number: int | None
    kind: TrialKind
    state: TrialState
    parameters: dict[str, Value]
    values: list[float] | None
    infeasible: bool
    suggestion_reason: str
    state_reason: str | None
    stage: int | None
    parent_id: str | None = None
    """Of a fork: the trial it continues."""
    parent_step: int | None = None
    """Of a fork: the step of the parent's checkpoint that it started from. Only later steps are its own."""
    step: int | None
    run_until: int | None = None
    """Absolute step that it trains to for now. None: until the task ends by itself."""
    rung_results: list[RungResultView] = []
    num_attempts: int
    metrics: dict[str, Number]
    """Final metrics from the last attempt's outcome (test metrics, seconds, …)."""
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    revision: int


class ForkRequest(Request):
    """Continue from a checkpoint of a trial with changed settings, outside the search."""

    at: int | None = Field(default=None, ge=0, description="step of the checkpoint; default: the newest that is kept")
    set: dict[str, Value] = Field(min_length=1, description="dotted path into the task -> its new value")
    priority: Priority = 0


class ReleaseRequest(Request):
    """Release a running trial from its worker, so that another worker continues it."""

    reason: str = Field(default="", description="why, for the study's journal")
    attempt: int | None = Field(
        default=None,
        ge=1,
        description="release only this attempt, which makes the request safe to repeat; default: the running attempt",
    )


class TrialList(Response):
    """Trials changed after a revision, ordered by number, and the revision that this answer reflects."""

    revision: int
    trials: list[TrialView]
    damaged: list[DamagedRow] = Field(
        default=[], description="trials among these that cannot be read from the database"
    )


class AttemptView(Response):
    """One execution of a trial."""

    number: int
    state: AttemptState
    worker: str
    slot: str
    failure: FailureClass | None
    message: str | None
    traceback: str | None
    code: str | None = None
    """Fingerprint of the training code. None: the worker sent none."""
    data: str | None = None
    """Fingerprint of the data before it is split."""
    environment: dict[str, str] = {}
    warnings: list[str] = []
    """Warnings for users: code or data that differ from those of the study's start, checkpoints that were not kept."""
    started_at: datetime
    ended_at: datetime | None


class Series(Response):
    """The canonical values of one metric: steps ascending, non-finite values as their status."""

    metric: str
    steps: list[int]
    values: list[Number]


class TrialDetail(TrialView):
    """All data about one trial."""

    attempts: list[AttemptView]
    series: list[Series]
    verdicts: list[Verdict]
    confusion: Confusion | None = None
    """Of a classification trained to its end: confusion matrices by split."""
    config: dict[str, Any] | None
    """The task's configuration with the parameters set, as the worker gets it. None for external tasks."""
    findings: list[Finding] = []
    """What its learning curves show, the gravest first. `GET …/diagnosis` says whether they are of this revision."""
