"""Memory limits: whether a configuration needs at least the memory of one that ran out of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from service.contract.base import Value
from service.contract.preflight import MemoryLimit
from service.domain.parameter import same_value


def exceeded_limit(limits: Iterable[MemoryLimit], parameters: Mapping[str, Value]) -> MemoryLimit | None:
    """Return the limit with the most memory that a configuration reaches or exceeds; None: it exceeds none."""
    exceeded = [limit for limit in limits if _is_at_least(limit, parameters)]
    return max(exceeded, key=lambda limit: limit.gpu_memory_gib, default=None)


def describe_limit(limit: MemoryLimit) -> str:
    """Return why a configuration is infeasible in advance."""
    where = ", ".join(f"{name} = {value}" for name, value in limit.parameters.items()) or "the only configuration"
    return f"out of memory in the preflight: a GPU of {limit.gpu_memory_gib:g} GiB is too small for {where}"


def _is_at_least(limit: MemoryLimit, parameters: Mapping[str, Value]) -> bool:
    return all(
        name in parameters and _reaches(parameters[name], value, may_be_larger=name in limit.larger)
        for name, value in limit.parameters.items()
    )


def _reaches(value: Value, bound: Value, *, may_be_larger: bool) -> bool:
    if may_be_larger and isinstance(value, int | float) and isinstance(bound, int | float):
        return value >= bound
    return same_value(value, bound)
