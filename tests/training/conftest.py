"""Shared by tests of the training core: one thread, and a small configuration."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from tests.training import pretrained
from worker.training import MissingLibrary, TrainingConfig
from worker.training.optional_deps import library

Configure = Callable[..., TrainingConfig]

collect_ignore: list[str] = []
try:
    library("timm", "model.name")
except MissingLibrary:  # it imports torchvision, which PyPI builds for CUDA alone
    collect_ignore.append("models/test_timm.py")


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def mapping() -> dict[str, Any]:
    """A small classification with every kind of randomness: initialisation, order and dropout."""
    return {
        "data": {"name": "wine"},
        "model": {"name": "mlp", "hidden": [16], "dropout": 0.2},
        "loss": {"name": "cross_entropy"},
        "optimizer": {"name": "adamw", "lr": 0.01},
        "schedule": {"name": "cosine", "warmup": 0.1},
        "batch_size": 16,
        "epochs": 6,
    }


@pytest.fixture
def configure(mapping: dict[str, Any]) -> Configure:
    """The small configuration with some of its sections and settings replaced."""
    return lambda **changes: TrainingConfig.from_mapping(mapping | changes)


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The directory of a tiny pretrained decoder of 12 tokens."""
    return pretrained.gpt2(tmp_path_factory.mktemp("gpt2"))


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The directory of a tiny pretrained encoder of 12 tokens, with a head of two classes."""
    return pretrained.bert(tmp_path_factory.mktemp("bert"))
