"""The callback interface: the points of a training at which user code is called, and what it receives."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn
from torch.optim import Optimizer

from worker.training.data import Dataset
from worker.training.events import Report, TrainingResult


@dataclass(frozen=True)
class Training:
    """What a callback sees of a training: the training's own objects, one per fold and repeat.

    Attributes:
        config: the complete configuration as a mapping.
        seed: the training's seed.
        epoch: the epochs completed before; 0 unless the training resumes.
        datasets: the dataset of each model.
        models: the models that are evaluated and kept (moving averages of the weights where there are any).
        optimizers: the optimizers, which hold the trainable weights with their gradients and learning rates.
    """

    config: Mapping[str, Any]
    seed: int
    epoch: int
    datasets: Sequence[Dataset]
    models: Sequence[nn.Module]
    optimizers: Sequence[Optimizer]


class Callback:
    """Observes a training; a subclass overrides the methods it needs.

    To be called at every optimizer step, register a hook in `on_begin`: `optimizer.register_step_pre_hook`. An
    exception that a callback raises ends the training, with a note that names the callback. If a resumed training must
    equal one that was never interrupted, put whatever the callback needs from one epoch to the next into its state.
    """

    def on_begin(self, training: Training) -> None:
        """Called once by each call of `train`, before the first step and after a checkpoint was restored."""

    def measure(self) -> Mapping[str, float]:
        """Called after each epoch's evaluation.

        Returns:
            The callback's own metrics by name, which are reported with the others.
        """
        return {}

    def on_report(self, report: Report) -> str | None:
        """Called after an epoch was reported.

        Returns:
            A reason to end the training here, finished as by early stopping; None: train on.
        """

    def on_end(self, result: TrainingResult) -> None:
        """Called with the result before `train` returns it, however the training ended, but not if it raised."""

    def close(self) -> None:
        """Called last, also if the training raised; releases open resources."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint keeps of the callback: tensors, numbers, texts, lists and mappings."""
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` returned, with its tensors on the CPU; called before `on_begin`."""
