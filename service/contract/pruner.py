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


PrunerSpec = Annotated[
    Annotated[NoPruner | MedianPruner, Field(discriminator="name")],
    BeforeValidator(by_name),
]
