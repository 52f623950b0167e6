"""Reports of metrics, and the verdicts that answer them, on the wire."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from service.contract.base import Request, Response


class NonFinite(Request):
    """A metric that is NaN or infinite. JSON has no literal for these values, so `status` carries them."""

    value: None = None
    status: Literal["nan", "inf", "-inf"]


Number = float | NonFinite
"""A metric's value on the wire."""


def to_wire(value: float) -> Number:
    """Convert a float to a value that JSON can carry."""
    if math.isfinite(value):
        return value
    return NonFinite(status="nan" if math.isnan(value) else "inf" if value > 0 else "-inf")


def from_wire(value: Number) -> float:
    """Convert a value from JSON back to a float."""
    return float(value.status) if isinstance(value, NonFinite) else float(value)


class Point(Request):
    """The metrics of one step."""

    step: int = Field(ge=0)
    metrics: dict[Annotated[str, Field(min_length=1, max_length=128)], Number] = Field(min_length=1)


class ReportRequest(Request):
    """A batch of intermediate values. `sequence` numbers the attempt's batches from 1, without gaps."""

    nonce: str
    sequence: int = Field(ge=1)
    points: list[Point] = Field(min_length=1, max_length=1000)


class Action(StrEnum):
    """What a worker should do with a trial."""

    CONTINUE = "continue"
    PAUSE = "pause"
    STOP = "stop"


class Verdict(Response):
    """The answer to a report: continue, pause or stop, with a reason. A repeated report gets the stored verdict."""

    action: Action
    reason: str
    step: int
