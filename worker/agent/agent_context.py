"""The settings of a slot, and the objects and settings that all slots of a worker share."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.client import Client
from service.contract.base import TaskKind
from service.contract.capabilities import Device
from worker.agent.checkpoints.fetch import Checkpoints
from worker.agent.checkpoints.local_storage import Disk
from worker.agent.connectivity import ServiceStatus
from worker.agent.devices import LocalDevice
from worker.agent.heartbeat import Heartbeat
from worker.agent.outbox.outbox import Outbox
from worker.agent.outbox.sender import Sender
from worker.agent.time_limit import TimeLimit
from worker.agent.uploads.checkpoint_upload import Uploader
from worker.agent.uploads.log_upload import LogSender
from worker.agent.uploads.prediction_upload import PredictionsSender


@dataclass(frozen=True)
class SlotPlan:
    """One slot: its name within the worker, its devices and its number of CPU threads.

    A trial uses all devices of the slot. They are of one kind; the list repeats the processor once for each process
    that shares it.
    """

    name: str
    devices: Sequence[LocalDevice]
    threads: int

    @property
    def kind(self) -> str:
        """The kind of the devices: `cpu` or `cuda`."""
        return self.devices[0].device.kind

    @property
    def title(self) -> str:
        """The names of the devices, for people: `H200`, `2 x H200`."""
        names = Counter(each.device.name for each in self.devices)
        return ", ".join(name if number == 1 else f"{number} x {name}" for name, number in names.items())


@dataclass(frozen=True)
class AgentContext:
    """The objects and settings that all slots of a worker share."""

    client: Client
    worker: str
    host: str
    studies: Sequence[str]
    tasks: Sequence[TaskKind]
    """The kinds of task that this worker may execute."""
    functions: Sequence[str] | None
    """Modules and packages whose functions it may call; None allows any."""
    modules: Sequence[str]
    """Custom modules that add entries to the training core."""
    pass_env: Sequence[str]
    """Environment variables that training processes see beside the default ones: names, or prefixes with a `*`."""
    umask: int | None
    """The umask of training processes, whose files others may read; None keeps that of this process."""
    slots: Mapping[str, Sequence[Device]]
    """The devices of each slot, by the slot's name."""
    until_done: bool
    directory: Path
    outbox: Outbox
    sender: Sender
    uploader: Uploader
    disk: Disk
    fit_disk: Callable[[], None]
    """Deletes checkpoints of ended attempts until the rest is within the disk budget."""
    checkpoints: Checkpoints
    directories: Sequence[str]
    """URIs of the directories that this worker shares with other workers."""
    checkpoint_seconds: float
    readable: Sequence[Path] | None
    """Folders below which the paths in a training configuration must lie; None allows any path."""
    tensorboard: Path | None
    """Where TensorBoard event files are written; None writes none."""
    leasekeeper: Heartbeat
    logs: LogSender
    predictions: PredictionsSender
    contact: ServiceStatus
    stopping: threading.Event
    labels: Mapping[str, str]
    patience_seconds: float
    """How long a training process may always take for one step."""
    work_time: TimeLimit
