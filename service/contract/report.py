"""Reports and verdicts on the wire."""

from __future__ import annotations

import math
from enum import StrEnum
from typing import Annotated, Literal

from pydantic import Field

from service.contract.base import Request, Response


class NonFinite(Request):
    """A metric that is not a number: JSON has no literal for it, so it travels as its status."""

    value: None = None
    status: Literal["nan", "inf", "-inf"]


Number = float | NonFinite
"""A metric's value on the wire."""


def to_wire(value: float) -> Number:
    """Say a float so that JSON can carry it."""
    if math.isfinite(value):
        return value
    return NonFinite(status="nan" if math.isnan(value) else "inf" if value > 0 else "-inf")


def from_wire(value: Number) -> float:
    """Turn what JSON carried back into a float."""
    return float(value.status) if isinstance(value, NonFinite) else float(value)


class Point(Request):
    """The metrics of one step."""

    step: int = Field(ge=0)
    metrics: dict[Annotated[str, Field(min_length=1, max_length=128)], Number] = Field(min_length=1)


class ReportRequest(Request):
    """A batch of intermediate values; `sequence` counts the attempt's batches from 1, without a hole."""

    nonce: str
    sequence: int = Field(ge=1)
    points: list[Point] = Field(min_length=1, max_length=1000)


class Action(StrEnum):
    """What a worker is to do with a trial."""

    CONTINUE = "continue"
    PAUSE = "pause"
    STOP = "stop"


class Verdict(Response):
    """The answer to a report, with its reason; a replayed report gets the stored one."""

    action: Action
    reason: str
    step: int
