"""Studies on the wire: the spec (the study file, format 1), the state of a study, and requests that change it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, model_validator

from service.contract.base import (
    Count,
    DamagedRow,
    Direction,
    Directions,
    Identifier,
    Priority,
    Request,
    Response,
    TaskKind,
    Value,
)
from service.contract.finding import Finding
from service.contract.preflight import MAX_CHECKS, MemoryLimit, PreflightMode
from service.contract.preflight_view import PreflightSummary
from service.contract.pruner import NoPrunerSpec, PrunerSpec
from service.contract.sampler import AutoSamplerSpec, SamplerSpec
from service.contract.space import Space
from service.contract.storable import MAX_COUNT
from service.contract.task import Task
from service.contract.trial import TrialState, TrialView
from service.contract.worker import HostExclusion

MAX_OBJECTIVES = 4
"""The largest number of objectives. With more, nearly every trial is on the Pareto front, so the front says nothing."""


class StudyState(StrEnum):
    """The state of a study. docs/architecture.md shows the transitions."""

    ACTIVE = "active"
    PAUSED = "paused"
    COMPLETED = "completed"
    STOPPED = "stopped"


class PauseCause(StrEnum):
    """What paused a study: a user, its failures, a box that waits for a review, or a preflight that failed."""

    USER = "user"
    FAILURES = "failures"
    REVIEW = "review"
    PREFLIGHT = "preflight"


class MeanOfLast(Request):
    """The final value is the mean of the last `mean_of_last` reported values."""

    mean_of_last: int = Field(ge=1)


class Objective(Request):
    """What is optimised: a metric, a direction, and how the final value is taken from the metric's series."""

    metric: str = Field(min_length=1)
    direction: Direction
    value: Literal["last", "best"] | MeanOfLast = "last"


def _check_objectives(objectives: list[Objective]) -> list[Objective]:
    if not 2 <= len(objectives) <= MAX_OBJECTIVES:
        raise ValueError(
            f"a list holds 2 to {MAX_OBJECTIVES} objectives, got {len(objectives)}; "
            "write a single one as a mapping: objective: {metric: val/accuracy, direction: maximize}"
        )
    metrics = [objective.metric for objective in objectives]
    for metric in metrics:
        if metrics.count(metric) > 1:
            raise ValueError(f"{metric} is listed twice; objectives are of different metrics")
    return objectives


Objectives = Annotated[list[Objective], AfterValidator(_check_objectives)]
"""Several objectives of equal weight (multi-objective search)."""


class Resource(Request):
    """The unit of training that a trial spends, and the absolute step at which a trial is finished."""

    name: Literal["epoch", "step"] = "epoch"
    max: Count


class Budget(Request):
    """What the search may spend. The first exhausted budget ends it."""

    trials: Count | None = Field(default=None, description="search trials in all; a grid may leave it out")
    hours: float | None = Field(
        default=None, gt=0, description="hours since the first trial, while the study is active"
    )
    device_hours: float | None = Field(
        default=None, gt=0, description="device-hours of all attempts together, on GPU or CPU"
    )
    resource: Count | None = Field(default=None, description="steps of all search trials together")
    failures: Count | None = Field(default=None, description="trials that failed")
    target: float | None = Field(default=None, description="value of the objective at which the search is over")
    no_improvement: int | None = Field(
        default=None,
        ge=1,
        le=MAX_COUNT,
        description="number of trials in a row that end without a new best value",
    )


class Reference(Request):
    """Known values of the objective, shown beside it, in the order in which they are compared."""

    official: float | None = Field(default=None, description="value of an official implementation")
    published: float | None = Field(default=None, description="best published value")
    human: float | None = Field(default=None, description="value that people reach")
    baseline: float | None = Field(default=None, description="value of a simple method")


class Bound(Request):
    """The inclusive upper limit of a constrained quantity."""

    max: float


