"""Cost plans and pruner replays on the wire.

A plan says what a study will cost before it runs. A replay says what another pruner would have done with the curves of
a study that ran.
"""

from __future__ import annotations

from pydantic import Field

from service.contract.base import Request, Response
from service.contract.pruner import PrunerSpec


class PlannedPart(Response):
    """A group of trials that train from one step to another: a stage, or the steps between two rungs."""

    name: str
    trials: int
    from_step: int
    to_step: int

    @property
    def num_steps(self) -> int:
        """Total steps of all trials of this part."""
        return self.trials * (self.to_step - self.from_step)


class Plan(Response):
    """What a study will cost."""

    trials: int | None
    """None: no limit, until a user stops the study."""
    resource: str
    parts: list[PlannedPart]
    num_steps: int | None
    """Total steps of all trials. None if unknown."""
    full_trial_equivalents: float | None
    """The same cost in full trainings. Each fold and repeat of a trial counts as one."""
    trainings_per_trial: int = 1
    """Folds times repeats: the number of models that a trial trains side by side."""
    is_upper_bound: bool
    """Whether the figures are upper bounds: the pruner may save a part, or a budget may end the study sooner."""
    step_seconds: float | None = None
    """Seconds per step of one training, measured in the study that the request named, or by a preflight."""
    step_seconds_range: tuple[float, float] | None = None
    """The shortest and the longest seconds per step that the preflight measured, at the corners of the space too."""
    notes: list[str]


class ReplayRequest(Request):
    """The pruner with which to replay a study's recorded curves, and the number of workers to simulate."""

    pruner: PrunerSpec
    workers: int = Field(default=1, ge=1, le=1024)


class Spent(Response):
    """Total steps of all trials, and the best value with its trial."""

    num_steps: int
    best: float | None
    trial: int | None


class Replay(Response):
    """The same trials with the same curves, as recorded and under the other pruner."""

    recorded: Spent
    replayed: Spent
    saved_fraction: float
    """Share of the recorded steps that the pruner would have saved."""
    regret: float | None
    """How much worse the best value would be. 0: the best value is the same."""
    notes: list[str]
