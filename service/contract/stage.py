"""The stages of a coarse-to-fine study on the wire: which box each searches, why, and what a person said to it."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import Field

from service.contract.base import DamagedRow, Request, Response, Value

Box = dict[str, list[Value]]
"""Parameter -> what it ranges over: the two ends of a number, or the choices that are left."""


class Review(StrEnum):
    """How far a person's look at a box has come."""

    PROPOSED = "proposed"
    ACCEPTED = "accepted"
    EDITED = "edited"


class StageView(Response):
    """A stage after the first: its box, how that came about, and whether a person looked at it."""

    number: int
    """Counted from 0, as a trial's `stage`."""
    box: Box
    reason: str
    review: Review | None
    """None: nobody was asked."""
    decided_at: datetime


class StageList(Response):
    """The trail of a study: its stages after the first, as far as they were decided."""

    num_stages: int
    """How many stages the study has, the first included; 0: its sampler has none."""
    stages: list[StageView]
    damaged: list[DamagedRow] = Field(default=[], description="stages that cannot be read from the database")


class ReviewRequest(Request):
    """Accept the box that was proposed, or another in its place."""

    box: Box = Field(default={}, description="what is to be otherwise; every other parameter is as proposed")
