"""The settings of an agent, grouped by what they control: slots, accepted work, training processes, storage."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from service.contract.base import TaskKind
from worker.agent.devices import LocalDevice

PATIENCE_SECONDS = 600.0
"""A step may always take this long: loading data, compiling, a large evaluation."""


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
        names = Counter(local.device.name for local in self.devices)
        return ", ".join(name if number == 1 else f"{number} x {name}" for name, number in names.items())


@dataclass(frozen=True)
class AcceptedWork:
    """The trials that a worker claims and may execute."""

    studies: Sequence[str] = ()
    """Names of the studies to claim trials of; empty: all."""
    until_done: bool = False
    """Whether to end when these studies are done."""
    tasks: Sequence[TaskKind] = (TaskKind.TRAIN, TaskKind.ESTIMATOR)
    """The kinds of task that may be executed."""
    functions: Sequence[str] | None = None
    """Modules and packages whose functions may be called; None allows any."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Labels that studies may require."""


@dataclass(frozen=True)
class ProcessSettings:
    """The settings of training processes: what they import, see, read, write, and how long a step may take."""

    checkpoint_seconds: float
    """The shortest time between two checkpoints of a training."""
    modules: Sequence[str] = ()
    """Custom modules that add entries to the training core."""
    pass_env: Sequence[str] = ()
    """Environment variables to pass beside the default ones: names, or prefixes that end in `*`."""
    umask: int | None = None
    """The umask of training processes, whose files others may read; None keeps that of the agent."""
    readable: Sequence[Path] | None = None
    """Folders below which the paths in a training configuration must lie; None allows any path."""
    tensorboard: Path | None = None
    """Where TensorBoard event files are written; None writes none."""
    patience_seconds: float = PATIENCE_SECONDS
    """How long a training process may always take for one step."""


@dataclass(frozen=True)
class StorageSettings:
    """Where a worker keeps files, and how much space they may take."""

    directory: Path
    """The worker's own directory, which holds its outbox, its logs and its attempts' files."""
    disk_bytes: int
    """Disk budget for checkpoints, in bytes."""
    shared_directory: Path | None = None
    """The directory of checkpoints that workers share; None uploads checkpoints to the service."""
