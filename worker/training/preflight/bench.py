"""What the checks share: the configuration, its data, and ways to build and step models that nothing else sees."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from worker.training.allowed_folders import ANYWHERE, AllowedFolders
from worker.training.build import Components, build
from worker.training.config import TrainingConfig
from worker.training.data import Dataset, Split
from worker.training.deadline import Deadline
from worker.training.loop.step import optimizer_step
from worker.training.preflight.plain_training import switch_off_dropout, without_regularisation
from worker.training.preflight.search_space import SearchSpace
from worker.training.seeding import derive, forked_rng, generator
from worker.training.state import TrainState

PROBE_SIZE = 256
"""The most examples on which a check measures."""
_PROBE_TOKENS, _PROBE_PIXELS = 2048, 1 << 19
_MIN_PROBE = 8


@dataclass(frozen=True)
class ModelSize:
    """The numbers of trained and of other values that a model holds."""

    num_parameters: int
    num_buffers: int

    @property
    def training_bytes(self) -> int:
        """The least memory that training takes: weights, gradients and Adam's two moments, and buffers."""
        return 16 * self.num_parameters + 4 * self.num_buffers


@dataclass(frozen=True)
class Bench:
    """The training under test.

    Attributes:
        config: the configuration at the centre of the space, not compiled.
        space: the searched settings.
        dataset: the dataset of the first fold, on the device.
        seed: the seed of the preflight.
        deadline: of the whole preflight.
        constraints: `{"parameters": {"max": n}}` or empty.
        teacher: the file of the checkpoint that `loss.teacher` names, if that is not a path.
        folders: the folders that the configuration's paths must lie in.
        sizes: what `model_size` has counted, by model.
    """

    config: TrainingConfig
    space: SearchSpace
    dataset: Dataset
    seed: int
    deadline: Deadline
    constraints: Mapping[str, Any] = field(default_factory=dict)
    teacher: Path | None = None
    folders: AllowedFolders = ANYWHERE
    sizes: dict[str, ModelSize] = field(default_factory=dict)

    @property
    def device(self) -> torch.device:
        """The device that trains."""
        return self.dataset.device

    @property
    def plain_config(self) -> TrainingConfig:
        """The configuration without regularisation."""
        return without_regularisation(self.config)

    @contextmanager
    def random_stream(self, purpose: str) -> Iterator[None]:
        """Run with torch's default random streams seeded for one purpose, and restore them afterwards."""
        with forked_rng(derive(self.seed, f"preflight/{purpose}"), self.device):
            yield

    def build(
        self, config: TrainingConfig, dataset: Dataset | None = None, *, is_plain: bool = False
    ) -> tuple[Components, TrainState]:
        """Build a model in training mode; its weights are drawn from torch's default random stream.

        Args:
            config: the configuration.
            dataset: the dataset; None: the bench's.
            is_plain: switch off dropout that no setting reaches.
        """
        components, state = build(
            replace(config, compile=False),
            self.seed,
            dataset or self.dataset,
            {},
            teacher=self.teacher,
            folders=self.folders,
        )
        components.trainable.begin_epoch(0.0)
        if is_plain:
            switch_off_dropout(state.model)
        return components, state

    def probe(self, split: Split, size: int = PROBE_SIZE) -> Tensor:
        """Return the indices of at most `size` examples of a split, drawn by the seed; fewer where these are large."""
        numbers = math.prod(self.dataset.shape)
        most = (_PROBE_TOKENS if self.dataset.inputs == "tokens" else _PROBE_PIXELS) // numbers
        size = min(size, max(_MIN_PROBE, most))
        order = torch.randperm(len(split), generator=generator(self.seed, "preflight/probe"))
        return order[:size].to(split.features.device)


def training_batches(bench: Bench, batch_size: int, purpose: str) -> Iterator[Tensor]:
    """Yield the indices of training batches without end, in an order drawn by the seed."""
    train, epoch = bench.dataset.train, 0
    size = min(batch_size, len(train))
    while True:
        order = torch.randperm(len(train), generator=generator(bench.seed, f"preflight/{purpose}/{epoch}"))
        for start in range(0, len(train) - size + 1, size):
            yield order[start : start + size].to(train.features.device)
        epoch += 1


def step_loss(components: Components, state: TrainState, batch: Tensor, rate_factor: float = 1.0) -> float:
    """Take one optimizer step on a batch, and return the loss before it."""
    optimizer_step(components, state, batch, rate_factor)
    state.step += 1
    loss = state.loss_sum.item() / max(1, state.num_counted)
    state.loss_sum.zero_()
    state.num_counted = 0
    return loss


def outputs_of(components: Components, model: nn.Module, split: Split, indices: Tensor) -> tuple[Tensor, Tensor]:
    """Return a model's outputs (float32) and the targets of some examples, without gradients, in the model's mode."""
    features, targets = components.dataset.batch(split, indices)
    with torch.no_grad(), components.autocast:
        outputs = model(features)
    return outputs.float(), targets


def loss_of(components: Components, model: nn.Module, split: Split, indices: Tensor) -> float:
    """Return a model's loss on some examples, without gradients, in the model's mode."""
    outputs, targets = outputs_of(components, model, split, indices)
    with torch.no_grad():
        return float(components.loss(outputs, targets))


def in_words(value: float | None) -> str:
    """Return a number with three significant digits."""
    if value is None or not math.isfinite(value):
        return "not finite"
    return f"{value:.3g}"
