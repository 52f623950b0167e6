"""The training state of one model that must survive a restart, as tensors and plain Python."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn, optim
from torch.amp.grad_scaler import GradScaler

from worker.training.components.schedules import Plateau
from worker.training.components.weight_average import WeightAverage

Weights = dict[str, Tensor]


# Attributes that are stored and restored as they are.
_NUMBERS = ("epoch", "step", "batch", "metrics", "num_counted")


@dataclass
class TrainState:
    """The training of one model between two optimizer steps.

    With the seed, `epoch`, `batch` and `step` define the position in the data and in the schedule.

    Attributes:
        device: where the model trains.
        model: the model that the optimizer trains.
        optimizer: the optimizer.
        scaler: scales losses for float16 gradients.
        plateau: the schedule, if it has a state.
        average: the exponential moving average of the weights, if there is one.
        epoch: completed epochs.
        batch: completed batches of the next epoch.
        step: all optimizer steps so far.
        metrics: the metrics after the last epoch.
        rng_states: the states of torch's default random streams for this model, as of when it last gave way to another.
        snapshots: copies of the weights for the snapshot ensemble.
        num_counted: training examples in `loss_sum`.
    """

    device: torch.device
    model: nn.Module
    optimizer: optim.Optimizer
    scaler: GradScaler
    plateau: Plateau | None = None
    average: WeightAverage | None = None
    epoch: int = 0
    batch: int = 0
    step: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    rng_states: dict[str, Tensor] = field(default_factory=dict)
    snapshots: list[Weights] = field(default_factory=list)
    num_counted: int = 0

    def __post_init__(self) -> None:
        # The schedule scales each group's own rate, which is its share of the base rate. `initial_lr` is the key that
        # PyTorch's schedulers use, and the optimizer's state keeps it.
        for group in self.optimizer.param_groups:
            group["initial_lr"] = group["lr"] * group["rate"]
        # The sum stays on the device, because reading it makes the CPU wait.
        self.loss_sum = torch.zeros((), device=self.device)

    @property
    def eval_model(self) -> nn.Module:
        """The model that is evaluated and kept: the averaged weights if there are any, else the trained ones."""
        return self.model if self.average is None else self.average.module

    def mean_loss(self) -> float:
        """Return the epoch's mean loss per example so far; waits for the device."""
        return self.loss_sum.item() / self.num_counted

    def complete_epoch(self, metrics: dict[str, float]) -> None:
        """Count an epoch and store its metrics."""
        self.epoch, self.batch = self.epoch + 1, 0
        self.loss_sum.zero_()
        self.num_counted = 0
        self.metrics = metrics
        if self.plateau is not None:
            self.plateau.observe(metrics)

    def weights(self) -> Weights:
        """Return a copy of the evaluated model's weights."""
        return {name: tensor.detach().clone() for name, tensor in self.eval_model.state_dict().items()}

    def state_dict(self) -> dict[str, Any]:
        """Return the whole state as a mapping that `torch.load(weights_only=True)` reads back."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "plateau": None if self.plateau is None else self.plateau.state,
            "average": None if self.average is None else self.average.state_dict(),
            "rng_states": self.rng_states,
            "loss_sum": self.loss_sum,
            "snapshots": self.snapshots,
            **{name: getattr(self, name) for name in _NUMBERS},
        }

    def load_state_dict(self, content: dict[str, Any]) -> None:
        """Continue from `content`, taken in a training of the same configuration and seed."""
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.scaler.load_state_dict(content["scaler"])
        if self.plateau is not None:
            self.plateau.state = content["plateau"]
        if self.average is not None:
            self.average.load_state_dict(content["average"])
        self.rng_states |= content["rng_states"]  # a checkpoint may lack the states of this kind of device
        self.loss_sum.copy_(content["loss_sum"])
        self.snapshots = content["snapshots"]
        for name in _NUMBERS:
            setattr(self, name, content[name])
