"""Memory that runs out in a training: which setting and remedies the error names, under a real limit of the memory."""

import resource
from collections.abc import Callable
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from worker.training import OutOfMemory, TrainingConfig, train
from worker.training.out_of_memory import (
    evaluating,
    is_of_device,
    is_out_of_memory,
    loading,
    out_of_memory_at,
    stepping,
)


def train_within_200_mib(mappings: list[dict[str, Any]], out: Path) -> None:
    """Train each configuration in this process, whose memory is limited from now on, and write the errors to a file."""
    status = Path("/proc/self/status").read_text().splitlines()
    used_kib = next(int(line.split()[1]) for line in status if line.startswith("VmData:"))
    limit = (used_kib + 200 * 1024) * 1024
    resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
    with out.open("w") as lines:
        for mapping in mappings:
            try:
                train(TrainingConfig.from_mapping(mapping))
            except OutOfMemory as error:
                print(error, file=lines)


def test_a_step_a_model_and_the_data_are_told_apart(mapping: dict[str, Any], tmp_path: Path):
    np.savez(tmp_path / "large.npz", x=np.zeros((400, 200_000), np.uint8), y=np.arange(400) % 2)
    digits = mapping | {"data": {"name": "digits"}, "batch_size": 1024, "optimizer": {"name": "sgd"}}
    mappings = [
        digits | {"model": {"name": "mlp", "hidden": [60_000]}},
        digits | {"model": {"name": "mlp", "hidden": [30_000, 30_000]}},
        digits | {"data": {"name": "npz", "path": str(tmp_path / "large.npz")}},
    ]
    process = get_context("fork").Process(target=train_within_200_mib, args=(mappings, tmp_path / "errors"))
    process.start()
    process.join(60)
    step, model, data = (tmp_path / "errors").read_text().splitlines()
    assert step.startswith(
        "batch_size: an optimizer step with a batch_size of 1024 takes more memory than there is; use, in this order, "
        "(1) grad_accumulation: 4 for the same step in smaller parts (1 now), (2) precision: bf16, "
        "(3) activation_checkpointing: true, (4) a smaller batch_size, (5) a smaller model (RuntimeError: "
    )
    assert "can't allocate memory" in step
    assert model.startswith("model: building the model mlp takes more memory than there is; use a smaller model (")
    assert data.startswith(
        "data: loading the examples of npz takes more memory than there is; use data.limit for fewer"
    )


@pytest.mark.parametrize(
    ("error", "of_device"),
    [
        (MemoryError(), False),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: can't allocate memory"), False),
        (OSError(12, "Cannot allocate memory"), False),
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (RuntimeError("CUDA error: out of memory"), True),
        (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"), True),
        (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
    ],
)
def test_the_exceptions_of_host_and_device_are_recognised(configure: Any, error: Exception, of_device: bool):
    assert is_out_of_memory(error)
    with pytest.raises(OutOfMemory) as raised, out_of_memory_at(stepping, configure()):
        raise error
    assert (raised.value.path, raised.value.is_of_device, raised.value.__cause__) == ("batch_size", of_device, error)
    assert is_out_of_memory(raised.value)
    assert is_of_device(raised.value) is of_device


@pytest.mark.parametrize(
    "error", [RuntimeError("shapes differ"), OSError(28, "No space left on device"), KeyError("x")]
)
def test_other_exceptions_pass_unchanged(configure: Any, error: Exception):
    assert not is_out_of_memory(error)
    with pytest.raises(type(error)) as raised, out_of_memory_at(stepping, configure()):
        raise error
    assert raised.value is error


IMAGES = {"data": {"name": "images", "path": "scans", "size": 224}, "model": {"name": "resnet"}}


@pytest.mark.parametrize(
    ("part", "changes", "has_blocks", "remedies"),
    [
        (
            stepping,
            IMAGES,
            True,
            ["grad_accumulation: 4", "precision: bf16", "activation_checkpointing: true", "data.size", "batch_size"],
        ),
        (stepping, IMAGES | {"precision": "bf16", "grad_accumulation": 16}, False, ["data.size (224", "batch_size"]),
        (stepping, {"activation_checkpointing": True, "batch_size": 1}, True, ["precision: bf16", "smaller model"]),
        (evaluating, IMAGES, True, ["precision: bf16", "data.size (224", "model"]),
        (loading, IMAGES, False, ["data.size (224", "data.limit"]),
    ],
)
def test_remedies_are_settings_that_can_still_be_changed(
    configure: Any, part: Callable[[TrainingConfig, bool], Any], changes: Any, has_blocks: bool, remedies: list[str]
):
    _, _, named = part(configure(**changes), has_blocks)
    places = [next(index for index, each in enumerate(named) if remedy in each) for remedy in remedies]
    assert places == list(range(len(remedies)))
    assert set(named[len(remedies) :]) <= {"a smaller model"}
