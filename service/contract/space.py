"""The search space on the wire: one model per kind of parameter, each checked on its own.

Rules that span parameters (conditions, keys that reach nothing) are the domain's.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from service.contract.base import Request, Scalar, Value

When = dict[str, Scalar | list[Scalar]]
"""Condition: the parameter exists only if every named parameter has (one of) the given value(s)."""


class FloatParameter(Request):
    """A real number in [low, high]; in log space, or on a lattice of width `step`, where declared."""

    type: Literal["float"]
    low: float
    high: float
    log: bool = False
    step: float | None = Field(default=None, gt=0)
    points: int | None = Field(default=None, ge=2, description="cells a grid divides the range into")
    when: When | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_range(self.low, self.high, log=self.log)
        if self.log and self.step is not None:
            raise ValueError("log and step exclude each other; drop one of them")
        # 0.3 - 0.2 falls short of 0.1 by a rounding error.
        if self.step is not None and self.step > (self.high - self.low) * (1 + 1e-9):
            raise ValueError(f"step {self.step:g} is wider than the range [{self.low:g}, {self.high:g}]")
        return self


class IntParameter(Request):
    """A whole number in [low, high]; in log space, or on a lattice of width `step`, where declared."""

    type: Literal["int"]
    low: int
    high: int
    log: bool = False
    step: int = Field(default=1, ge=1)
    points: int | None = Field(default=None, ge=2, description="cells a grid divides the range into")
    when: When | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_range(self.low, self.high, log=self.log)
        if self.log and self.step != 1:
            raise ValueError("log and step exclude each other; drop one of them")
        return self


class CategoricalParameter(Request):
    """One of `choices`."""

    type: Literal["categorical"]
    choices: list[Value] = Field(min_length=1)
    when: When | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        seen: list[tuple[bool, Value]] = []
        for choice in self.choices:
            # 1 and 1.0 are one setting, 1 and true are two, whatever Python thinks.
            if (isinstance(choice, bool), choice) in seen:
                raise ValueError(f"choice {choice!r} is listed twice")
            seen.append((isinstance(choice, bool), choice))
        return self


Parameter = Annotated[FloatParameter | IntParameter | CategoricalParameter, Field(discriminator="type")]

Space = dict[str, Parameter]
"""Dotted path into the task's configuration -> its domain."""


def _check_range(low: float, high: float, *, log: bool) -> None:
    if low >= high:
        raise ValueError(f"low must be below high, got low {low:g} and high {high:g}")
    if log and low <= 0:
        raise ValueError(f"a log range must start above 0, got low {low:g}")
