"""A trial and its attempts on the wire."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from service.contract.base import DamagedRow, Priority, Request, Response, Value
from service.contract.lease import FailureClass
from service.contract.predictions import Confusion
from service.contract.report import Number, Verdict


class TrialState(StrEnum):
    """Where a trial stands; the domain's machine says how it moves."""

    WAITING = "waiting"
    RUNNING = "running"
    PAUSED = "paused"
    COMPLETED = "completed"
    PRUNED = "pruned"
    FAILED = "failed"
    CANCELLED = "cancelled"


class AttemptState(StrEnum):
    """Where an attempt stands; the domain's machine says how it moves."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    PRUNED = "pruned"
    PAUSED = "paused"
    FAILED = "failed"
    LOST = "lost"
    RELEASED = "released"
    CANCELLED = "cancelled"


class TrialKind(StrEnum):
    """What a trial is for; only search trials have a number and reach budgets and samplers."""

    SEARCH = "search"
    PREFLIGHT = "preflight"
    CONFIRM = "confirm"
    RETRAIN = "retrain"
    FORK = "fork"


class Arrival(Response):
    """A rung that the trial has reached, what the objective was there, and its place among those who had by then."""

    step: int
    value: float
    rank: int
    num: int


class TrialView(Response):
    """What is told of a trial in lists."""

    id: str
    number: int | None
    kind: TrialKind
    state: TrialState
    parameters: dict[str, Value]
    values: list[float] | None
    infeasible: bool
    reason: str
    state_reason: str | None
    stage: int | None
    parent_id: str | None = None
    """Of a fork, the trial it goes on from."""
    parent_step: int | None = None
    """The step of its parent's checkpoint that it began with; only later steps are its own."""
    step: int | None
    run_until: int | None = None
    """Absolute step that it trains to for now; none: until the task ends by itself."""
    arrivals: list[Arrival] = []
    num_attempts: int
    metrics: dict[str, Number]
    """Final metrics, as the last attempt's outcome carried them (test metrics, seconds, …)."""
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    revision: int


class ForkRequest(Request):
    """Go on from a checkpoint of a trial with changed settings, beside the search."""

    at: int | None = Field(default=None, ge=0, description="step of the checkpoint; default: the newest that is kept")
    set: dict[str, Value] = Field(min_length=1, description="dotted path into the task -> its new value")
    priority: Priority = 0


class ReleaseRequest(Request):
    """Take a running trial from its worker, so that another one goes on with it."""

    reason: str = Field(default="", description="why, for the study's journal")
    attempt: int | None = Field(
        default=None,
        ge=1,
        description="release only this attempt: then it is safe to ask again; default: the running one",
    )


class TrialList(Response):
    """Trials changed after a revision, in the order of their numbers, and the revision that this answer reflects."""

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
    """Fingerprint of the training code; none: the worker told none."""
    data: str | None = None
    """Fingerprint of the data before it is split."""
    environment: dict[str, str] = {}
    warnings: list[str] = []
    """What people should know of it: other code or data than the study began with, checkpoints that were not kept."""
    started_at: datetime
    ended_at: datetime | None


class Series(Response):
    """The canonical values of one metric: steps ascending, non-finite values as their status."""

    metric: str
    steps: list[int]
    values: list[Number]


class TrialDetail(TrialView):
    """Everything about one trial."""

    attempts: list[AttemptView]
    series: list[Series]
    verdicts: list[Verdict]
    confusion: Confusion | None = None
    """Of a classification that was trained to its end: what it takes for what, by split."""
    config: dict[str, Any] | None
    """The task's configuration with the parameters set, as the worker gets it; none for external tasks."""
