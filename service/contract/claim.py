"""Claim on the wire: how a worker asks for a trial, and the grant that it gets."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from service.contract.base import PROTOCOL_VERSION, Direction, Identifier, Request, Response, TaskKind, Value
from service.contract.capabilities import Capabilities
from service.contract.study import StudySpec


class ClaimRequest(Request):
    """Ask for a trial.

    Repeating a `request_id` repeats the answer, so a worker that lost the reply can ask again.
    """

    request_id: str = Field(min_length=8, max_length=64)
    worker: Identifier
    slot: Identifier = "0"
    host: str = ""
    protocol: int = PROTOCOL_VERSION
    capabilities: Capabilities = Capabilities()
    studies: list[str] | None = Field(default=None, description="names or ids; default: the service chooses")


class Monitor(Response):
    """The objective as the task needs it: the metric to watch, and whether the best or the last step counts."""

    metric: str
    direction: Direction
    keep: Literal["best", "last"]
    best: float | None = None
    """The study's best value when the trial was granted.

    A training that ends worse need not save its last checkpoint.
    """


class Artifact(Response):
    """A stored file."""

    sha256: str
    size: int
    uri: str
    """`blob:` and the sha256 if the service stores the file. Otherwise the location that the worker registered."""


class ResumePoint(Artifact):
    """The checkpoint that an attempt starts from: the end of `step`, or `batch` batches into the next step."""

    step: int
    batch: int = 0


class PreflightOrder(Response):
    """What a worker needs, beside the grant's own configuration, to check a study."""

    spec: StudySpec
    budget_epochs: float | None = None
    """Epochs that all trials of the study's budget train together at most. None: unknown."""


class Grant(Response):
    """A trial to execute, and the lease on it."""

    kind: Literal["grant"] = "grant"
    study: str
    study_name: str
    trial: str
    number: int | None
    attempt: int
    nonce: str
    task_kind: TaskKind
    task: dict[str, Any] | None
    """For train: the whole configuration with the parameters set. Otherwise the task as the study defines it."""
    parameters: dict[str, Value]
    dropped: list[str] = []
    """Options of the base configuration that were left out because the chosen entry does not know them."""
    seed: int
    monitor: Monitor
    constraints: dict[str, dict[str, float]] = {}
    resource: str
    run_until: int | None
    """Absolute step to train to. None: until the task ends by itself."""
    pauses: bool = False
    """At `run_until` register a checkpoint and finish as paused. The trial resumes from it if it is promoted."""
    resume: ResumePoint | None = None
    fork_at: int | None = None
    """Of a fork: the step of its parent's checkpoint. Without `resume` that checkpoint is gone: finish as invalid."""
    teacher: Artifact | None = None
    """Checkpoint of the trial that the task's `loss.teacher` names. If it is missing, it is gone: finish as invalid."""
    preflight: PreflightOrder | None = None
    """Of a preflight: make its checks around this configuration instead of training, and send their results."""
    lease_seconds: float
    heartbeat_seconds: float


class NoTrial(Response):
    """No trial is available now. The answer says why, and when to ask again.

    `done` is true if the studies asked for will never have another trial.
    """

    kind: Literal["nothing"] = "nothing"
    reason: str
    retry_seconds: float
    done: bool = False


ClaimReply = Annotated[Grant | NoTrial, Field(discriminator="kind")]
