"""Mixed precision: autocast to bfloat16 or float16, and the loss scaling that float16 needs."""

from contextlib import AbstractContextManager, nullcontext
from typing import Literal, TypeAlias

import torch
from torch.amp.grad_scaler import GradScaler

from worker.training.errors import ConfigError

Precision: TypeAlias = Literal["fp32", "bf16", "fp16"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16", "fp16")
_TYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def autocast(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Return a reusable context in which a model computes; weights stay float32."""
    return torch.autocast(device.type, _TYPES[precision]) if precision in _TYPES else nullcontext()


def grad_scaler(precision: str, device: torch.device) -> GradScaler:
    """Return a scaler that keeps float16 gradients from underflowing; it does nothing in the other precisions.

    Raises:
        ConfigError: fp16 on a device without CUDA.
    """
    if precision == "fp16" and device.type != "cuda":
        raise ConfigError("precision", "fp16 needs a GPU; use bf16 or fp32")
    return GradScaler(device.type, enabled=precision == "fp16")
