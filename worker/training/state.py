"""All of a training that must survive a restart, as tensors and plain Python; knows no files."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn, optim
from torch.amp.grad_scaler import GradScaler
from torch.optim.swa_utils import AveragedModel

from worker.training.errors import ConfigError
from worker.training.events import Monitor
from worker.training.schedules import Plateau
from worker.training.seeding import set_stream_states, stream_states

Weights = dict[str, Tensor]

# Plain numbers, kept and restored as they are.
_NUMBERS = ("epoch", "step", "batch", "seconds", "metrics", "num_counted")


@dataclass(frozen=True)
class Best:
    """The best epoch so far, its metrics, and the weights it had where those are kept."""

    step: int
    metrics: dict[str, float]
    weights: Weights | None


@dataclass
class TrainState:
    """A training between two optimizer steps.

    `epoch` counts completed epochs, `batch` the batches of the next one that are done, and `step` all optimizer steps:
    with the seed, these are the position of the data and of the schedule. `origin` is the configuration and seed it
    came from; of a fork, also the epoch at which it left another training (`fork_at`).
    """

    origin: dict[str, Any]
    device: torch.device
    model: nn.Module
    optimizer: optim.Optimizer
    scaler: GradScaler
    plateau: Plateau | None = None
    average: AveragedModel | None = None
    epoch: int = 0
    batch: int = 0
    step: int = 0
    seconds: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    best: Best | None = None
    snapshots: list[Weights] = field(default_factory=list)
    num_counted: int = 0

    def __post_init__(self) -> None:
        # The schedule scales each group's own rate; the name is the one PyTorch's schedulers use, kept by its state.
        for group in self.optimizer.param_groups:
            group["initial_lr"] = group["lr"]
        # A tensor on the device: reading it is what costs.
        self.loss_sum = torch.zeros((), device=self.device)

    @property
    def answering(self) -> nn.Module:
        """The model that is evaluated and kept: the average of the weights where there is one."""
        return self.model if self.average is None else self.average.module

    @property
    def first_epoch(self) -> int:
        """How many epochs were done before this training's own began."""
        return int(self.origin.get("fork_at", 0))

    def scale_rates(self, factor: float) -> None:
        """Set every learning rate to this factor of its base."""
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor

    def count_loss(self, loss: Tensor, num_examples: int) -> None:
        """Add the mean loss of so many examples to the epoch's."""
        self.loss_sum += loss * num_examples
        self.num_counted += num_examples

    def mean_loss(self) -> float:
        """The epoch's loss so far, mean over its examples; waits for the device."""
        return self.loss_sum.item() / self.num_counted

    def complete_epoch(self, metrics: dict[str, float], monitor: Monitor | None) -> None:
        """Count an epoch, and remember it, where the monitor wants them with its weights, if it is the best."""
        self.epoch, self.batch = self.epoch + 1, 0
        self.loss_sum.zero_()
        self.num_counted = 0
        self.metrics = metrics
        if self.plateau is not None:
            self.plateau.observe(metrics)
        if monitor is None or not math.isfinite(value := metrics[monitor.metric]):
            return
        if self.best is None or monitor.is_better(value, self.best.metrics[monitor.metric]):
            self.best = Best(self.epoch, metrics, self._weights() if monitor.keep == "best" else None)

    def take_snapshot(self) -> None:
        """Keep the weights as they are now, for an ensemble."""
        self.snapshots.append(self._weights())

    def restore_best(self) -> None:
        """Put the best epoch's weights and metrics in the place of the last one's, where the best is kept."""
        if self.best is not None and self.best.weights is not None:
            self.answering.load_state_dict(self.best.weights)
            self.metrics = self.best.metrics

    def content(self) -> dict[str, Any]:
        """The whole state as a mapping that `torch.load(weights_only=True)` reads back."""
        return {
            "origin": self.origin,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "plateau": None if self.plateau is None else self.plateau.state,
            "average": None if self.average is None else self.average.state_dict(),
            "streams": stream_states(self.device),
            "loss_sum": self.loss_sum,
            "snapshots": self.snapshots,
            "best": None if self.best is None else vars(self.best),
            **{name: getattr(self, name) for name in _NUMBERS},
        }

    def restore(self, content: dict[str, Any]) -> None:
        """Continue where `content` was taken; ConfigError where it is of another configuration or seed."""
        _require_same("checkpoint_dir", content["origin"], self.origin)
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        self.scaler.load_state_dict(content["scaler"])
        if self.plateau is not None:
            self.plateau.state = content["plateau"]
        if self.average is not None:
            self.average.load_state_dict(content["average"])
        set_stream_states(content["streams"], self.device)
        self.loss_sum.copy_(content["loss_sum"])
        self.snapshots = content["snapshots"]
        self.best = None if content["best"] is None else Best(**content["best"])
        for name in _NUMBERS:
            setattr(self, name, content[name])

    def _weights(self) -> Weights:
        return {name: tensor.detach().clone() for name, tensor in self.answering.state_dict().items()}


def _require_same(where: str, saved: dict[str, Any], now: dict[str, Any], path: str = "") -> None:
    for name in sorted(saved.keys() | now.keys()):
        was, wanted = saved.get(name), now.get(name)
        if isinstance(was, dict) and isinstance(wanted, dict):
            _require_same(where, was, wanted, f"{path}{name}.")
        elif was != wanted:
            raise ConfigError(
                where,
                f"its checkpoint is of a training with {path}{name} = {was!r}, not {wanted!r}; use another directory",
            )
