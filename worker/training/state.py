"""All of a training that must survive a restart, as tensors and plain Python; knows no files."""

import math
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn, optim

from worker.training.errors import ConfigError
from worker.training.events import Monitor
from worker.training.schedules import Plateau
from worker.training.seeding import set_stream_states, stream_states


@dataclass(frozen=True)
class Best:
    """The best epoch so far and the weights it had."""

    step: int
    metrics: dict[str, float]
    weights: dict[str, Tensor]


@dataclass
class TrainState:
    """A training between two epochs.

    `epoch` counts completed epochs and `step` optimizer steps, which is the schedule's position too; `order` draws the
    order of the examples, so its state is the data's position; `origin` is the configuration and seed it came from.
    """

    origin: dict[str, Any]
    device: torch.device
    model: nn.Module
    optimizer: optim.Optimizer
    order: torch.Generator
    plateau: Plateau | None = None
    epoch: int = 0
    step: int = 0
    seconds: float = 0.0
    metrics: dict[str, float] = field(default_factory=dict)
    best: Best | None = None

    def __post_init__(self) -> None:
        # The schedule scales each group's own rate; the name is the one PyTorch's schedulers use, kept by its state.
        for group in self.optimizer.param_groups:
            group["initial_lr"] = group["lr"]

    def complete_epoch(self, metrics: dict[str, float], monitor: Monitor | None) -> None:
        """Count an epoch, and remember its weights where the monitor keeps the best and these are."""
        self.epoch += 1
        self.metrics = metrics
        if self.plateau is not None:
            self.plateau.observe(metrics)
        if monitor is None or monitor.keep != "best":
            return
        value = metrics[monitor.metric]
        if not math.isfinite(value):
            return
        if self.best is None or monitor.is_better(value, self.best.metrics[monitor.metric]):
            weights = {name: tensor.detach().clone() for name, tensor in self.model.state_dict().items()}
            self.best = Best(self.epoch, metrics, weights)

    def restore_best(self) -> None:
        """Put the best epoch's weights and metrics in the place of the last one's, where the best is kept."""
        if self.best is not None:
            self.model.load_state_dict(self.best.weights)
            self.metrics = self.best.metrics

    def snapshot(self) -> dict[str, Any]:
        """The whole state as a mapping that `torch.load(weights_only=True)` reads back."""
        return {
            "origin": self.origin,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "order": self.order.get_state(),
            "plateau": None if self.plateau is None else self.plateau.state,
            "streams": stream_states(self.device),
            "epoch": self.epoch,
            "step": self.step,
            "seconds": self.seconds,
            "metrics": self.metrics,
            "best": None
            if self.best is None
            else {"step": self.best.step, "metrics": self.best.metrics, "weights": self.best.weights},
        }

    def restore(self, snapshot: dict[str, Any]) -> None:
        """Continue where `snapshot` was taken; ConfigError where it is of another configuration or seed."""
        _require_same("checkpoint_dir", snapshot["origin"], self.origin)
        self.model.load_state_dict(snapshot["model"])
        self.optimizer.load_state_dict(snapshot["optimizer"])
        self.order.set_state(snapshot["order"])
        if self.plateau is not None:
            self.plateau.state = snapshot["plateau"]
        set_stream_states(snapshot["streams"], self.device)
        for name in ("epoch", "step", "seconds", "metrics"):
            setattr(self, name, snapshot[name])
        if (best := snapshot["best"]) is not None:
            weights = {name: tensor.to(self.device) for name, tensor in best["weights"].items()}
            self.best = Best(best["step"], best["metrics"], weights)


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
