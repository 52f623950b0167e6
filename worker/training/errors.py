"""What can be wrong with a training, each kind saying itself in one sentence; knows nothing of how it is shown."""

from collections.abc import Iterable
from difflib import get_close_matches


class TrainingError(Exception):
    """Anything the training core refuses or ends with by its own decision."""


class ConfigError(TrainingError):
    """A setting that can't be trained with: its dotted `path` (`optimizer.lr`), and fault and remedy as `message`."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
        self.message = message


class MissingLibrary(ConfigError):
    """A setting that needs a library which this machine lacks and another may have."""


class OutsideFolders(ConfigError):
    """A path outside the folders that may be read here; another worker may allow it."""


class Infeasible(TrainingError):
    """A valid configuration that breaks a constraint, such as too many parameters."""


class Diverged(TrainingError):
    """A metric stopped being finite: `step` is the epoch, `last_finite` the last finite value (None: never)."""

    def __init__(self, step: int, metric: str, last_finite: float | None) -> None:
        tail = "it never was finite" if last_finite is None else f"its last finite value was {last_finite:.6g}"
        super().__init__(f"{metric} is no longer a finite number in epoch {step}; {tail}")
        self.step = step
        self.metric = metric
        self.last_finite = last_finite


class GroupBroken(RuntimeError):
    """Another of the processes that train together is gone or out of reach; what became of it, it may say itself."""


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """The nearest of `known` as a question, or the whole list when nothing is near."""
    names = sorted(known)
    near = get_close_matches(str(name), names, n=1, cutoff=0.65)
    near = near or [each for each in names if len(str(name)) >= 3 and each.startswith(str(name))]  # an abbreviation
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known: {', '.join(names)}" if names else "none is known"
