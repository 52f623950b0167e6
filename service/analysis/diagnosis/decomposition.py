"""Decomposition of the test error of a study's best trial into parts that different remedies reduce."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from service.analysis.diagnosis.error_remedies import REMEDIES
from service.analysis.diagnosis.facts import StudyFacts
from service.analysis.diagnosis.sampling_error import Measured, Z, error_of, is_share, measured
from service.contract.decomposition import Decomposition, ErrorPart, PartName
from service.contract.study import StudySpec
from service.contract.trial import TrialState
from service.domain.history import TrialRecord
from service.domain.other_data import stages_on_other_data

_LEAST_TRAIN_SAMPLE = 256
"""The training core measures `train/…` on as many training examples as validate, and at least on this many."""

_LEAST_OTHERS = 5
"""Smallest number of other trials from which the optimism of the best trial's validation is estimated."""

_WORDS = {
    PartName.IRREDUCIBLE: "irreducible",
    PartName.BIAS: "bias",
    PartName.VARIANCE: "variance",
    PartName.SHIFT: "distribution shift",
    PartName.VALIDATION_OVERFITTING: "overfitting of the validation split",
}


def decompose(facts: StudyFacts) -> Decomposition | None:
    """Split the test error of the best trial into irreducible error, bias, variance, shift and validation overfitting.

    As in the lecture "Troubleshooting deep neural networks" (Full Stack Deep Learning), the parts are the differences
    between the errors of people, on training, validation, `test_val` and test examples, so they add up to the test
    error. The best trial's validation error is too low because that trial was chosen by it: this optimism, too, is
    validation overfitting.

    Returns:
        None if the study has several objectives, no human value or target, or no measurement of the best trial on
        training, validation and test examples of known number.
    """
    spec = facts.spec
    if len(spec.objectives) != 1:
        return None
    split, _, metric = spec.primary_objective.metric.partition("/")
    best = facts.history.best(spec.primary_objective.direction, stages_on_other_data(spec))
    level = _level(spec)
    if best is None or level is None or split not in {"val", "test_val"} or not metric:
        return None
    is_maximized = spec.primary_objective.direction == "maximize"
    name, value = level
    floor = error_of(metric, value, is_maximized=is_maximized)
    errors = _errors(facts, best, metric, is_maximized=is_maximized)
    if floor is None or errors is None:
        return None
    exact = Measured(floor, floor, floor)
    parts = {PartName.IRREDUCIBLE: exact, PartName.BIAS: errors.train.minus(exact)}
    parts |= {PartName.VARIANCE: errors.val.minus(errors.train)}
    if errors.test_val is None:
        parts |= {PartName.VALIDATION_OVERFITTING: errors.test.minus(errors.val)}
    elif split == "test_val" or (others := _gaps_of_others(facts, best, metric, is_maximized=is_maximized)) is None:
        parts |= {PartName.SHIFT: errors.test_val.minus(errors.val)}
        parts |= {PartName.VALIDATION_OVERFITTING: errors.test.minus(errors.test_val)}
    else:
        parts |= _without_optimism(errors.val, errors.test_val, errors.test, others)
    if not all(math.isfinite(part.low) and math.isfinite(part.high) for part in parts.values()):
        return None
    return _describe(facts, best, metric, name, parts)


@dataclass(frozen=True, slots=True)
class _Errors:
    """The errors of one trial on the splits."""

    train: Measured
    val: Measured
    test: Measured
    test_val: Measured | None


def _level(spec: StudySpec) -> tuple[str, float] | None:
    """Return the name and the value that people reach, or else the target."""
    if spec.reference is not None and spec.reference.human is not None:
        return "human", spec.reference.human
    return None if spec.budget.target is None else ("target", spec.budget.target)


def _errors(facts: StudyFacts, best: TrialRecord, metric: str, *, is_maximized: bool) -> _Errors | None:
    """Return the errors of the best trial; None if one is missing or the number of its examples is not known."""
    of_trial = facts.metrics.get(best.number, {})
    num_val, num_test = facts.num_validation, facts.num_test
    values = _errors_by_split(of_trial, metric, is_maximized=is_maximized)
    if not num_val or not num_test or not {"train", "val", "test"} <= set(values):
        return None
    num_sample = max(num_val, _LEAST_TRAIN_SAMPLE)
    if facts.num_train:
        num_sample = min(num_sample, facts.num_train)
    test_val = None
    if "test_val" in values and facts.num_test_val:
        test_val = measured(metric, values["test_val"], facts.num_test_val)
    return _Errors(
        measured(metric, values["train"], num_sample, of=facts.num_train or None),
        measured(metric, values["val"], num_val),
        measured(metric, values["test"], num_test),
        test_val,
    )


