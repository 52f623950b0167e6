"""The best epoch of a training by its monitor: keeps it, and decides on early stopping."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from worker.training.events import Monitor
from worker.training.state import Weights


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


class BestTracker:
    """Keeps the best epoch by the monitored metric.

    Args:
        monitor: decides which epoch is the best; None: none is kept.
        first_epoch: the completed epochs at the start: 0, or the epoch of the fork.

    Attributes:
        epoch: the best epoch so far; None: none yet, or no monitor.
    """

    def __init__(self, monitor: Monitor | None, first_epoch: int) -> None:
        self.epoch: BestEpoch | None = None
        self._monitor = monitor
        self._first_epoch = first_epoch

    @property
    def restorable(self) -> BestEpoch | None:
        """The best epoch if its weights are kept, else None."""
        return self.epoch if self.epoch is not None and self.epoch.weights is not None else None

    def update(self, step: int, metrics: dict[str, float], copy_weights: Callable[[], list[Weights]]) -> None:
        """Keep epoch `step` if its monitored metric is finite and the best so far.

        Args:
            step: the epoch, counted from 1.
            metrics: the metrics after it.
            copy_weights: returns a copy of each model's weights; called only if the monitor keeps the best weights.
        """
        monitor = self._monitor
        if monitor is None or not math.isfinite(value := metrics[monitor.metric]):
            return
        if self.epoch is None or monitor.is_better(value, self.epoch.metrics[monitor.metric]):
            self.epoch = BestEpoch(step, metrics, copy_weights() if monitor.keep == "best" else None)

    def reason_to_stop(self, step: int, patience: int | None) -> str:
        """Return the reason of early stopping (Prechelt 1998) after epoch `step`; an empty text: train on.

        Args:
            step: the completed epochs.
            patience: the epochs without a better one after which training ends; None: it never ends early.
        """
        if patience is None:
            return ""
        best = self._first_epoch if self.epoch is None else self.epoch.step
        return f"no better for {patience} epochs" if step - best >= patience else ""

    def may_beat_other_trainings(self, metrics: Mapping[str, float]) -> bool:
        """Return whether a training that ends with `metrics` may be better than all others; True if that is unknown."""
        monitor = self._monitor
        if monitor is None or monitor.best is None:
            return True
        if monitor.keep == "best" and self.epoch is not None:
            metrics = self.epoch.metrics
        return monitor.is_better(metrics[monitor.metric], monitor.best)

    def state_dict(self) -> dict[str, Any] | None:
        """Return the best epoch as a mapping for a checkpoint, or None."""
        return None if self.epoch is None else dict(vars(self.epoch))

    def load_state_dict(self, content: dict[str, Any] | None) -> None:
        """Continue with the best epoch of a checkpoint."""
        self.epoch = None if content is None else BestEpoch(**content)
