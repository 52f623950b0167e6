"""The result of a preflight on the wire: what a worker's checks found before a study spends its budget."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from service.contract.base import Quoted, Request, Value

MAX_CHECKS = 100
"""The largest number of checks in one result."""

MAX_CURVES = 20
"""The largest number of curves of one check."""

MAX_CURVE_POINTS = 1_000
"""The largest number of points of one curve."""

NOT_COMPLETED = "not completed"
"""The note of a baseline begins with it if its time limit ended the fit; then its value is below what it could be."""

MAX_BASELINES = 20
"""The largest number of baselines."""

MAX_BASELINE_METRICS = 10_000
"""The largest number of metrics of one baseline: several may be of each class."""

PreflightMode = Literal["require", "review", "warn", "off"]
"""What holds the first trial back: a failed preflight, any preflight until a user resumes the study, or none.

With `warn` the search begins whatever the preflight says. With `off` there is no preflight.
"""


class CheckStatus(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    WARNED = "warned"
    FAILED = "failed"
    NOT_RUN = "not_run"


class Curve(Request):
    """What a check measured, to be plotted: `y` over `x`."""

    name: str = Field(min_length=1, max_length=128)
    x_label: str = Field(max_length=128)
    y_label: str = Field(max_length=128)
    x: list[float] = Field(max_length=MAX_CURVE_POINTS)
    y: list[float | None] = Field(max_length=MAX_CURVE_POINTS, description="null: not finite")
    log_x: bool = False


class Check(Request):
    """The result of one check: its status, what was seen, and what to do."""

    number: int = Field(ge=1, description="the check's position in docs/preflight.md; several may share it")
    name: str = Field(min_length=1, max_length=64)
    status: CheckStatus
    sentence: Quoted = Field(description="what was seen, with the number; of a check that was not run: why")
    figures: dict[str, Any] = Field(default={}, description="what was measured, by name; null: not finite")
    remedy: Quoted | None = None
    curves: Annotated[list[Curve], Field(max_length=MAX_CURVES)] = []


class LearningRateRange(Request):
    """What the learning-rate range test found (Smith 2017)."""

    falls: float = Field(gt=0, description="lowest tested rate at which the loss falls")
    steepest: float = Field(gt=0, description="rate at which it falls fastest")
    explodes: float | None = Field(default=None, gt=0, description="lowest tested rate at which it rises again")
    proposed: float = Field(gt=0, description="rate around which to begin a search")


class Baseline(Request):
    """What a simple model reaches on the validation examples of a study's data; docs/baselines.md lists them."""

    name: str = Field(min_length=1, max_length=64, description="majority, linear, hist_boosting, random_forest")
    model: str = Field(default="", max_length=300, description="the model in words; empty: none was fitted")
    metrics: dict[Annotated[str, Field(min_length=1, max_length=128)], float | None] = Field(
        default={},
        max_length=MAX_BASELINE_METRICS,
        description="by the names of a training's metrics; null: not finite",
    )
    seconds: float = Field(default=0.0, ge=0)
    note: Quoted | None = Field(default=None, description="what limits the values, or why there are none")


class MemoryLimit(Request):
    """A configuration that ran out of a GPU's memory. One that is equal or larger needs at least as much."""

    parameters: dict[str, Value] = Field(description="its values, without those that change no memory")
    larger: list[str] = Field(
        default=[],
        max_length=MAX_CHECKS,
        description="those of which a larger value needs more memory; the others count only if equal",
    )
    gpu_memory_gib: float = Field(gt=0, description="memory of the GPU that it ran out of")


class PreflightResult(Request):
    """The results of all checks, in order, and what they measured for the plan."""

    checks: list[Check] = Field(min_length=1, max_length=MAX_CHECKS)
    seconds: float = Field(ge=0, description="how long the checks took")
    seconds_per_epoch: float | None = Field(default=None, ge=0, description="of the centre of the space")
    peak_memory_bytes: int | None = Field(default=None, ge=0, description="the largest of centre and corners")
    learning_rate: LearningRateRange | None = None
    infeasible: list[dict[str, Any]] = Field(
        default=[], max_length=MAX_CHECKS, description="settings of the corners of the space that can't be trained here"
    )
    baselines: list[Baseline] = Field(
        default=[], max_length=MAX_BASELINES, description="simple models on the same data, to compare the search with"
    )
    batch_size: int | None = Field(default=None, ge=1, description="proposed batch size, for batch_size: auto")
    memory_limits: list[MemoryLimit] = Field(default=[], max_length=MAX_CHECKS)

    @property
    def status(self) -> CheckStatus:
        """The worst status of all checks that were run; `not_run` if none was."""
        for status in (CheckStatus.FAILED, CheckStatus.WARNED, CheckStatus.PASSED):
            if any(check.status is status for check in self.checks):
                return status
        return CheckStatus.NOT_RUN
