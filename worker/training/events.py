"""What training says to its surroundings and hears from them: reports, verdicts, and how it ended; no transport."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Literal, TypeAlias

from torch import Tensor, nn

from worker.training.data import SplitName
from worker.training.metrics import confusion_matrix
from worker.training.predictions import Predictions


class Verdict(StrEnum):
    """The answer to a report: train on, pause after a checkpoint, or stop for good."""

    CONTINUE = "continue"
    PAUSE = "pause"
    STOP = "stop"


class Ending(StrEnum):
    """How a call of `train` ended: all epochs done, a verdict to stop, or paused before the horizon."""

    FINISHED = "finished"
    STOPPED = "stopped"
    PAUSED = "paused"


@dataclass(frozen=True)
class Report:
    """The metrics after a step of the resource, here an epoch: `step` counts from 1, over all resumptions."""

    step: int
    metrics: Mapping[str, float]


OnReport: TypeAlias = Callable[[Report], Verdict]


@dataclass(frozen=True)
class Monitor:
    """Which metric tells a better model, and whether the weights of the best or of the last epoch are kept.

    `best` is what the best of other trainings has reached (None: unknown): only who may be better is saved at its end.
    """

    metric: str
    direction: Literal["maximize", "minimize"]
    keep: Literal["best", "last"] = "best"
    best: float | None = None

    def is_better(self, value: float, than: float) -> bool:
        return value > than if self.direction == "maximize" else value < than


@dataclass(frozen=True)
class TrainingResult:
    """How training ended, at which epoch, and what it made.

    `metrics` are those of the epoch whose weights `models` hold, with `seconds` (spent training, over all
    resumptions) and `num_parameters`, and once finished with `test/…` where there is a test split and, of the mean of
    the snapshots' answers, `snapshots/…` of every held-out split. There is one model for each fold and repeat.
    `predictions` are those of a finished training, by split: for each example the mean over the models that didn't
    train on it. `snapshots` are the weights at the end of each part of the horizon, where the configuration asks for
    them, one model's after another's. `reason` says why it finished before its last epoch.
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
        """The one model; of several, the first."""
        return self.models[0]

    @property
    def confusion(self) -> dict[SplitName, list[list[int]]]:
        """Of a finished classification, by split: true classes in rows, predicted ones in columns."""
        return {
            name: confusion_matrix(each.outputs, each.targets)
            for name, each in self.predictions.items()
            if each.outputs.ndim == 2
        }
