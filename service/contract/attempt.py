"""Attempts on the wire: heartbeats, checkpoints and the outcome of an attempt."""

from __future__ import annotations

from enum import StrEnum
from typing import Literal, Self

from pydantic import Field, model_validator

from service.contract.base import Identifier, Quoted, Request, Response
from service.contract.predictions import Confusion
from service.contract.preflight import PreflightResult
from service.contract.report import Action, Number, ReportRequest

BLOB = "blob:"
"""Prefix of the URI of a checkpoint that lies in the service's blob store."""


FaultScope = Literal["host", "study"]
"""Whose trials a host fault concerns: all on the host (a driver, a full disk), or one study's (a missing file)."""


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
    step: int = Field(ge=0, description="its last complete step")
    batch: int = Field(
        default=0, ge=0, description="completed batches of the next step; 0: the checkpoint is of the end of a step"
    )
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
            raise ValueError(f"uri names a blob other than sha256; write {BLOB}{self.sha256}")
        return self


class CheckpointReply(Response):
    """The point from which a later attempt would resume."""

    step: int
    batch: int = 0


class MemoryShortage(Request):
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
    shortage: MemoryShortage | None = None
    """For out_of_memory: which memory was exhausted."""
    unreadable: str | None = None
    """URI of the checkpoint that the attempt could not read to resume. The next attempt gets another one."""
    metrics: dict[str, Number] = {}
    """Final metrics outside the series: test metrics of the kept weights, seconds, number of parameters."""
    confusion: Confusion | None = None
    """For a classification trained to its end: the confusion matrices."""
    preflight: PreflightResult | None = None
    """For an attempt of a preflight that made its checks: their results."""

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
