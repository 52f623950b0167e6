"""Numbers of fewer bits where they do: autocast to bfloat16 or float16, and the scaling that float16 needs."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, TypeAlias

import torch
from torch.amp.grad_scaler import GradScaler

from worker.training.errors import ConfigError

Precision: TypeAlias = Literal["fp32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "fp16")
_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """The context in which a model computes, to be entered any number of times; weights stay float32."""
    return torch.autocast(device.type, _TYPES[precision]) if precision in _TYPES else nullcontext()


def grad_scaler(precision: str, device: torch.device) -> GradScaler:
    """Scales losses so that float16 gradients don't vanish; does nothing in the other precisions."""
    if precision == "fp16" and device.type != "cuda":
        raise ConfigError("precision", "fp16 needs a GPU; use bf16 or fp32")
    return GradScaler(device.type, enabled=precision == "fp16")
