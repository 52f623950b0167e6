"""The moments of a training at which code of the user's own is called, and what that sees; calls nothing itself."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer

from worker.training.data import Dataset
from worker.training.events import Report, TrainingResult


@dataclass(frozen=True)
class Training:
    """What a callback sees of a training: the objects that train themselves, one for each fold and repeat.

    `config` is the complete configuration as a mapping, `epoch` the number of epochs done before: 0 unless it resumes.
    `models` are those that are evaluated and kept (running means of the weights where there are any), `optimizers` hold
    the weights that learn, with their gradients and rates.
    """

    config: Mapping[str, Any]
    seed: int
    epoch: int
    datasets: Sequence[Dataset]
    models: Sequence[nn.Module]
    optimizers: Sequence[Optimizer]


class Callback:
    """Looks on while a model trains; a subclass overrides the moments it wants.

    To be called at every optimizer step, register a hook in `on_begin`: `optimizer.register_step_pre_hook`. What it
    raises ends training, with a note that names it. Where a resumed training is to be the same as one that was never
    interrupted, whatever it needs from one epoch to the next belongs in its state.
    """

    def on_begin(self, training: Training) -> None:
        """Called once by each call of `train`, before the first step, with any checkpoint restored."""

    def measure(self) -> Mapping[str, float]:
        """Called after each epoch's evaluation: metrics of its own, which are reported with the others."""
        return {}

    def on_report(self, report: Report) -> str | None:
        """Called after an epoch was reported; a reason ends training here, finished as by early stopping."""

    def on_end(self, result: TrainingResult) -> None:
        """Called with what `train` is about to return, however training ended; not where it raised."""

    def close(self) -> None:
        """Called last, also where training raised: give back what is open."""

    def state_dict(self) -> dict[str, Any]:
        """What a checkpoint keeps of it: tensors, numbers, texts, lists and mappings."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up what `state_dict` gave, its tensors on the CPU; called before `on_begin`."""
