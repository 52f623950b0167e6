"""The search space on the wire: one model per type of parameter, each of which checks itself.

The domain layer checks rules that span parameters: conditions, and keys that have no effect on the task.
"""

from __future__ import annotations

import math
import sys
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from service.contract.base import Request, Scalar, Value
from service.contract.storable import MAX_INTEGER
from service.contract.validation_errors import quote

MAX_PARAMETERS = 256
"""The largest number of parameters of a space, conditional ones included."""

MAX_CHOICES = 1_000
"""The largest number of choices of a categorical parameter, and of values that a condition lists."""

MAX_CONDITIONS = 64
"""The largest number of parameters in the condition of one parameter."""

MAX_POINTS = 10_000
"""The largest number of points of a range that a grid tries."""

_FINEST_STEP = 1e-14
"""The smallest step, as a share of the largest bound. With less, neighbours are equal in the 15 digits kept."""

_LEAST_WIDTH = 1e-300
"""The smallest width of a range, so that fractions of it are representable too."""

_LEAST_LOG = 10 * sys.float_info.min
"""The smallest bound of a log range. The decade below it, where zero is placed, must be representable too."""


class Interval(Request):
    """A condition on a number: it lies in [low, high]. An omitted bound is open."""

    low: float | None = None
    high: float | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.low is None and self.high is None:
            raise ValueError("a range needs low, high or both, as in {low: 3}")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"low must not be above high, got low {self.low:g} and high {self.high:g}")
        return self


Condition = Scalar | Annotated[list[Scalar], Field(max_length=MAX_CHOICES)] | Interval
"""A condition on another parameter: this value, one of these values, or a number in this range."""

When = Annotated[dict[str, Condition], Field(max_length=MAX_CONDITIONS)]
"""The parameter exists only if every named parameter exists and meets its condition."""


class FloatParameter(Request):
    """A real number in [low, high], on a log scale or in steps of `step` from `low` if declared.

    A log range may include zero as one more value, below `low`.
    """

    type: Literal["float"]
    low: float
    high: float
    log: bool = False
    step: float | None = Field(default=None, gt=0)
    zero: bool = Field(default=False, description="whether 0 is a value too, below a log range")
    points: int | None = Field(default=None, ge=2, le=MAX_POINTS, description="values of the range that a grid tries")
    when: When | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.zero and not self.log:
            raise ValueError("zero adds 0 to a log range; write log: true too, or let the range begin at 0")
        _check_range(self.low, self.high, log=self.log)
        if self.log and self.step is not None:
            raise ValueError("log and step exclude each other; drop one of them")
        if self.step is not None:
            self._check_step(self.step)
        return self

    def _check_step(self, step: float) -> None:
        # 0.3 - 0.2 falls short of 0.1 by a rounding error.
        if step > (self.high - self.low) * (1 + 1e-9):
            raise ValueError(f"step {step:g} is wider than the range [{self.low:g}, {self.high:g}]")
        finest = _FINEST_STEP * max(abs(self.low), abs(self.high))
        if step < finest:
            raise ValueError(f"step {step:g} is too small for numbers up to {finest / _FINEST_STEP:g}; leave step out")


class IntParameter(Request):
    """An integer in [low, high], on a log scale or in steps of `step` from `low` if declared."""

    type: Literal["int"]
    low: int
    high: int
    log: bool = False
    step: int = Field(default=1, ge=1)
    points: int | None = Field(default=None, ge=2, le=MAX_POINTS, description="values of the range that a grid tries")
    when: When | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        _check_range(self.low, self.high, log=self.log)
        if self.log and self.step != 1:
            raise ValueError("log and step exclude each other; drop one of them")
        if self.step != 1 and self.high - self.low > MAX_INTEGER:
            raise ValueError(f"a range with a step spans 2^53 at most, got {self.low} to {self.high}; drop the step")
        return self


class CategoricalParameter(Request):
    """One of `choices`. If `ordered`, neighbours in the list are similar."""

    type: Literal["categorical"]
    choices: list[Value] = Field(min_length=1, max_length=MAX_CHOICES)
    ordered: bool = False
    when: When | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        seen: set[tuple[bool, Scalar | tuple[Scalar, ...]]] = set()
        for choice in self.choices:
            # 1 and 1.0 are one setting, but 1 and true are two, although Python treats all three as equal.
            key = isinstance(choice, bool), tuple(choice) if isinstance(choice, list) else choice
            if key in seen:
                raise ValueError(f"choice {quote(choice)} is listed twice")
            seen.add(key)
        return self


class ConstantParameter(Request):
    """One fixed value, set in every configuration, or in those that meet the condition."""

    type: Literal["constant"]
    value: Value
    when: When | None = None


NumericParameter = FloatParameter | IntParameter

Parameter = Annotated[NumericParameter | CategoricalParameter | ConstantParameter, Field(discriminator="type")]

Space = Annotated[dict[str, Parameter], Field(max_length=MAX_PARAMETERS)]
"""Dotted path into the task's configuration -> its domain."""


def _check_range(low: float, high: float, *, log: bool) -> None:
    if low >= high:
        raise ValueError(f"low must be below high, got low {low:g} and high {high:g}")
    if not (math.isfinite(high - low) and math.isfinite(high + low)):
        # Samplers use the width and the midpoint.
        raise ValueError(
            f"the range from {low:g} to {high:g} is too wide or too far out for numbers up to 1.8e+308; narrow it, "
            "or search the logarithm of the value"
        )
    if high - low < _LEAST_WIDTH:
        raise ValueError(f"the range from {low:g} to {high:g} is narrower than {_LEAST_WIDTH:g}; widen it")
    if log:
        _check_log_range(low, high)


def _check_log_range(low: float, high: float) -> None:
    if low <= 0:
        raise ValueError(
            f"a log range must start above 0, got low {low:g}; write the smallest value that matters, "
            "and zero: true to try 0 as well"
        )
    if low < _LEAST_LOG:
        raise ValueError(f"a log range must start at {_LEAST_LOG:.1e} or above, got low {low:g}; raise it")
    if not math.isfinite(high / low):
        raise ValueError(f"a log range spans 308 decades at most, got low {low:g} and high {high:g}; narrow it")
