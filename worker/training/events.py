"""Messages between a training and its caller: reports, verdicts, the monitor, and the result."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, TypeAlias

from torch import Tensor, nn

from worker.training.components.metrics import confusion_matrix
from worker.training.data import SplitName
from worker.training.predictions import Predictions


class Verdict(StrEnum):
    """The answer to a report: continue training, pause after a checkpoint, or stop for good."""

    CONTINUE = "continue"
    PAUSE = "pause"
    STOP = "stop"


class Ending(StrEnum):
    """How a call of `train` ended: finished (all epochs, or ended early), stopped by a verdict, or paused."""

    FINISHED = "finished"
    STOPPED = "stopped"
    PAUSED = "paused"


@dataclass(frozen=True)
class Report:
    """The metrics after an epoch.

    Attributes:
        step: the epoch, counted from 1 over all resumptions.
        metrics: the values by name.
    """

    step: int
    metrics: Mapping[str, float]


OnReport: TypeAlias = Callable[[Report], Verdict]


@dataclass(frozen=True)
class Monitor:
    """Which metric decides on the best epoch, and whether the weights of the best or of the last epoch are kept.

    Attributes:
        metric: the metric's name, such as `val/accuracy`.
        direction: whether larger or smaller values are better.
        keep: whose weights the training ends with.
        best: the best value of other trainings; None: unknown. At its end a training that is worse is not saved.
    """

    metric: str
    direction: Literal["maximize", "minimize"]
    keep: Literal["best", "last"] = "best"
    best: float | None = None

    def is_better(self, value: float, than: float, min_delta: float = 0.0) -> bool:
        """Return whether `value` is better than `than` by more than `min_delta`."""
        return value - than > min_delta if self.direction == "maximize" else than - value > min_delta


@dataclass(frozen=True)
class TrainingResult:
    """The result of a training.

    Attributes:
        ending: how it ended.
        step: completed epochs.
        metrics: the metrics of the epoch whose weights `models` hold, with `seconds` (spent training, over all
            resumptions) and `num_parameters` (trainable). A finished training also has `test/…` if there is a test
            split, and `snapshots/…` of every held-out split if it has snapshots.
        best_step: the epoch whose weights are restored; None: the last epoch's weights were kept.
        models: one model for each fold and repeat.
        predictions: those of a finished training by split: for each example the mean over the models that didn't train
            on it.
        snapshots: the weights at the end of each part of the horizon, if the configuration asks for snapshots; those of
            the first model, then those of the next.
        reason: why the training finished before its last epoch; empty: it did not.
    """

    ending: Ending
    step: int
    metrics: Mapping[str, float]
    best_step: int | None
    models: Sequence[nn.Module] = field(repr=False)
    predictions: Mapping[SplitName, Predictions] = field(default_factory=dict, repr=False)
    snapshots: Sequence[Mapping[str, Tensor]] = field(default=(), repr=False)
    reason: str = ""

    @property
    def model(self) -> nn.Module:
        """The model; if there are several, the first."""
        return self.models[0]

    @property
    def confusion(self) -> dict[SplitName, list[list[int]]]:
        """Confusion matrices of a finished classification by split: true classes in rows, predicted ones in columns."""
        return {
            name: confusion_matrix(each.outputs, each.targets)
            for name, each in self.predictions.items()
            if each.outputs.ndim == 2
        }
