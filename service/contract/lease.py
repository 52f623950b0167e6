"""Claim, heartbeat, checkpoint and finish on the wire: how a worker obtains a trial, renews its lease and ends it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from service.contract.base import PROTOCOL_VERSION, Direction, Identifier, Quoted, Request, Response, TaskKind, Value
from service.contract.entries import Offered
from service.contract.predictions import Confusion
from service.contract.provenance import Fingerprint
from service.contract.report import Action, Number, ReportRequest

BLOB = "blob:"
"""Prefix of the URI of a checkpoint that lies in the service's blob store."""


class FailureClass(StrEnum):
    """Why an attempt failed. docs/architecture.md lists the consequences of each class."""

    WORKER_LOST = "worker_lost"
    PREEMPTED = "preempted"
    PROCESS_KILLED = "process_killed"
    OUT_OF_MEMORY = "out_of_memory"
    DIVERGED = "diverged"
    HOST_FAULT = "host_fault"
    USER_EXCEPTION = "user_exception"
    INVALID = "invalid"
    INFEASIBLE = "infeasible"
    HUNG = "hung"
    POISON = "poison"


FaultScope = Literal["host", "study"]
"""Whose trials a host fault concerns: all on the host (a driver, a full disk), or one study's (a missing file)."""


class Device(Request):
    """A GPU or CPU that the agent detected."""

    kind: Literal["cpu", "cuda"]
    index: int = 0
    name: str = ""
    memory_gib: float | None = None


class Capabilities(Request):
    """What a worker can execute."""

    devices: list[Device] = Field(default=[], description="of the slot that asks: a trial has all of them")
    tasks: list[TaskKind] = [TaskKind.TRAIN]
    functions: list[str] | None = Field(
        default=None, description="modules and packages whose functions it calls; none: of any, if of tasks"
    )
    labels: dict[str, str] = {}
    slots: dict[Identifier, list[Device]] = Field(default={}, description="every slot of the worker, with its devices")
    code: Fingerprint | None = Field(default=None, description="of the training code; none: nothing is compared")
    own_code: Fingerprint | None = Field(
        default=None, description="the same with the modules of its user's own: of studies that use their entries"
    )
    entries: Offered = Field(default={}, description="those of its user's own that this slot can train with, as told")
    directories: list[str] | None = Field(
        default=None, description="file uris of the directories it shares with other workers; none: not said"
    )

    @field_validator("slots", mode="before")
    @classmethod
    def _lists(cls, given: object) -> object:
        """Accept the former format, one device per slot: older workers sent it, and the database still holds it."""
        if not isinstance(given, dict):
            return given
        return {slot: [devices] if isinstance(devices, dict) else devices for slot, devices in given.items()}


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

    A training that ends no better need not save its last checkpoint.
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
    lease_seconds: float
    heartbeat_seconds: float


class Nothing(Response):
    """No trial is available now. The answer says why, and when to ask again.

    `done` is true if the studies asked for will never have another trial.
    """

    kind: Literal["nothing"] = "nothing"
    reason: str
    retry_seconds: float
    done: bool = False


ClaimReply = Annotated[Grant | Nothing, Field(discriminator="kind")]


class HeldLease(Request):
    """A lease that the worker believes it has."""

    trial: str
    attempt: int
    nonce: str


class HeartbeatRequest(Request):
    """A heartbeat of one worker, for all its leases."""

    worker: Identifier
    leases: list[HeldLease] = []


class LeaseStatus(Response):
    """The status of one lease.

    If `held`, the lease is renewed and `order` says what the training process should do. Otherwise another attempt has
    the trial or this one ended, and the worker drops it.
    """

    trial: str
    attempt: int
    held: bool
    lease_seconds: float | None
    order: Action
    reason: str


class HeartbeatReply(Response):
    """The status of every lease that the worker asked about."""

    leases: list[LeaseStatus]
    heartbeat_seconds: float


class CheckpointRequest(Request):
    """Register a checkpoint together with every metric up to its step, in one transaction."""

    nonce: str
    step: int = Field(ge=0, description="its last whole step")
    batch: int = Field(default=0, ge=0, description="batches of the next step that are done; 0: it is of a step's end")
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")
    size: int = Field(ge=0)
    uri: str
    """`blob:` and the sha256 of a blob uploaded before.

    Otherwise a location that the workers of later attempts can read.
    """
    reports: list[ReportRequest] = []

    @model_validator(mode="after")
    def _names_its_own_blob(self) -> Self:
        if self.uri.startswith(BLOB) and self.uri != f"{BLOB}{self.sha256}":
            raise ValueError(f"uri names another blob than sha256; write {BLOB}{self.sha256}")
        return self


class CheckpointReply(Response):
    """The point from which a later attempt would resume."""

    step: int
    batch: int = 0


class Shortage(Request):
    """Which memory was exhausted, how much there is in total, and how much of it other processes used."""

    place: Literal["device", "host"]
    total_gib: float | None = None
    others_gib: float = 0.0


class Outcome(Request):
    """How an attempt ended."""

    result: Literal["succeeded", "pruned", "paused", "failed", "released"]
    failure: FailureClass | None = None
    scope: FaultScope = Field(
        default="host",
        description="of a host_fault: whether it concerns all trials on the host, or those of this study alone",
    )
    message: Quoted = ""
    traceback: Quoted | None = None
    shortage: Shortage | None = None
    """For out_of_memory: which memory was exhausted."""
    unreadable: str | None = None
    """URI of the checkpoint that the attempt could not read to resume. The next attempt gets another one."""
    metrics: dict[str, Number] = {}
    """Final metrics outside the series: test metrics of the kept weights, seconds, number of parameters."""
    confusion: Confusion | None = None
    """For a classification trained to its end: the confusion matrices."""

    @property
    def has_failed(self) -> bool:
        """Whether the attempt failed. `failure` may say how."""
        return self.result == "failed"


class FinishRequest(Request):
    """Give the lease back with the outcome.

    Repeating the request gets the same answer. Another outcome for the same attempt is a conflict.
    """

    nonce: str
    outcome: Outcome


class FinishReply(Response):
    """The trial's state and values after the outcome was recorded."""

    trial_state: str
    values: list[float] | None
