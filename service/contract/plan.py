"""What a study will cost before anything runs, and what another pruner would have made of one that ran; on the wire."""

from __future__ import annotations

from pydantic import Field

from service.contract.base import Request, Response
from service.contract.pruner import PrunerSpec


class PlannedPart(Response):
    """So many trials train from one step to another: a stage, or the way between two rungs."""

    name: str
    trials: int
    from_step: int
    to_step: int

    @property
    def num_steps(self) -> int:
        """Steps of all trials of this part together."""
        return self.trials * (self.to_step - self.from_step)


class Plan(Response):
    """What a study will cost."""

    trials: int | None
    """None: until it is stopped."""
    resource: str
    parts: list[PlannedPart]
    num_steps: int | None
    """Of all trials together; none where that is not known."""
    whole_trainings: float | None
    """The same in trainings to the end; each fold and repeat of a trial is one."""
    trainings_per_trial: int = 1
    """Folds times repeats: so many models a trial trains side by side."""
    at_most: bool
    """The pruner may save some of it, or a budget end it sooner."""
    step_seconds: float | None = None
    """How long a step of one training took in the study that was named for that."""
    notes: list[str]


class ReplayRequest(Request):
    """The pruner to play a study's recorded curves with, and by how many workers."""

    pruner: PrunerSpec
    workers: int = Field(default=1, ge=1, le=1024)


class Spent(Response):
    """Steps of all trials, and the best value with its trial."""

    num_steps: int
    best: float | None
    trial: int | None


class Replay(Response):
    """The same trials with the same curves, as recorded and under the other pruner."""

    recorded: Spent
    replayed: Spent
    saved: float
    """Share of the recorded steps that the pruner would not have spent."""
    lost: float | None
    """How much worse the best value would be; 0: it is the same."""
    notes: list[str]
