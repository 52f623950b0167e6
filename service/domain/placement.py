"""Which worker may execute what: a study's requirements, and a trial's need of memory, against capabilities."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from service.contract.base import TaskKind
from service.contract.lease import Capabilities
from service.contract.study import Requires
from service.contract.task import Function
from service.domain.failures import LARGER


def gpu_gib(capabilities: Capabilities) -> float:
    """Memory of a slot's GPU, of several that of the smallest: each holds the whole model; 0 where it has none."""
    return min((each.memory_gib or 0.0 for each in capabilities.devices if each.kind == "cuda"), default=0.0)


def unallowed(kind: TaskKind, capabilities: Capabilities, function: Function | None = None) -> str | None:
    """Why a worker does not execute tasks of the user's own code that it could, or None."""
    if kind not in {TaskKind.FUNCTION, TaskKind.COMMAND}:
        return None
    if kind not in capabilities.tasks:
        return f"its task is a {kind}; start a worker with --allow-{kind}s"
    if function is None or function.is_in(capabilities.functions):
        return None
    module = function.name.partition(":")[0]
    return f"its function is of {module}; start a worker with --allow-functions {module}"


def unmet(requires: Requires | None, capabilities: Capabilities) -> str | None:
    """What a worker lacks for a study, or None."""
    if requires is None:
        return None
    memory = gpu_gib(capabilities)
    if requires.gpu_memory_gib is not None and memory < requires.gpu_memory_gib:
        has = f"has {memory:g} GiB" if memory else "has none"
        return f"requires a GPU with {requires.gpu_memory_gib:g} GiB; this worker {has}"
    num_devices = len(capabilities.devices)
    if requires.devices is not None and num_devices < requires.devices:
        has = f"has {num_devices}" if num_devices else "names none"
        return f"requires {requires.devices} devices for a trial (worker --devices-per-trial); this slot {has}"
    for label, value in requires.labels.items():
        if capabilities.labels.get(label) != value:
            return f"requires a worker with --label {label}={value}"
    return None


def suffices(memory_floor: float, capabilities: Capabilities) -> bool:
    """Whether a trial that ran out of `memory_floor` GiB of GPU memory may try this worker; 0: it may try any."""
    return not memory_floor or has_larger(memory_floor, gpu_gib(capabilities))


def has_larger(memory_floor: float, gib: float) -> bool:
    """Whether a GPU of this size is worth a try where `memory_floor` GiB did not suffice."""
    return gib > memory_floor * LARGER


KEPT_SECONDS = 5.0
"""How long a waiting trial is kept for the host that holds its checkpoint; idle workers ask every second."""


@dataclass(frozen=True, slots=True)
class Holder:
    """The host that holds a waiting trial's checkpoint on its own disk."""

    host: str
    has_room: bool
    """It is alive, and a slot of it trains nothing."""


def is_kept_for(holder: Holder, host: str, waited_seconds: float) -> bool:
    """Whether a trial is kept for the holder of its checkpoint, as `host` asks for it.

    For a moment only, and only while the holder could come for it at once: then the checkpoint need not travel.
    Otherwise anybody gets it, so that no trial waits for a host that is busy or gone.
    """
    return holder.host != host and holder.has_room and 0 <= waited_seconds < KEPT_SECONDS


def is_reachable(uri: str, directories: Collection[str] | None) -> bool:
    """Whether a worker that shares these directories (None: it does not say) can read a checkpoint."""
    if directories is None or not uri.startswith("file:"):
        return True
    return any(uri.startswith(f"{directory.rstrip('/')}/") for directory in directories)