class Constraints(Request):
    """Conditions checked before training. A configuration that violates one is infeasible."""

    parameters: Bound | None = Field(default=None, description="number of trainable parameters of the model")
    memory: list[MemoryLimit] | None = Field(
        default=None, max_length=MAX_CHECKS, description="configurations that ran out of memory in a preflight"
    )


class Requires(Request):
    """What a worker must offer to get trials of the study."""

    gpu_memory_gib: float | None = Field(default=None, gt=0)
    devices: int | None = Field(default=None, ge=1, description="GPUs, or shares of a processor, of each trial")
    labels: dict[str, str] = {}


class StudySpec(Request):
    """The study file: the complete definition of a search."""

    name: Identifier
    format: Literal[1] = 1
    project: Identifier = "default"
    description: str = ""
    objective: Objective | Objectives
    task: Task | None = None
    space: Space = Field(min_length=1)
    sampler: SamplerSpec = AutoSamplerSpec(name="auto")
    pruner: PrunerSpec = NoPrunerSpec(name="none")
    resource: Resource | None = None
    budget: Budget = Budget()
    warm_start: list[Identifier] = Field(
        default=[], max_length=100, description="studies whose trials are prior trials of this study"
    )
    retry_failed: int | None = Field(
        default=None, ge=0, le=MAX_COUNT, description="retries of a failed trial; default: 1 for grid, else 0"
    )
    priority: Priority = 0
    owner: Identifier | None = None
    requires: Requires | None = None
    code_policy: Literal["same", "warn"] = Field(
        default="warn", description="whether attempts may differ in code and data"
    )
    reference: Reference | None = None
    reference_point: list[float] | None = Field(
        default=None,
        description="with several objectives: one value per objective; the hypervolume is measured up to this point",
    )
    constraints: Constraints | None = None
    preflight: PreflightMode | None = Field(
        default=None,
        description="what a preflight before the first trial does if it fails; default: warn for train, off for others",
    )

    preflight_rates: Literal["propose", "apply"] = Field(
        default="propose",
        description="apply: the search begins with the learning rates that its preflight proposes",
    )

    @property
    def objectives(self) -> tuple[Objective, ...]:
        """All objectives. A single-objective study has one."""
        return (self.objective,) if isinstance(self.objective, Objective) else tuple(self.objective)

    @property
    def directions(self) -> Directions:
        """The direction of each objective."""
        return tuple(objective.direction for objective in self.objectives)

    @property
    def primary_objective(self) -> Objective:
        """The objective by which training progress is judged: the only one, or the first of several."""
        return self.objectives[0]

    @property
    def task_kind(self) -> TaskKind:
        """The kind of task. A study without a task is external."""
        if self.task is None:
            return TaskKind.EXTERNAL
        return next(kind for kind in TaskKind if getattr(self.task, kind, None) is not None)

    @property
    def preflight_mode(self) -> PreflightMode:
        """What the preflight does to the first trial, with the default of the kind of task."""
        if self.preflight is not None:
            return self.preflight
        return "warn" if self.task_kind is TaskKind.TRAIN else "off"


ReferenceKind = Literal["official", "published", "human", "baseline"]
"""What a reference is, from the one that says most to the one that says least."""


class ReferenceValue(Response):
    """A value to compare the best one with: one that the spec gives, or a baseline that the preflight measured."""

    name: str
    """The kind, or the name of a measured baseline, such as linear."""
    kind: ReferenceKind
    value: float
    """Of the first objective."""
    note: str | None = None
    """Of a measured baseline: what limits the value."""


class BudgetUsed(Response):
    """How much of each budget the study has used so far, including budgets that it does not limit."""

    trials: int = Field(description="numbers handed out")
    hours: float
    device_hours: float
    resource: int = Field(default=0, description="steps of all search trials, those in training up to their next pause")
    failures: int
    since_improvement: int = Field(description="trials that ended after the best one")


