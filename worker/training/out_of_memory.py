"""Recognises exceptions that say that memory ran out, and names the setting that needs it, with the remedies."""

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import torch

from worker.training.config import TrainingConfig
from worker.training.errors import OutOfMemory

OF_DEVICE = r"CUDA (error: )?out of memory|CU(BLAS|DNN|SOLVER|SPARSE|FFT)_STATUS_ALLOC_FAILED"
"""Pattern of the messages of CUDA and of its libraries, which allocate past torch's allocator."""
OF_HOST = r"can(no|')t allocate memory|std::bad_alloc"
"""Pattern of the messages of torch's CPU allocator, of the operating system, and of C++."""
_MAX_CAUSE = 200
_INPUT_SIZES = ("size", "length")
"""Settings of `data` on which the memory of one example depends."""

Shortage: TypeAlias = tuple[str, str, list[str]]
"""The path of a setting, what takes the memory, and the remedies in order."""


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception says that memory ran out, on a GPU or on the host."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    if isinstance(error, RuntimeError) and re.search(f"{OF_HOST}|{OF_DEVICE}", str(error), re.IGNORECASE):
        return True
    return isinstance(error, torch.OutOfMemoryError | MemoryError)


def is_of_device(error: BaseException) -> bool:
    """Return whether the memory that ran out is that of a GPU."""
    if isinstance(error, OutOfMemory):
        return error.is_of_device
    return isinstance(error, torch.OutOfMemoryError) or re.search(OF_DEVICE, str(error)) is not None


@contextmanager
def out_of_memory_at(
    part: Callable[[TrainingConfig, bool], Shortage],
    config: TrainingConfig,
    has_blocks: Callable[[], bool] = lambda: False,
) -> Iterator[None]:
    """Raise `OutOfMemory` in place of an exception that says that memory ran out.

    Args:
        part: what is done here: `loading`, `building`, `stepping` or `evaluating`.
        config: the configuration.
        has_blocks: returns whether the model has blocks for activation checkpointing; called only after a failure.

    Raises:
        OutOfMemory: with the setting's path, its value and the remedies in order.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, OutOfMemory) or not is_out_of_memory(error):
            raise
        path, what, remedies = part(config, has_blocks())
        cause = " ".join(f"{type(error).__name__}: {error}".split())[:_MAX_CAUSE]
        message = f"{what} takes more memory than there is; {_in_order(remedies)} ({cause})"
        raise OutOfMemory(path, message, is_of_device=is_of_device(error)) from error


def loading(config: TrainingConfig, _: bool) -> Shortage:
    """Name `data`: its examples are held in memory, and with a GPU in the memory of the GPU."""
    declared = config.data.settings
    limit = ["data.limit for fewer examples"] if "limit" in declared else []
    return "data", f"loading the examples of {config.data.name}", [*_smaller_input(config), *limit]


def building(config: TrainingConfig, _: bool) -> Shortage:
    """Name `model`: its weights, and what the optimizer keeps for each of them."""
    fewer = [
        f"fewer {name} ({getattr(config, name)} now)"
        for name in ("folds", "repeats")
        if (getattr(config, name) or 1) > 1
    ]
    return "model", f"building the model {config.model.name}", [*fewer, "a smaller model"]


def stepping(config: TrainingConfig, has_blocks: bool) -> Shortage:
    """Name `batch_size`: its activations and gradients."""
    parts = config.grad_accumulation
    remedies: list[str] = []
    if parts < config.batch_size:
        more = min(4 * parts, config.batch_size)
        remedies.append(f"grad_accumulation: {more} for the same step in smaller parts ({parts} now)")
    remedies += _less_per_example(config, has_blocks)
    if config.batch_size > 1:
        remedies.append("a smaller batch_size")
    return "batch_size", f"an optimizer step with a batch_size of {config.batch_size}", [*remedies, "a smaller model"]


def evaluating(config: TrainingConfig, _: bool) -> Shortage:
    """Name `model`: evaluation chooses its own batches, whatever the batch size is."""
    return "model", f"evaluating the model {config.model.name}", [*_less_per_example(config, False), "a smaller model"]


def _less_per_example(config: TrainingConfig, has_blocks: bool) -> list[str]:
    remedies = ["precision: bf16"] if config.precision == "fp32" else []
    if has_blocks and not config.activation_checkpointing:
        remedies.append("activation_checkpointing: true")
    return remedies + _smaller_input(config)


def _smaller_input(config: TrainingConfig) -> list[str]:
    sizes = {name: config.data.settings.get(name) for name in _INPUT_SIZES}
    return [f"a smaller data.{name} ({value} now)" for name, value in sizes.items() if value is not None]


def _in_order(remedies: list[str]) -> str:
    if len(remedies) == 1:
        return f"use {remedies[0]}"
    return "use, in this order, " + ", ".join(f"({number}) {each}" for number, each in enumerate(remedies, 1))
