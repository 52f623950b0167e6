"""The search space on the wire: one model per kind of parameter, each checked on its own.

Rules that span parameters (conditions, keys that reach nothing) are the domain's.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from service.contract.base import Request, Scalar, Value


class Interval(Request):
    """A condition on a number: it lies in [low, high]; an end that is left out is open."""

    low: float | None = None
    high: float | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.low is None and self.high is None:
            raise ValueError("a range needs low, high or both, as in {low: 3}")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low must not be above high, got low {self.low:g} and high {self.high:g}")
        return self


Condition = Scalar | list[Scalar] | Interval
"""What another parameter must be: this value, one of these, or a number in this range."""

When = dict[str, Condition]
"""The parameter exists only if every named parameter exists and meets its condition."""


class FloatParameter(Request):
    """A real number in [low, high]; in log space, or on a lattice of width `step`, where declared.

    A log range may have zero as one more value, below `low`.
    """

    type: Literal["float"]
    low: float
    high: float
    log: bool = False
    step: float | None = Field(default=None, gt=0)
    zero: bool = Field(default=False, description="0 too, below a log range")
    points: int | None = Field(default=None, ge=2, description="values of the range that a grid tries")
    when: When | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.zero and not self.log:
            raise ValueError("zero adds 0 to a log range; write log: true too, or let the range begin at 0")
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
    points: int | None = Field(default=None, ge=2, description="values of the range that a grid tries")
    when: When | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_range(self.low, self.high, log=self.log)
        if self.log and self.step != 1:
            raise ValueError("log and step exclude each other; drop one of them")
        return self


class CategoricalParameter(Request):
    """One of `choices`; where they are `ordered`, neighbours in the list are alike."""

    type: Literal["categorical"]
    choices: list[Value] = Field(min_length=1)
    ordered: bool = False
    when: When | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        seen: set[tuple[bool, Scalar | tuple[Scalar, ...]]] = set()
        for choice in self.choices:
            # 1 and 1.0 are one setting, 1 and true are two, whatever Python thinks.
            key = isinstance(choice, bool), tuple(choice) if isinstance(choice, list) else choice
            if key in seen:
                raise ValueError(f"choice {choice!r} is listed twice")
            seen.add(key)
        return self


class ConstantParameter(Request):
    """One fixed value: what every configuration sets, or each that meets its condition."""

    type: Literal["constant"]
    value: Value
    when: When | None = None


NumericParameter = FloatParameter | IntParameter

Parameter = Annotated[NumericParameter | CategoricalParameter | ConstantParameter, Field(discriminator="type")]

Space = dict[str, Parameter]
"""Dotted path into the task's configuration -> its domain."""


def _check_range(low: float, high: float, *, log: bool) -> None:
    if low >= high:
        raise ValueError(f"low must be below high, got low {low:g} and high {high:g}")
    if log and low <= 0:
        raise ValueError(
            f"a log range must start above 0, got low {low:g}; write the smallest value that matters, "
            "and zero: true to try 0 as well"
        )