def _errors_by_split(metrics: Mapping[str, float], metric: str, *, is_maximized: bool) -> dict[str, float]:
    """Return split -> error, for the splits on which the metric was measured."""
    found = {}
    for split in ("train", "val", "test_val", "test"):
        value = metrics.get(f"{split}/{metric}")
        error = None if value is None else error_of(metric, value, is_maximized=is_maximized)
        if error is not None:
            found[split] = error
    return found


def _gaps_of_others(facts: StudyFacts, best: TrialRecord, metric: str, *, is_maximized: bool) -> list[float] | None:
    """Return by how much the error on test_val exceeds that on val, of the better half of the other trials.

    They share the best trial's shift and both splits, but none was chosen for its luck on val.
    """
    left_out = stages_on_other_data(facts.spec)
    rows = []
    for trial in facts.history.trials:
        if trial.state is not TrialState.COMPLETED or trial.number == best.number or trial.stage in left_out:
            continue
        errors = _errors_by_split(facts.metrics.get(trial.number, {}), metric, is_maximized=is_maximized)
        if {"val", "test_val"} <= set(errors):
            rows.append((errors["val"], errors["test_val"] - errors["val"]))
    rows.sort()
    better = [gap for _, gap in rows[: max(_LEAST_OTHERS, len(rows) // 2)]]
    return better if len(better) >= _LEAST_OTHERS else None


def _without_optimism(val: Measured, test_val: Measured, test: Measured, gaps: list[float]) -> dict[PartName, Measured]:
    """Return shift and validation overfitting where val chose the trial: its optimism is no shift.

    Args:
        val: the best trial's error on val.
        test_val: its error on test_val, which chose nothing.
        test: its error on test.
        gaps: test_val - val of the other trials.
    """
    typical, spread = statistics.median(gaps), statistics.stdev(gaps)
    sampling, mean_half = test_val.minus(val), Z * spread / math.sqrt(len(gaps))
    shift = Measured(
        typical,
        typical - math.hypot(sampling.error - sampling.low, mean_half),
        typical + math.hypot(sampling.high - sampling.error, mean_half),
    )
    optimism = sampling.error - typical
    half = math.hypot(Z * spread, mean_half)
    own = Measured(optimism, optimism - half, optimism + half)
    return {PartName.SHIFT: shift, PartName.VALIDATION_OVERFITTING: own.plus(test.minus(test_val))}


def _describe(
    facts: StudyFacts, best: TrialRecord, metric: str, level: str, parts: Mapping[PartName, Measured]
) -> Decomposition:
    error = sum(each.error for each in parts.values())
    reducible = [name for name in parts if name is not PartName.IRREDUCIBLE and parts[name].low > 0]
    largest = max(reducible, key=lambda name: parts[name].error, default=None)
    num_chosen_from = sum(trial.state is TrialState.COMPLETED for trial in facts.history.trials)
    listed = ", ".join(
        f"{_figure(metric, each.error)} {_WORDS[name]}{f' ({level})' if name is PartName.IRREDUCIBLE else ''}"
        for name, each in parts.items()
    )
    sentence = f"The test error of trial {best.number} ({metric}) is {_figure(metric, error)}: {listed}."
    if largest is None:
        sentence += " No part is certain to be above 0."
    else:
        part = parts[largest]
        between = f"{_figure(metric, part.low)} to {_figure(metric, part.high)}"
        words = _WORDS[largest]
        sentence += f" {words[0].upper()}{words[1:]} is the largest part that can be reduced ({between})."
        if largest is PartName.VALIDATION_OVERFITTING:
            sentence += f" The validation split chose among {num_chosen_from} trials."
    return Decomposition(
        trial=best.number,
        metric=metric,
        level=level,
        is_share=is_share(metric),
        error=error,
        parts=[ErrorPart(name=name, value=each.error, low=each.low, high=each.high) for name, each in parts.items()],
        largest=largest,
        sentence=sentence,
        remedies=[] if largest is None else list(REMEDIES[largest]),
    )


def _figure(metric: str, error: float) -> str:
    return f"{100 * error:.1f} %" if is_share(metric) else f"{error:.4g}"
