"""The agent on a real GPU, and a trial trained there; skipped on machines without one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from service.contract.attempt import Outcome
from tests.worker.grants import grant, start_of
from worker.agent.devices import DeviceError, LocalDevice, gpus
from worker.agent.slots.process import Zygote
from worker.protocol import Ended

pytestmark = pytest.mark.gpu


@pytest.fixture
def gpu() -> LocalDevice:
    try:
        [device] = gpus([0])
    except DeviceError as error:
        pytest.skip(str(error))
    if torch.version.cuda is None:
        pytest.skip("torch is installed here without CUDA")
    return device


def test_a_gpu_is_listed_with_name_and_memory_and_pinned_by_its_uuid(gpu: LocalDevice) -> None:
    assert gpu.label == "gpu0"
    assert gpu.device.name
    assert (gpu.device.memory_gib or 0) > 1
    assert gpu.visible.startswith(("GPU-", "MIG-"))
    assert not torch.cuda.is_initialized()


def test_the_numbers_count_what_the_environment_leaves(gpu: LocalDevice) -> None:
    assert gpus([0], {"CUDA_VISIBLE_DEVICES": gpu.visible}) == [gpu]
    with pytest.raises(DeviceError, match="knows of none"):
        gpus([0], {"CUDA_VISIBLE_DEVICES": ""})


def test_a_trial_trains_on_it(gpu: LocalDevice, tmp_path: Path) -> None:
    start = replace(start_of(grant(nonce=""), tmp_path), device="cuda")
    with Zygote([gpu], 1, tmp_path / "zygote.log") as zygote:
        zygote.wait_ready()
        [ended] = [message for message in zygote.fork(start).messages() if isinstance(message, Ended)]
    assert Outcome.model_validate(ended.outcome).result == "succeeded"
