"""The decomposition of the test error on the wire: its parts, with intervals, and what to do about the largest."""

from __future__ import annotations

from enum import StrEnum

from service.contract.base import Response
from service.contract.finding import Remedy
from service.contract.report import Number


class PartName(StrEnum):
    """A part of the test error, in the order in which the parts add up."""

    IRREDUCIBLE = "irreducible"
    """The error of people, or the target: what no model is expected to improve on."""
    BIAS = "bias"
    """How much the training error is above it (underfitting)."""
    VARIANCE = "variance"
    """How much the validation error is above the training error (overfitting)."""
    SHIFT = "shift"
    """How much the error rises because test examples come from another distribution."""
    VALIDATION_OVERFITTING = "validation_overfitting"
    """How much the error rises on examples that chose nothing: the best of many trials was lucky in validation."""


class ErrorPart(Response):
    """One part of the test error. It is below 0 if the training error, say, is below that of people."""

    name: PartName
    value: Number
    low: Number
    """Lower end of the interval that holds the part with a probability of 95 %."""
    high: Number


class Decomposition(Response):
    """The test error of the best trial as a sum of parts."""

    trial: int
    """The number of the trial."""
    metric: str
    """The metric without its split, such as accuracy."""
    level: str
    """What the irreducible error is taken from: human or target."""
    is_share: bool
    """Whether errors are shares from 0 to 1, such as 1 - accuracy, and not losses."""
    error: Number
    """The error on the test split: the sum of the parts."""
    parts: list[ErrorPart]
    """In the order of `PartName`; without `shift` if the data has no split `test_val`."""
    largest: PartName | None
    """The largest part above 0 that work can reduce. None: no interval is wholly above 0."""
    sentence: str
    remedies: list[Remedy] = []
    """What reduces the largest part, in the order in which to try it."""
