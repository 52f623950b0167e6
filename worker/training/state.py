"""All of a model's training that must survive a restart, as tensors and plain Python; knows no files."""

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn, optim
from torch.amp.grad_scaler import GradScaler
from torch.optim.swa_utils import AveragedModel

from worker.training.errors import ConfigError
from worker.training.schedules import Plateau

Weights = dict[str, Tensor]

# Plain numbers, kept and restored as they are.
_NUMBERS = ("epoch", "step", "batch", "metrics", "num_counted")


@dataclass(frozen=True)
class Best:
    """The best epoch so far, its metrics, and the weights that each model had where those are kept."""

    step: int
    metrics: dict[str, float]
    weights: list[Weights] | None


@dataclass
class TrainState:
    """The training of one model between two optimizer steps.

    `epoch` counts completed epochs, `batch` the batches of the next one that are done, and `step` all optimizer steps:
    with the seed, these are the position of the data and of the schedule. `streams` is where torch's default streams
    stand for it, as of when it last made room for another.
    """

    device: torch.device
    model: nn.Module
    optimizer: optim.Optimizer
    scaler: GradScaler
    plateau: Plateau | None = None
    average: AveragedModel | None = None
    epoch: int = 0
    batch: int = 0
    step: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    streams: dict[str, Tensor] = field(default_factory=dict)
    snapshots: list[Weights] = field(default_factory=list)
    num_counted: int = 0

    def __post_init__(self) -> None:
        # The schedule scales each group's own rate, its share of the base; the name is the one PyTorch's schedulers
        # use, kept by its state.
        for group in self.optimizer.param_groups:
            group["initial_lr"] = group["lr"] * group["rate"]
        # A tensor on the device: reading it is what costs.
        self.loss_sum = torch.zeros((), device=self.device)

    @property
    def answering(self) -> nn.Module:
        """The model that is evaluated and kept: the average of the weights where there is one."""
        return self.model if self.average is None else self.average.module

    def scale_rates(self, factor: float) -> None:
        """Set every learning rate to this factor of its base."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor

    def count_loss(self, loss: Tensor, num_examples: int) -> None:
        """Add the mean loss of so many examples to the epoch's."""
        self.loss_sum.add_(loss, alpha=num_examples)
        self.num_counted += num_examples

    def mean_loss(self) -> float:
        """The epoch's loss so far, mean over its examples; waits for the device."""
        return self.loss_sum.item() / self.num_counted

    def complete_epoch(self, metrics: dict[str, float]) -> None:
        """Count an epoch, with the metrics after it."""
        self.epoch, self.batch = self.epoch + 1, 0
        self.loss_sum.zero_()
        self.num_counted = 0
        self.metrics = metrics
        if self.plateau is not None:
            self.plateau.observe(metrics)

    def weights(self) -> Weights:
        """A copy of the weights that are evaluated, as they are now."""
        return {name: tensor.detach().clone() for name, tensor in self.answering.state_dict().items()}

    def content(self) -> dict[str, Any]:
        """The whole state as a mapping that `torch.load(weights_only=True)` reads back."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "plateau": None if self.plateau is None else self.plateau.state,
            "average": None if self.average is None else self.average.state_dict(),
            "streams": self.streams,
            "loss_sum": self.loss_sum,
            "snapshots": self.snapshots,
            **{name: getattr(self, name) for name in _NUMBERS},
        }

    def restore(self, content: dict[str, Any]) -> None:
        """Continue where `content` was taken, in a training of the same configuration and seed."""
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.scaler.load_state_dict(content["scaler"])
        if self.plateau is not None:
            self.plateau.state = content["plateau"]
        if self.average is not None:
            self.average.load_state_dict(content["average"])
        self.streams |= content["streams"]  # of those that another kind of device has, none is saved
        self.loss_sum.copy_(content["loss_sum"])
        self.snapshots = content["snapshots"]
        for name in _NUMBERS:
            setattr(self, name, content[name])


def require_same(where: str, saved: dict[str, Any], now: dict[str, Any], path: str = "") -> None:
    """ConfigError at `where` for the first setting in which a checkpoint's configuration is another."""
    for name in sorted(saved.keys() | now.keys()):
        was, wanted = saved.get(name), now.get(name)
        if isinstance(was, dict) and isinstance(wanted, dict):
            require_same(where, was, wanted, f"{path}{name}.")
        elif was != wanted:
            raise ConfigError(
                where,
                f"its checkpoint is of a training with {path}{name} = {was!r}, not {wanted!r}; use another directory",
            )