class StudyView(Response):
    """A study: its spec, state, progress and best value."""

    id: str
    project: str
    name: str
    state: StudyState
    state_reason: str | None
    pause_cause: PauseCause | None = Field(default=None, description="what paused the study, if it is paused")
    notice: str | None = Field(default=None, description="a note for users: what the service changed, and why")
    stop_requested: bool
    revision: int
    spec_version: int
    spec: StudySpec
    num_trials: dict[TrialState, int]
    budget_trials: int | None = Field(default=None, description="budget of search trials; none: unlimited")
    budget_used: BudgetUsed
    best: TrialView | None = Field(description="completed trial with the best value; none with several objectives")
    pareto_front: list[int] | None = Field(
        default=None, description="with several objectives: numbers of the completed trials that no other one dominates"
    )
    no_worker_reason: str | None = Field(
        default=None, description="why no live worker gets trials of the study; only in the answer for one active study"
    )
    exclusions: list[HostExclusion] = Field(
        default=[], description="hosts that get no trials of the study; only in the answer for one study"
    )
    reference_summary: str | None = Field(
        default=None, description="a sentence that compares the best value with `references`"
    )
    references: list[ReferenceValue] = Field(
        default=[],
        description="what to compare the best value with: official, published and human values, then baselines",
    )
    findings: list[Finding] = Field(
        default=[], description="what the results show, the gravest first; only in the answer for one study"
    )
    preflight: PreflightSummary | None = Field(default=None, description="its newest preflight, if it has one")
    created_at: datetime
    finished_at: datetime | None


class ParetoFront(Response):
    """The Pareto front: the completed trials that no other completed trial dominates."""

    objectives: list[Objective]
    trials: list[TrialView]
    """Ordered by trial number."""
    reference_point: list[float] | None
    """The study's reference point. By default the worst value of each objective among the completed trials, if any."""
    hypervolume: float | None
    """The hypervolume of the Pareto front up to the reference point, in the product of the objectives' units.

    None: no trial is completed, or the value is too large for a float.
    """


class StudyList(Response):
    """Studies, newest first."""

    studies: list[StudyView]
    damaged: list[DamagedRow] = Field(default=[], description="studies that cannot be read from the database")


class ReasonRequest(Request):
    """Why a study is paused, resumed or stopped. The reason is recorded in the study's journal."""

    reason: str = ""


class DeleteReply(Response):
    """The deleted study. Its name can be used again."""

    id: str
    name: str


class ExtendRequest(Request):
    """Raise at least one budget. A finished study becomes active again."""

    trials: Count | None = Field(default=None, description="new total number of search trials")
    hours: float | None = Field(default=None, gt=0)
    device_hours: float | None = Field(default=None, gt=0)
    resource: Count | None = Field(default=None, description="new limit of steps of all search trials together")
    failures: Count | None = None
    target: float | None = Field(default=None, description="a better value than the target so far")
    no_improvement: Count | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.model_fields_set:
            raise ValueError(f"name a budget to extend: {', '.join(type(self).model_fields)}")
        return self


class EditRequest(Request):
    """A new spec for a study, edited from a version of its spec.

    The service refuses it if that version is no longer the current one.
    """

    spec: StudySpec
    version: int = Field(ge=1, description="the study's `spec_version` that the spec was made from")


class EnqueueRequest(Request):
    """A configuration to try before the sampler's own suggestions."""

    parameters: dict[str, Value]
    priority: Priority = 0


class EnqueueReply(Response):
    """The position of the configuration in the queue."""

    id: str
    num_ahead: int


class Event(Response):
    """One journal row: what happened, to which trial and attempt, and at which revision."""

    revision: int
    kind: str
    at: datetime
    trial: int | None
    attempt: int | None
    data: dict[str, Any]


class EventList(Response):
    """Journal rows in order."""

    events: list[Event]
    damaged: list[DamagedRow] = Field(default=[], description="events that cannot be read from the database")
