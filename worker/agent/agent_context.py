"""The objects and settings that all slots of a worker share, grouped by what a slot needs them for."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.client import Client
from service.contract.capabilities import Device
from worker.agent.agent_settings import AcceptedWork, ProcessSettings
from worker.agent.checkpoints.fetch import Checkpoints
from worker.agent.checkpoints.local_storage import LocalStorage
from worker.agent.connectivity import ServiceStatus
from worker.agent.heartbeat import Heartbeat
from worker.agent.outbox.outbox import Outbox
from worker.agent.outbox.sender import Sender
from worker.agent.time_limit import TimeLimit
from worker.agent.uploads.checkpoint_upload import CheckpointUploader
from worker.agent.uploads.log_upload import LogUploader
from worker.agent.uploads.prediction_upload import PredictionUploader


@dataclass(frozen=True)
class WorkerIdentity:
    """How the worker describes itself in a claim."""

    name: str
    host: str
    slots: Mapping[str, Sequence[Device]]
    """The devices of each slot, by the slot's name."""
    directories: Sequence[str]
    """URIs of the directories that this worker shares with other workers."""


@dataclass(frozen=True)
class ServiceLink:
    """The objects through which slots exchange messages with the service."""

    client: Client
    status: ServiceStatus
    heartbeat: Heartbeat
    outbox: Outbox
    sender: Sender


@dataclass(frozen=True)
class Uploads:
    """The background threads that upload the files of attempts."""

    checkpoints: CheckpointUploader
    predictions: PredictionUploader
    logs: LogUploader


@dataclass(frozen=True)
class Storage:
    """The worker's files on this host."""

    directory: Path
    """The worker's own directory."""
    attempts: LocalStorage
    checkpoints: Checkpoints
    fit_to_budget: Callable[[], None]
    """Deletes checkpoints of ended attempts until the rest is within the disk budget."""


@dataclass(frozen=True)
class Lifetime:
    """How long the worker claims trials: until it is stopped or its time is over."""

    stopping: threading.Event
    time_limit: TimeLimit


@dataclass(frozen=True)
class AgentContext:
    """Everything that a slot needs beside its plan.

    To claim, a slot uses `identity`, `work`, `service` and `lifetime`. To execute an attempt, it uses `work`,
    `processes`, `service`, `uploads` and `storage`.
    """

    identity: WorkerIdentity
    work: AcceptedWork
    processes: ProcessSettings
    service: ServiceLink
    uploads: Uploads
    storage: Storage
    lifetime: Lifetime
