"""Exceptions of the training core; the text of each is one sentence that a user can act on."""

from collections.abc import Iterable
from difflib import get_close_matches


class TrainingError(Exception):
    """Base class of errors that the training core raises by its own decision."""


class ConfigError(TrainingError):
    """A setting that can't be used for training.

    Attributes:
        path: the setting's dotted path, such as `optimizer.lr`.
        message: what is wrong and what to do.
    """

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


class MissingLibrary(ConfigError):
    """A setting needs a library that this machine lacks; another worker may have it."""


class MissingFile(ConfigError):
    """A setting that names a file or folder which this machine lacks and another may have."""


class OutsideFolders(ConfigError):
    """A path lies outside the folders that this worker may read; another worker may allow it."""


class Infeasible(TrainingError):
    """A valid configuration breaks a constraint, such as too many parameters."""


class OutOfMemory(TrainingError, MemoryError):
    """Memory ran out in a part of the training.

    Attributes:
        path: the dotted path of the setting that needs the memory, such as `batch_size`.
        message: what takes the memory, and the remedies in order.
        is_of_device: whether it is the memory of a GPU.
    """

    def __init__(self, path: str, message: str, *, is_of_device: bool) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message
        self.is_of_device = is_of_device


class Diverged(TrainingError):
    """A metric is no longer finite.

    Attributes:
        step: the epoch, counted from 1.
        metric: the metric's name.
        last_finite: its last finite value; None: it never was finite.
    """

    def __init__(self, step: int, metric: str, last_finite: float | None) -> None:
        history = "it never was finite" if last_finite is None else f"its last finite value was {last_finite:.6g}"
        super().__init__(f"{metric} is no longer a finite number in epoch {step}; {history}")
        self.step = step
        self.metric = metric
        self.last_finite = last_finite


class ProcessGroupError(RuntimeError):
    """Another process of the group is gone or out of reach; the cause may be in that process's own error."""


def did_you_mean(name: object, valid_names: Iterable[str]) -> str:
    """Return the nearest of the `valid_names` as a question, or the whole list if none is near."""
    names = sorted(valid_names)
    near = get_close_matches(str(name), names, n=1, cutoff=0.65)
    near = near or [valid for valid in names if len(str(name)) >= 3 and valid.startswith(str(name))]  # an abbreviation
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known: {', '.join(names)}" if names else "none is known"
