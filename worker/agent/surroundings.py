"""What a slot is, and what all slots of a worker share; values only."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from service.client import Client
from service.contract.base import TaskKind
from service.contract.lease import Device
from worker.agent.checkpoints import Checkpoints
from worker.agent.contact import Contact
from worker.agent.devices import LocalDevice
from worker.agent.disk import Disk
from worker.agent.leasekeeper import Leasekeeper
from worker.agent.logs import LogSender
from worker.agent.outbox import Outbox
from worker.agent.predictions import PredictionsSender
from worker.agent.sender import Sender
from worker.agent.uploader import Uploader
from worker.agent.worktime import WorkTime


@dataclass(frozen=True)
class SlotPlan:
    """One place to carry out trials: its name within the worker, its devices and its number of CPU threads.

    All of its devices, of one kind, are a trial's; the processor stands there once for each process that shares it.
    """

    name: str
    devices: Sequence[LocalDevice]
    threads: int

    @property
    def kind(self) -> str:
        """`cpu` or `cuda`."""
        return self.devices[0].device.kind

    @property
    def title(self) -> str:
        """Its devices by name, as people read it: `H200`, `2 x H200`."""
        names = Counter(each.device.name for each in self.devices)
        return ", ".join(name if number == 1 else f"{number} x {name}" for name, number in names.items())


@dataclass(frozen=True)
class Surroundings:
    """What all slots of a worker share."""

    client: Client
    worker: str
    host: str
    studies: Sequence[str]
    tasks: Sequence[TaskKind]
    """What this worker was allowed to execute."""
    functions: Sequence[str] | None
    """Modules and packages whose functions it may call; None: any."""
    modules: Sequence[str]
    """Modules of the user's own that add entries to the training core."""
    pass_env: Sequence[str]
    """Environment variables that training processes see beside the usual ones: names, or beginnings with a `*`."""
    umask: int | None
    """That of training processes, whose files may be for others; None: this process's own."""
    slots: Mapping[str, Sequence[Device]]
    """The devices of every slot, by its name."""
    until_done: bool
    directory: Path
    outbox: Outbox
    sender: Sender
    uploader: Uploader
    disk: Disk
    fit_disk: Callable[[], None]
    """Keeps the disk within its budget."""
    checkpoints: Checkpoints
    directories: Sequence[str]
    """Uris of the directories that this worker shares with others."""
    checkpoint_seconds: float
    readable: Sequence[Path] | None
    """Folders below which the paths of a training's configuration must lie; None: anywhere."""
    tensorboard: Path | None
    """Where attempts are shown in TensorBoard; none: nowhere."""
    leasekeeper: Leasekeeper
    logs: LogSender
    predictions: PredictionsSender
    contact: Contact
    stopping: threading.Event
    labels: Mapping[str, str]
    patience_seconds: float
    """How long a training process may always go without a step."""
    work_time: WorkTime
