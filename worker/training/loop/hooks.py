"""Functions of the caller that a training calls while it runs, beside `on_report`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from worker.training.callbacks import Callback
from worker.training.checkpoints.checkpoint import Manifest
from worker.training.data import Dataset
from worker.training.events import Verdict


def continue_training(*_: object) -> Verdict:
    """Return CONTINUE whatever is reported; the default of `on_report` and `poll`."""
    return Verdict.CONTINUE


@dataclass(frozen=True)
class TrainingHooks:
    """Functions that `train` calls; in a process group only the first process calls them.

    Attributes:
        poll: called before each optimizer step; returns a verdict.
        on_data: called with the dataset (of the first fold) after it was loaded, before training; None: nothing is.
        on_checkpoint: called with the manifest of each saved checkpoint; None: nothing is.
        callbacks: called after those that the configuration names. `train` raises their exceptions, and each callback
            may end the training.
    """

    poll: Callable[[], Verdict] = continue_training
    on_data: Callable[[Dataset], None] | None = None
    on_checkpoint: Callable[[Manifest], None] | None = None
    callbacks: Sequence[Callback] = ()
