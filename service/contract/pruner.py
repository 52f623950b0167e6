"""The pruners on the wire: which trials are stopped early, and with which options."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from service.contract.base import Count, Request, by_name


class NoPrunerSpec(Request):
    """Never stops a trial."""

    name: Literal["none"]


class MedianPrunerSpec(Request):
    """Stops a trial whose best value so far is worse than the median of the other trials at the same step."""

    name: Literal["median"]
    startup_trials: int = Field(
        default=5, ge=1, description="number of trials that must reach a step before the pruner judges trials at it"
    )
    warmup_steps: int = Field(default=2, ge=0, description="the pruner judges no trial before this step")


class PercentilePrunerSpec(Request):
    """Stops a trial whose best value so far is not in the best `percentile` percent at the same step."""

    name: Literal["percentile"]
    percentile: float = Field(default=25.0, gt=0, lt=100, description="percentage of trials that continue, best first")
    startup_trials: int = Field(
        default=5, ge=1, description="number of trials that must reach a step before the pruner judges trials at it"
    )
    warmup_steps: int = Field(default=2, ge=0, description="the pruner judges no trial before this step")


class ThresholdPrunerSpec(Request):
    """Stops a trial whose value leaves the range from `lower` to `upper`."""

    name: Literal["threshold"]
    lower: float | None = None
    upper: float | None = None
    warmup_steps: int = Field(default=0, ge=0, description="the pruner judges no trial before this step")

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.lower is None and self.upper is None:
            raise ValueError("a threshold needs a limit; write upper: 5.0, or lower, or both")
        if self.lower is not None and self.upper is not None and self.lower >= self.upper:
            raise ValueError(f"lower must be below upper, got lower {self.lower:g} and upper {self.upper:g}")
        return self


class PatiencePrunerSpec(Request):
    """Stops a trial that has not improved for `patience` steps."""

    name: Literal["patience"]
    patience: int = Field(default=10, ge=1, description="steps without improvement")
    min_delta: float = Field(default=0.0, ge=0, description="smallest change that counts as an improvement")


class AshaPrunerSpec(Request):
    """Asynchronous successive halving (ASHA, Li et al. 2020), a scheduler.

    All trials train to the first rung. The best 1/`eta` of each rung train on to the next.
    """

    name: Literal["asha"]
    eta: int = Field(
        default=3, ge=2, description="one of this many trials is promoted; the steps of the rungs differ by this factor"
    )
    min: int | None = Field(default=None, ge=1, description="step of the first rung; default: the maximum / eta²")
    mode: Literal["promote", "stop"] = Field(
        default="promote",
        description="promote: pause at each rung and resume the best later; stop: decide finally on arrival",
    )


class HyperbandPrunerSpec(Request):
    """Hyperband (Li et al. 2018), a scheduler: ASHA in several brackets, each with a later first rung."""

    name: Literal["hyperband"]
    eta: int = Field(
        default=3, ge=2, description="one of this many trials is promoted; the steps of the rungs differ by this factor"
    )
    min: int | None = Field(default=None, ge=1, description="step of the first rung; default: the maximum / eta²")
    mode: Literal["promote", "stop"] = Field(
        default="promote",
        description="promote: pause at each rung and resume the best later; stop: decide finally on arrival",
    )


class FreezeThawPrunerSpec(Request):
    """Freeze-thaw (after Swersky et al. 2014), a scheduler.

    Trials pause at each rung. A model of all learning curves decides whether to continue a paused trial or to begin a
    new one: whichever is expected to improve the final value more.
    """

    name: Literal["freeze_thaw"]
    rungs: list[Count] | None = Field(
        default=None,
        min_length=1,
        max_length=10,
        description="steps at which trials pause, ascending; default: a tenth and three tenths of the maximum",
    )
    mode: Literal["promote", "stop"] = Field(
        default="promote",
        description="stop: the service sets it if tasks save no checkpoints; the best third of each rung trains on",
    )


Scheduler = AshaPrunerSpec | HyperbandPrunerSpec | FreezeThawPrunerSpec
"""The pruners that also decide which trials train to which rung."""

_Pruners = NoPrunerSpec | MedianPrunerSpec | PercentilePrunerSpec | ThresholdPrunerSpec | PatiencePrunerSpec | Scheduler

PrunerSpec = Annotated[Annotated[_Pruners, Field(discriminator="name")], BeforeValidator(by_name)]
