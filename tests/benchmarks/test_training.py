"""The benchmark of the training core trains the same by hand and by the core, with a row for each GPU."""

from __future__ import annotations

import math
from collections.abc import Iterator

import pytest
import torch

from benchmarks.training import CPU, WAYS, by_core, by_hand, configuration, epoch_seconds


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_the_loop_by_hand_trains_what_the_core_trains() -> None:
    config = configuration("MLP 128-64, digits", epochs=2)
    assert math.isclose(by_core(config), by_hand(config), rel_tol=1e-5)


@pytest.mark.parametrize("way", [way for way in WAYS if "compile" not in WAYS[way]])
def test_the_gpu_benchmark_configurations_train_on_the_cpu_too(way: str) -> None:
    assert len(epoch_seconds(way, configuration("MLP 128-64, digits", epochs=2), CPU)) == 2


@pytest.mark.gpu
@pytest.mark.parametrize("way", WAYS)
def test_it_trains_on_a_gpu(way: str) -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no GPU here")
    assert len(epoch_seconds(way, configuration("ResNet, digits", epochs=2, batch_size=256), torch.device("cuda"))) == 2
