"""The pruners on the wire: who stops hopeless trials, and with which options."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from service.contract.base import Request, by_name


class NoPruner(Request):
    """Never stops a trial."""

    name: Literal["none"]


class MedianPruner(Request):
    """Stops a trial whose best value so far is worse than the median of the others at the same step."""

    name: Literal["median"]
    startup_trials: int = Field(default=5, ge=1, description="trials that must reach a step before it is judged")
    warmup_steps: int = Field(default=2, ge=0, description="steps before which nobody is judged")


class AshaPruner(Request):
    """A scheduler: all trials train to the first rung, the best part of each rung trains on (Li et al. 2020)."""

    name: Literal["asha"]
    eta: int = Field(default=3, ge=2, description="one of so many goes on; rungs are this factor apart")
    min: int | None = Field(default=None, ge=1, description="step of the first rung; default: the maximum / eta²")
    mode: Literal["promote", "stop"] = Field(
        default="promote", description="pause at each rung and resume the best later, or decide on arrival for good"
    )


class HyperbandPruner(Request):
    """A scheduler: ASHA in several brackets, each of which begins to choose at a later rung (Li et al. 2018)."""

    name: Literal["hyperband"]
    eta: int = Field(default=3, ge=2, description="one of so many goes on; rungs are this factor apart")
    min: int | None = Field(default=None, ge=1, description="step of the first rung; default: the maximum / eta²")
    mode: Literal["promote", "stop"] = Field(
        default="promote", description="pause at each rung and resume the best later, or decide on arrival for good"
    )


Scheduler = AshaPruner | HyperbandPruner
"""The pruners that also decide who trains to which rung."""

PrunerSpec = Annotated[
    Annotated[NoPruner | MedianPruner | AshaPruner | HyperbandPruner, Field(discriminator="name")],
    BeforeValidator(by_name),
]
