"""The best epoch of a training by its monitor: keeps it, and decides on early stopping."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from worker.training.events import Monitor
from worker.training.state import Weights

PLAIN_LOSSES = ("cross_entropy", "mse")
"""The losses without options, one of which a training reports for each split; lower is better."""


@dataclass(frozen=True)
class BestEpoch:
    """The best epoch so far.

    Attributes:
        step: the epoch, counted from 1.
        metrics: the metrics after it.
        weights: the weights of each model; None: they are not kept.
    """

    step: int
    metrics: dict[str, float]
    weights: list[Weights] | None


@dataclass(frozen=True)
class _Improvement:
    """The last epoch whose value was better than all before by more than `min_delta`.

    Attributes:
        step: the epoch, counted from 1, or the epoch at which the training began.
        value: its value of the monitored metric; None: no epoch has a finite value yet.
    """

    step: int
    value: float | None = None


class BestTracker:
    """Keeps the best epoch by the monitored metric, and counts the epochs since the last improvement.

    Of epochs with equal values the one with the lowest plain loss is the best, and of equal losses the earliest.

    Args:
        monitor: decides which epoch is the best; None: none is kept.
        first_epoch: the completed epochs at the start: 0, or the epoch of the fork.
        min_delta: by how much a value must be better to count as an improvement, in the metric's unit.

    Attributes:
        epoch: the best epoch so far; None: none yet, or no monitor.
    """

    def __init__(self, monitor: Monitor | None, first_epoch: int, min_delta: float = 0.0) -> None:
        self.epoch: BestEpoch | None = None
        self._monitor = monitor
        self._min_delta = min_delta
        self._improvement = _Improvement(first_epoch)

    @property
    def restorable(self) -> BestEpoch | None:
        """The best epoch if its weights are kept, else None."""
        return self.epoch if self.epoch is not None and self.epoch.weights is not None else None

    def update(self, step: int, metrics: dict[str, float], copy_weights: Callable[[], list[Weights]]) -> None:
        """Keep epoch `step` if its monitored metric is finite and the best so far, and note an improvement.

        Args:
            step: the epoch, counted from 1.
            metrics: the metrics after it.
            copy_weights: returns a copy of each model's weights; called only if the monitor keeps the best weights.
        """
        monitor = self._monitor
        if monitor is None or not math.isfinite(value := metrics[monitor.metric]):
            return
        before = self._improvement.value
        if before is None or monitor.is_better(value, before, self._min_delta):
            self._improvement = _Improvement(step, value)
        if self.epoch is None or _is_better(monitor, metrics, self.epoch.metrics):
            self.epoch = BestEpoch(step, metrics, copy_weights() if monitor.keep == "best" else None)

    def reason_to_stop(self, step: int, patience: int | None) -> str:
        """Return the reason of early stopping (Prechelt 1998) after epoch `step`; an empty text: train on.

        Args:
            step: the completed epochs.
            patience: the epochs without an improvement after which training ends; None: it never ends early.
        """
        if patience is None or step - self._improvement.step < patience:
            return ""
        return f"no better{f' by {self._min_delta:g}' if self._min_delta else ''} for {patience} epochs"

    def may_beat_other_trainings(self, metrics: Mapping[str, float]) -> bool:
        """Return whether a training that ends with `metrics` may be better than all others; True if that is unknown.

        Of trainings with equal values the one with the lower plain loss is better, which the monitor does not know.
        """
        monitor = self._monitor
        if monitor is None or monitor.best is None:
            return True
        if monitor.keep == "best" and self.epoch is not None:
            metrics = self.epoch.metrics
        value = metrics[monitor.metric]
        return math.isfinite(value) and not monitor.is_better(monitor.best, than=value)

    def state_dict(self) -> dict[str, Any] | None:
        """Return the best epoch and the last improvement as a mapping for a checkpoint, or None."""
        return None if self.epoch is None else {**vars(self.epoch), "improvement": dict(vars(self._improvement))}

    def load_state_dict(self, content: dict[str, Any] | None) -> None:
        """Continue with the best epoch and the last improvement of a checkpoint."""
        if content is None:
            self.epoch = None
            return
        best = dict(content)
        self._improvement = _Improvement(**best.pop("improvement"))
        self.epoch = BestEpoch(**best)


def _is_better(monitor: Monitor, metrics: Mapping[str, float], than: Mapping[str, float]) -> bool:
    """Return whether an epoch's metrics are better by the monitor, or as good with a lower plain loss."""
    value, best = metrics[monitor.metric], than[monitor.metric]
    if value == best:
        return _plain_loss(monitor, metrics) < _plain_loss(monitor, than)
    return monitor.is_better(value, best)


def _plain_loss(monitor: Monitor, metrics: Mapping[str, float]) -> float:
    """Return the loss without options on the monitored split; infinity if none is reported, or it is not finite."""
    split, slash, _ = monitor.metric.partition("/")
    for name in PLAIN_LOSSES:
        loss = metrics.get(f"{split if slash else 'val'}/{name}", math.inf)
        if math.isfinite(loss):
            return loss
    return math.inf
