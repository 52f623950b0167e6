"""Claim, renew and release on the wire: how a worker gets a trial, keeps it and gives it back."""

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
"""What the uri of a checkpoint begins with that lies in the service's blob store."""


class FailureClass(StrEnum):
    """Why an attempt did not end well; the domain says what each class costs."""

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


class Device(Request):
    """A GPU or CPU as the agent sees it."""

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
        """Workers of before slots could have several devices told one of each, and are stored that way."""
        if not isinstance(given, dict):
            return given
        return {slot: [devices] if isinstance(devices, dict) else devices for slot, devices in given.items()}


class ClaimRequest(Request):
    """Ask for a trial. Repeating a `request_id` repeats the answer, so a lost reply costs nothing."""

    request_id: str = Field(min_length=8, max_length=64)
    worker: Identifier
    slot: Identifier = "0"
    host: str = ""
    protocol: int = PROTOCOL_VERSION
    capabilities: Capabilities = Capabilities()
    studies: list[str] | None = Field(default=None, description="names or ids; default: the service chooses")


class Monitor(Response):
    """The objective as the task needs it: what to watch, and whether the best or the last step counts."""

    metric: str
    direction: Direction
    keep: Literal["best", "last"]
    best: float | None = None
    """The study's best value as of the grant; a training that ends no better need not save its last checkpoint."""


class Artifact(Response):
    """A file that was stored."""

    sha256: str
    size: int
    uri: str
    """`blob:` and the sha256 where the service has it; otherwise where whoever registered it put it."""


class ResumePoint(Artifact):
    """The checkpoint an attempt starts from: of the end of `step`, or so many batches of the next one later."""

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
    """For train: the whole configuration with the parameters set; otherwise the task as the study has it."""
    parameters: dict[str, Value]
    dropped: list[str] = []
    """Options of the base configuration that the chosen entry does not know, left out."""
    seed: int
    monitor: Monitor
    constraints: dict[str, dict[str, float]] = {}
    resource: str
    run_until: int | None
    """Absolute step to train to; none: until the task ends by itself."""
    pauses: bool = False
    """At `run_until` the trial pauses, to go on from a checkpoint if it is promoted: register one, finish as paused."""
    resume: ResumePoint | None = None
    fork_at: int | None = None
    """Of a fork, the step of its parent's checkpoint; without `resume` that is gone: finish as invalid."""
    teacher: Artifact | None = None
    """The checkpoint of the trial that the task's `loss.teacher` names; without it that is gone: finish as invalid."""
    lease_seconds: float
    heartbeat_seconds: float


class Nothing(Response):
    """No trial now: why, and when to ask again. `done`: none will come from the studies asked for."""

    kind: Literal["nothing"] = "nothing"
    reason: str
    retry_seconds: float
    done: bool = False


ClaimReply = Annotated[Grant | Nothing, Field(discriminator="kind")]


class HeldLease(Request):
    """A lease the worker believes to hold."""

    trial: str
    attempt: int
    nonce: str


class HeartbeatRequest(Request):
    """One sign of life per host, for all its leases."""

    worker: Identifier
    leases: list[HeldLease] = []


class LeaseStatus(Response):
    """What became of one lease: still held with an order for the child, or superseded: drop the trial."""

    trial: str
    attempt: int
    held: bool
    lease_seconds: float | None
    order: Action
    reason: str


class HeartbeatReply(Response):
    """The state of every lease asked about."""

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
    """`blob:` and the sha256 for a blob that was uploaded before; otherwise a place that its successors can read."""
    reports: list[ReportRequest] = []

    @model_validator(mode="after")
    def _names_its_own_blob(self) -> Self:
        if self.uri.startswith(BLOB) and self.uri != f"{BLOB}{self.sha256}":
            raise ValueError(f"uri names another blob than sha256; write {BLOB}{self.sha256}")
        return self


class CheckpointReply(Response):
    """Where a later attempt would resume."""

    step: int
    batch: int = 0


class Shortage(Request):
    """Whose memory did not suffice, how much there is in all, and how much of it other processes held."""

    place: Literal["device", "host"]
    total_gib: float | None = None
    others_gib: float = 0.0


class Outcome(Request):
    """How an attempt ended."""

    result: Literal["succeeded", "pruned", "paused", "failed", "released"]
    failure: FailureClass | None = None
    message: Quoted = ""
    traceback: Quoted | None = None
    shortage: Shortage | None = None
    """For out_of_memory: what was short."""
    unreadable: str | None = None
    """The uri of the checkpoint that it was to resume from and could not read: the next attempt gets another."""
    metrics: dict[str, Number] = {}
    """Final metrics outside the series: test metrics of the kept weights, seconds, number of parameters."""
    confusion: Confusion | None = None
    """Of a classification that was trained to its end: what it takes for what."""

    @property
    def has_failed(self) -> bool:
        """Whether something went wrong; `failure` may say what."""
        return self.result == "failed"


class FinishRequest(Request):
    """Give the lease back with the outcome; repeating it is answered alike, another outcome is a conflict."""

    nonce: str
    outcome: Outcome


class FinishReply(Response):
    """What the outcome made of the trial."""

    trial_state: str
    values: list[float] | None
