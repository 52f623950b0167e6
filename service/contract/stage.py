"""The stages of a coarse-to-fine study on the wire: the box that each stage searches, why, and its review."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from service.contract.base import DamagedRow, Request, Response, Value

Box = dict[str, list[Value]]
"""Parameter -> its range: the two bounds of a numeric parameter, or the remaining choices of a categorical one."""


class Review(StrEnum):
    """The status of a user's review of a box."""

    PROPOSED = "proposed"
    ACCEPTED = "accepted"
    EDITED = "edited"


class StageView(Response):
    """A stage after the first: its box, how the box was derived, and the status of its review."""

    number: int
    """Counted from 0, as a trial's `stage`."""
    box: Box
    reason: str
    review: Review | None
    """None: the study asks for no review."""
    decided_at: datetime


class StageList(Response):
    """The stage history of a study: the stages after the first whose boxes are decided so far."""

    num_stages: int
    """Number of stages of the study, the first included. 0: its sampler has no stages."""
    stages: list[StageView]
    damaged: list[DamagedRow] = Field(default=[], description="stages that cannot be read from the database")


class ReviewRequest(Request):
    """Accept the proposed box, or replace ranges of it."""

    box: Box = Field(default={}, description="parameters whose range differs from the proposal")
