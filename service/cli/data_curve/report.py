"""The report of `study data-curve`: the measured errors, what more data would give, and the sentence about it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel

from service.cli.data_curve.fit import Fit, fit_power_law
from service.client.errors import ClientError

Verdict = Literal["more_data_helps", "no_gain_beyond_noise", "training_error_is_high"]

_FACTORS = (2, 4)
_HIGH_SHARE = 0.75
"""From this share of the validation error on, the training error says that the model, not the data, is the limit."""


class Trained(BaseModel):
    """One training, as the worker tells it."""

    fraction: float
    seed: int
    num_examples: int
    value: float | None
    train_value: float | None
    num_done: int
    num_total: int


class Point(BaseModel):
    """The trainings on one part of the training examples."""

    fraction: float
    num_examples: int
    values: list[float]
    """The objective on validation examples, one for each seed."""
    mean: float
    std: float
    """Between seeds."""
    train_mean: float | None
    """The same on training examples."""


class Expected(BaseModel):
    """The objective expected of more data, with its interval of 90 %."""

    factor: int
    num_examples: int
    value: float
    low: float
    high: float


class DataCurveReport(BaseModel):
    """What more training data would give."""

    format: int = 1
    source: str
    metric: str
    is_maximized: bool
    num_seeds: int
    points: list[Point]
    expected: list[Expected]
    exponent: float
    """Of the power law by which the error falls."""
    noise: float
    """The standard deviation between two trainings on the same data."""
    verdict: Verdict
    sentence: str


def data_curve_report(source: str, metric: str, trained: Sequence[Trained], *, is_maximized: bool) -> DataCurveReport:
    """Return the report of all trainings.

    Args:
        source: the study file.
        metric: the objective.
        trained: all trainings, with the same seeds on each part.
        is_maximized: whether a larger value is better.

    Raises:
        ClientError: a training has no finite value, or the parts do not differ.
    """
    fractions = sorted({each.fraction for each in trained})
    parts = [[each for each in trained if each.fraction == fraction] for fraction in fractions]
    if any(each.value is None or not math.isfinite(each.value) for each in trained):
        raise ClientError(f"{source}: a training has no finite {metric}, so there is no curve; see study lr-range")
    points = [_point(part) for part in parts]
    sizes = [point.num_examples for point in points]
    if len(set(sizes)) < len(sizes):
        raise ClientError(f"{source}: the parts of the data have {sizes} examples, too few to compare")
    best = max if is_maximized else min
    # A score of at most 1 becomes the error 1 - score, of at least 0; other scores have no lowest error.
    is_share = is_maximized and all(value <= 1 for point in points for value in point.values)
    top = 1.0 if is_share else 0.0
    lowest = 0.0 if is_share or (not is_maximized and all(v >= 0 for p in points for v in p.values)) else None
    sign = -1 if is_maximized else 1
    errors = [[sign * (value - top) for value in point.values] for point in points]
    fit = fit_power_law(sizes, errors, [factor * sizes[-1] for factor in _FACTORS], lowest=lowest)
    expected = []
    for factor, each in zip(_FACTORS, fit.predictions, strict=True):
        ends = sorted(top + sign * value for value in (each.low, each.high))
        value = best(points[-1].mean, top + sign * each.error)  # more data does not make it worse
        expected.append(
            Expected(
                factor=factor, num_examples=each.num_examples, value=value, low=min(ends[0], value),
                high=max(ends[1], value),
            )
        )  # fmt: skip
    error = errors[-1]
    train = points[-1].train_mean
    train_error = None if train is None else sign * (train - top)
    verdict = _verdict(fit, sum(error) / len(error), train_error, is_bounded=lowest is not None)
    return DataCurveReport(
        source=source,
        metric=metric,
        is_maximized=is_maximized,
        num_seeds=len(parts[-1]),
        points=points,
        expected=expected,
        exponent=fit.law.c,
        noise=fit.noise,
        verdict=verdict,
        sentence=_sentence(verdict, metric, points, expected, fit),
    )


def _point(part: Sequence[Trained]) -> Point:
    values = [each.value for each in part if each.value is not None]
    mean = sum(values) / len(values)
    spread = sum((value - mean) ** 2 for value in values) / max(1, len(values) - 1)
    train = [each.train_value for each in part if each.train_value is not None]
    return Point(
        fraction=part[0].fraction,
        num_examples=part[0].num_examples,
        values=values,
        mean=mean,
        std=spread**0.5,
        train_mean=sum(train) / len(train) if train else None,
    )


def _verdict(fit: Fit, error: float, train_error: float | None, *, is_bounded: bool) -> Verdict:
    """Decide what the curve says; a gain of four times the data below the noise of a training is none."""
    gain = error - fit.predictions[-1].error
    if gain > fit.noise:
        return "more_data_helps"
    is_high = is_bounded and train_error is not None and error > 0 and train_error >= _HIGH_SHARE * error
    return "training_error_is_high" if is_high else "no_gain_beyond_noise"


def _sentence(verdict: Verdict, metric: str, points: Sequence[Point], expected: Sequence[Expected], fit: Fit) -> str:
    now, last = points[-1], expected[-1]
    expectations = " and ".join(
        f"{_words(each.factor)} the data about {each.value:.4g} ({each.low:.4g} to {each.high:.4g})"
        for each in expected
    )
    if verdict == "more_data_helps":
        return f"More data would help: {metric} is {now.mean:.4g} with {now.num_examples:,} examples; {expectations}."
    nothing = (
        f"More data would gain nothing beyond noise: {metric} is {now.mean:.4g} with {now.num_examples:,} examples, "
        f"and four times the data would give about {last.value:.4g} ({last.low:.4g} to {last.high:.4g}), a smaller "
        f"difference than between two trainings (±{fit.noise:.2g})."
    )
    if verdict == "training_error_is_high":
        return (
            f"{nothing} The error on training examples is nearly as high ({metric.replace('val/', 'train/', 1)} "
            f"{now.train_mean:.4g}): a larger model, longer training, less regularisation or better features help, "
            "not data."
        )
    return nothing


def _words(factor: int) -> str:
    return {2: "twice", 4: "four times"}[factor]
