"""Which configurations need at least the memory of one that ran out of it."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from worker.training.preflight.search_space import SearchSpace

_WITHOUT_EFFECT = re.compile(r"(optimizer|schedule|loss)\.(?!momentum)\w+|epochs|l1|clip_norm|clip_value|patience")
"""Numbers that change no memory. A momentum of 0 keeps no buffer, so momentum is not one of them."""
_MAKES_INPUT_SMALLER = re.compile(r"patch|stride|pool|downsample")
"""Settings of a model of which a larger value gives more weights and smaller activations."""


@dataclass(frozen=True)
class MemoryLimit:
    """A configuration that ran out of a GPU's memory, by the settings that memory depends on.

    Attributes:
        parameters: the values of the searched settings at this configuration.
        larger: the settings among them of which a larger value needs more memory; others count only if they are equal.
        gpu_memory_gib: the memory of the GPU in GiB.
    """

    parameters: Mapping[str, Any]
    larger: Collection[str]
    gpu_memory_gib: float


def memory_limit(
    space: SearchSpace, changes: Mapping[str, Any], growing: Collection[str], gpu_memory_gib: float
) -> MemoryLimit:
    """Return the limit that follows from a corner of the space that ran out of memory.

    Args:
        space: the searched settings.
        changes: the settings of the corner that differ from the centre.
        growing: the settings of the model of which a larger value gives more weights.
        gpu_memory_gib: the memory of the GPU in GiB.
    """
    parameters, larger = {}, []
    for path, value in space.settings(changes).items():
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        if is_number and _WITHOUT_EFFECT.fullmatch(path):
            continue
        parameters[path] = value
        grows = path in {"batch_size", "optimizer.momentum"} or "dropout" in path or path in growing
        if is_number and grows and not _MAKES_INPUT_SMALLER.search(path):
            larger.append(path)
    return MemoryLimit(parameters, larger, gpu_memory_gib)
