"""Which worker may execute what: a study's requirements, and a trial's need of memory, against capabilities."""

from __future__ import annotations

from service.contract.lease import Capabilities
from service.contract.study import Requires
from service.domain.failures import LARGER


def largest_gpu_gib(capabilities: Capabilities) -> float:
    """Memory of the worker's largest GPU; 0 where it has none."""
    return max((each.memory_gib or 0.0 for each in capabilities.devices if each.kind == "cuda"), default=0.0)


def unmet(requires: Requires | None, capabilities: Capabilities) -> str | None:
    """What a worker lacks for a study, or None."""
    if requires is None:
        return None
    memory = largest_gpu_gib(capabilities)
    if requires.gpu_memory_gib is not None and memory < requires.gpu_memory_gib:
        has = f"has {memory:g} GiB" if memory else "has none"
        return f"requires a GPU with {requires.gpu_memory_gib:g} GiB; this worker {has}"
    for label, value in requires.labels.items():
        if capabilities.labels.get(label) != value:
            return f"requires a worker with --label {label}={value}"
    return None


def suffices(memory_floor: float, capabilities: Capabilities) -> bool:
    """Whether a trial that ran out of `memory_floor` GiB of GPU memory may try this worker; 0: it may try any."""
    return not memory_floor or largest_gpu_gib(capabilities) > memory_floor * LARGER
