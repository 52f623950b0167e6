"""Final objective values of a trial, computed from its reports and from the metrics at its end."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from service.contract.problem import FieldError
from service.contract.study import MeanOfLast, Objective, StudySpec
from service.domain.history import Series

PLAIN_LOSSES = ("cross_entropy", "mse")
"""The losses without options, one of which the built-in training reports for each split; lower is better."""


@dataclass(frozen=True, slots=True)
class ObjectiveResult:
    """The result of one objective of a trial."""

    metric: str
    last: float | None
    """The newest reported value; None if there was none."""
    value: float | None
    """The final value by the objective's rule; None if it is not finite."""
    is_finite: bool
    """Whether every reported value was finite."""

    @property
    def has_diverged(self) -> bool:
        """Whether the newest or the final value is missing or not finite, even if an earlier value was good."""
        return self.value is None or self.last is None or not math.isfinite(self.last)


def objective_results(
    objectives: Iterable[Objective], curves: Mapping[str, Series], measured: Mapping[str, float]
) -> list[ObjectiveResult]:
    """Return the result of each objective.

    Args:
        objectives: the study's objectives.
        curves: metric -> canonical series.
        measured: metric -> value in the attempt's outcome, used for metrics without a series.
    """
    return [_objective_result(objective, curves.get(objective.metric, ()), measured) for objective in objectives]


def _objective_result(objective: Objective, series: Series, measured: Mapping[str, float]) -> ObjectiveResult:
    values = [value for _, value in series]
    if series:
        value = final_value(objective, series)
    else:
        value = measured.get(objective.metric)
        values = [] if value is None else [value]
    return ObjectiveResult(
        metric=objective.metric,
        last=values[-1] if values else None,
        value=value if value is not None and math.isfinite(value) else None,
        is_finite=all(map(math.isfinite, values)),
    )


def final_value(objective: Objective, series: Series) -> float | None:
    """Compute the objective's value from the canonical series of its metric: last, best, or mean of the last k.

    Returns:
        None for an empty series, and for `best` if no value is finite. `last` and the mean are NaN or infinite if the
        values they are computed from are.
    """
    if not series:
        return None
    if isinstance(objective.value, MeanOfLast):
        last = [value for _, value in series[-objective.value.mean_of_last :]]
        return _mean(last)
    if objective.value == "last":
        return series[-1][1]
    finite = [value for _, value in series if math.isfinite(value)]
    if not finite:
        return None
    return max(finite) if objective.direction == "maximize" else min(finite)


def plain_losses_of(metric: str) -> tuple[str, ...]:
    """Return the names of the plain losses of the split that `metric` is measured on.

    "val/accuracy" has "val/cross_entropy" and "val/mse", of which a training reports one. A metric without a split, and
    a plain loss itself, have none.
    """
    split, slash, name = metric.partition("/")
    return tuple(f"{split}/{loss}" for loss in PLAIN_LOSSES) if slash and name not in PLAIN_LOSSES else ()


def tie_break_loss(objective: Objective, curves: Mapping[str, Series], measured: Mapping[str, float]) -> float | None:
    """Return the plain loss that decides between trials with equal final values; the lower loss wins.

    On a small validation set many trials have the same accuracy, and the loss tells them apart.

    Args:
        objective: the study's only objective.
        curves: metric -> canonical series, of the objective's metric and of its plain losses.
        measured: metric -> value in the attempt's outcome, used if the objective's metric has no series.

    Returns:
        The lowest finite loss at the steps that determine the final value: the steps with the best value, or else the
        last step. None if the trial reported no plain loss there.
    """
    series = curves.get(objective.metric, ())
    steps = {step for step, _ in series[-1:]}
    if objective.value == "best":
        best = final_value(objective, series)
        steps = {step for step, value in series if value == best}
    for name in plain_losses_of(objective.metric):
        losses = [loss for step, loss in curves.get(name, ()) if step in steps]
        if not series and name in measured:
            losses = [measured[name]]
        if finite := [loss for loss in losses if math.isfinite(loss)]:
            return min(finite)
    return None


def _mean(values: list[float]) -> float:
    """Return the mean; it is finite if all values are, even if their sum overflows."""
    mean = sum(values) / len(values)
    if math.isfinite(mean) or not all(map(math.isfinite, values)):
        return mean
    mean = 2 * math.fsum(value / len(values) / 2 for value in values)
    return min(max(values), max(min(values), mean))  # Rounding may leave the range of the values.


def is_better(objective: Objective, value: float, other: float) -> bool:
    """Return whether `value` is better than `other` in the objective's direction."""
    return value > other if objective.direction == "maximize" else value < other


def check_objectives(spec: StudySpec) -> list[FieldError]:
    """Check that reference point, target and reference values of a spec match its number of objectives."""
    errors = []
    if len(spec.objectives) == 1:
        if spec.reference_point is not None:
            message = "applies only to studies with several objectives, and this study has one; leave it out"
            errors.append(FieldError(path="reference_point", message=message))
        return errors
    if spec.budget.target is not None:
        message = "applies only to studies with one objective, and this study has several; leave it out"
        errors.append(FieldError(path="budget.target", message=message))
    if spec.reference is not None:
        message = "applies only to studies with one objective, and this study has several; leave it out"
        errors.append(FieldError(path="reference", message=message))
    if spec.reference_point is not None and len(spec.reference_point) != len(spec.objectives):
        metrics = ", ".join(objective.metric for objective in spec.objectives)
        message = f"has {len(spec.reference_point)} values; write one per objective, in their order: {metrics}"
        errors.append(FieldError(path="reference_point", message=message))
    return errors
