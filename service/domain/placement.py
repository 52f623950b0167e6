"""Placement: matches requirements of studies and trials with the capabilities of workers."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from service.contract.base import TaskKind
from service.contract.capabilities import Capabilities
from service.contract.study import Requires
from service.contract.task import Function
from service.domain.failures import GPU_SIZE_TOLERANCE


def gpu_gib(capabilities: Capabilities) -> float:
    """Return the memory in GiB of a slot's GPU, or 0 if it has none.

    With several GPUs it is that of the smallest, because each holds the whole model.
    """
    return min((each.memory_gib or 0.0 for each in capabilities.devices if each.kind == "cuda"), default=0.0)


def disallowed_task(kind: TaskKind, capabilities: Capabilities, function: Function | None = None) -> str | None:
    """Return why a worker is not allowed to execute a task of user code (a function or a command), or None."""
    if kind not in {TaskKind.FUNCTION, TaskKind.COMMAND}:
        return None
    if kind not in capabilities.tasks:
        return f"its task is a {kind}; start a worker with --allow-{kind}s"
    if function is None or function.is_in(capabilities.functions):
        return None
    module = function.name.partition(":")[0]
    return f"its function is of {module}; start a worker with --allow-functions {module}"


def unmet_requirement(requires: Requires | None, capabilities: Capabilities) -> str | None:
    """Return which requirement of a study a worker does not meet, or None if it meets all."""
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


def has_enough_gpu_memory(min_gib: float, capabilities: Capabilities) -> bool:
    """Return whether a worker may run a trial for which `min_gib` GiB of GPU memory were too small.

    0 allows any worker.
    """
    return not min_gib or exceeds_gpu_memory(min_gib, gpu_gib(capabilities))


def exceeds_gpu_memory(min_gib: float, gib: float) -> bool:
    """Return whether a GPU of `gib` GiB counts as larger than one of `min_gib` GiB."""
    return gib > min_gib * GPU_SIZE_TOLERANCE


LOCALITY_WAIT_SECONDS = 5.0
"""How long a waiting trial is reserved for the host that holds its checkpoint. Idle workers claim every second."""


@dataclass(frozen=True, slots=True)
class CheckpointHost:
    """The host that holds a waiting trial's checkpoint on its local disk."""

    host: str
    has_room: bool
    """Whether the host is alive and has an idle slot."""


def is_reserved_for(checkpoint_host: CheckpointHost, host: str, waited_seconds: float) -> bool:
    """Return whether a trial stays reserved for the host that holds its checkpoint when `host` claims it.

    The reservation lasts `LOCALITY_WAIT_SECONDS` and needs an idle slot on the holder, which then resumes without a
    transfer of the checkpoint. Otherwise any host gets the trial, so that no trial waits for a host that is busy or
    gone.
    """
    return checkpoint_host.host != host and checkpoint_host.has_room and 0 <= waited_seconds < LOCALITY_WAIT_SECONDS


def is_reachable(uri: str, directories: Collection[str] | None) -> bool:
    """Return whether a worker can read the checkpoint at `uri`.

    Args:
        uri: URI of the checkpoint; only a `file:` URI can be out of reach.
        directories: `file:` URIs of the directories that the worker shares with others; None if it names none, which
            counts as reachable.
    """
    if directories is None or not uri.startswith("file:"):
        return True
    return any(uri.startswith(f"{directory.rstrip('/')}/") for directory in directories)
