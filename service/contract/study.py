"""A study on the wire: its spec (the study file, format 1) and what is told of it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from service.contract.base import Direction, Identifier, Request, Response, TaskKind, Value
from service.contract.space import Space
from service.contract.trial import TrialState, TrialView


class StudyState(StrEnum):
    """Where a study stands; the domain's machine says how it moves."""

    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    STOPPED = "stopped"


class MeanOfLast(Request):
    """The final value is the mean of the last `mean_of_last` reported values."""

    mean_of_last: int = Field(ge=1)


class Objective(Request):
    """What is optimised: a metric, a direction, and how the final value is taken from its series."""

    metric: str = Field(min_length=1)
    direction: Direction
    value: Literal["last", "best"] | MeanOfLast = "last"


class Task(Request):
    """What a worker does for a trial: at most one of the kinds; none means that a caller drives the trials."""

    train: dict[str, Any] | None = None
    function: str | None = None
    command: list[str] | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        given = [kind for kind in ("train", "function", "command") if getattr(self, kind) is not None]
        if len(given) != 1:
            raise ValueError(f"name exactly one of train, function, command; got {', '.join(given) or 'none'}")
        return self


def _by_name(value: object) -> object:
    return {"name": value} if isinstance(value, str) else value


class GridSampler(Request):
    """Every cell of the grid, once; in order, or shuffled by the seed."""

    name: Literal["grid"]
    shuffle: bool = False
    seed: int = 0


class RandomSampler(Request):
    """Independent draws, uniform in each parameter's own scale."""

    name: Literal["random"]
    seed: int = 0


class Stage(Request):
    """One step of a coarse-to-fine search: how many trials, to which resource, sampled how."""

    trials: int = Field(ge=1)
    resource: int | None = Field(default=None, ge=1, description="train to this step only; default: the maximum")
    sampler: Literal["random", "tpe"] = "random"
    keep: float = Field(default=0.25, gt=0, le=1, description="share of best trials the next box is drawn around")


class CoarseToFineSampler(Request):
    """Stages of ever smaller boxes around the best trials; default: two derived from the budget."""

    name: Literal["coarse_to_fine"]
    seed: int = 0
    stages: list[Stage] | None = Field(default=None, min_length=2)


class TpeSampler(Request):
    """Tree-structured Parzen estimator (Bergstra et al. 2011), Optuna's, through the bridge."""

    name: Literal["tpe"]
    seed: int = 0
    startup_trials: int = Field(default=10, ge=0, description="random trials before the model is used")


SamplerSpec = Annotated[
    Annotated[GridSampler | RandomSampler | CoarseToFineSampler | TpeSampler, Field(discriminator="name")],
    BeforeValidator(_by_name),
]


class NoPruner(Request):
    """Never stops a trial."""

    name: Literal["none"]


class MedianPruner(Request):
    """Stops a trial whose best value so far is worse than the median of the others at the same step."""

    name: Literal["median"]
    startup_trials: int = Field(default=5, ge=1, description="trials that must reach a step before it is judged")
    warmup_steps: int = Field(default=2, ge=0, description="steps before which nobody is judged")


PrunerSpec = Annotated[
    Annotated[NoPruner | MedianPruner, Field(discriminator="name")],
    BeforeValidator(_by_name),
]


class Resource(Request):
    """What a trial spends: the name of a step and the absolute step at which a trial is finished."""

    name: Literal["epoch", "step"] = "epoch"
    max: int = Field(ge=1)


class Budget(Request):
    """What the search may spend."""

    trials: int | None = Field(default=None, ge=1, description="search trials in all; a grid may leave it out")


class Reference(Request):
    """Known values of the objective, shown wherever it is."""

    baseline: float | None = None
    published: float | None = None
    human: float | None = None


class Bound(Request):
    """Limits of a constrained quantity, inclusive."""

    max: float


class Constraints(Request):
    """Conditions checked before training; a configuration that breaks one is infeasible."""

    parameters: Bound | None = Field(default=None, description="number of trainable parameters of the model")


class Requires(Request):
    """What a worker must offer to get trials of the study."""

    gpu_memory_gib: float | None = Field(default=None, gt=0)
    labels: dict[str, str] = {}


class StudySpec(Request):
    """The study file: everything a search is, apart from its trials."""

    name: Identifier
    format: Literal[1] = 1
    project: Identifier = "default"
    description: str = ""
    objective: Objective
    task: Task | None = None
    space: Space = Field(min_length=1)
    sampler: SamplerSpec = TpeSampler(name="tpe")
    pruner: PrunerSpec = NoPruner(name="none")
    resource: Resource | None = None
    budget: Budget = Budget()
    retry_failed: int | None = Field(default=None, ge=0, description="retries of a failed trial; grid 1, others 0")
    priority: int = 0
    owner: Identifier | None = None
    requires: Requires | None = None
    code: Literal["same", "warn"] = Field(default="warn", description="whether attempts may differ in code and data")
    reference: Reference | None = None
    constraints: Constraints | None = None

    @property
    def task_kind(self) -> TaskKind:
        """The kind of task; external where none is given."""
        if self.task is None:
            return TaskKind.EXTERNAL
        return next(kind for kind in TaskKind if getattr(self.task, kind, None) is not None)


class StudyView(Response):
    """What is told of a study."""

    id: str
    project: str
    name: str
    state: StudyState
    state_reason: str | None
    stop_requested: bool
    revision: int
    spec_version: int
    spec: StudySpec
    num_trials: dict[TrialState, int]
    budget_trials: int | None = Field(default=None, description="search trials in all; none: without end")
    best: TrialView | None
    standing: str | None = Field(default=None, description="how the best compares with the reference, in words")
    created_at: datetime
    finished_at: datetime | None


class StudyList(Response):
    """Studies, newest first."""

    studies: list[StudyView]


class StopRequest(Request):
    """Why a study is paused or stopped, for its journal."""

    reason: str = ""


class ExtendRequest(Request):
    """A larger budget; a finished study becomes active again."""

    trials: int = Field(ge=1, description="search trials in all, those already made included")


class EnqueueRequest(Request):
    """A configuration to try before the sampler's own suggestions."""

    parameters: dict[str, Value]
    priority: int = 0


class EnqueueReply(Response):
    """Where the configuration stands in the queue."""

    id: str
    num_ahead: int


class Event(Response):
    """One journal row: what happened, to what, at which revision."""

    revision: int
    kind: str
    at: datetime
    trial: int | None
    attempt: int | None
    data: dict[str, Any]
