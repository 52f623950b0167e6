"""A rule: the pruner decides at steps that say little about the end."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from service.analysis.diagnosis.facts import StudyFacts
from service.analysis.diagnosis.sampling_error import Z
from service.analysis.diagnosis.study_results import completed_trials, evidence, losses_of, rank_correlation
from service.contract.finding import Confidence, Finding, Remedy, RemedyName
from service.contract.pruner import NoPrunerSpec
from service.contract.study import StudySpec
from service.contract.trial import TrialState
from service.domain.history import Series

_FEWEST_PRUNED, _FEWEST_COMPLETED = 8, 12
"""Smallest numbers of pruned trials, and of completed trials with a value at the step at which they were pruned."""

_CORRELATION = 0.5
"""The rank correlation of that step with the end lies surely below this. At 0.5, one in six of the better half at the
end was among the worst third at the step."""

_LATE = 0.7
"""A pruner that decides after this share of the training decides by nearly all there is."""

_HIDDEN = 0.25
"""Share of the best third at the end that was in the worse half at the step."""


def pruner_too_eager(facts: StudyFacts) -> Finding | None:
    """Find a pruner that stops trials at a step whose order is not that of the end."""
    if isinstance(facts.spec.pruner, NoPrunerSpec):
        return None
    completed = completed_trials(facts)
    stopped = [
        trial.last_step for trial in facts.history.trials if trial.state is TrialState.PRUNED and trial.last_step
    ]
    if len(stopped) < _FEWEST_PRUNED or not completed:
        return None
    step = int(np.median(stopped))
    ends = [trial.last_step or 0 for trial in completed]
    if step > _LATE * float(np.median(ends)):
        return None
    sign = -1.0 if facts.spec.primary_objective.direction == "maximize" else 1.0
    pairs = [
        (trial, sign * reached)
        for trial in completed
        if (trial.last_step or 0) > step and math.isfinite(reached := _best_at(trial.series, step, sign))
    ]
    if len(pairs) < _FEWEST_COMPLETED:
        return None
    early, final = np.array([value for _, value in pairs]), losses_of(facts, [trial for trial, _ in pairs])
    correlation = rank_correlation(early, final)
    # Fisher's transformation, with the variance of ranks (Fieller, Hartley and Pearson 1957).
    highest = math.tanh(math.atanh(min(0.999999, correlation)) + Z * math.sqrt(1.06 / (len(pairs) - 3)))
    best_third = np.argsort(final, kind="stable")[: max(3, len(pairs) // 3)]
    num_hidden = int((early[best_third] > np.median(early)).sum())
    if highest >= _CORRELATION or num_hidden < _HIDDEN * len(best_third):
        return None
    found = _Order(step, len(stopped), len(pairs), correlation, highest, num_hidden, len(best_third))
    return _finding(facts.spec, found)


def _best_at(series: Series, step: int, sign: float) -> float:
    """Return the best value up to a step, by which the pruners judge; NaN if there is none."""
    values = [value for at, value in series if at <= step and math.isfinite(value)]
    return min(values, key=lambda value: sign * value, default=math.nan)


@dataclass(frozen=True, slots=True)
class _Order:
    """How the order of the completed trials at a step agrees with that at the end."""

    step: int
    num_pruned: int
    num: int
    correlation: float
    highest: float
    """Upper end of the correlation's interval of 95 %."""
    num_hidden: int
    """Of the best third at the end: those that were in the worse half at the step."""
    num_best: int


def _finding(spec: StudySpec, found: _Order) -> Finding:
    resource = spec.resource.name if spec.resource else "step"
    sentence = (
        f"The pruner {spec.pruner.name} stopped {found.num_pruned} trials, half of them by {resource} {found.step}, "
        f"but the order there is not that of the end: over {found.num} completed trials the rank correlation is "
        f"{found.correlation:.2f} (at most {found.highest:.2f}), and {found.num_hidden} of the best {found.num_best} "
        "were in the worse half."
    )
    later = 2 * found.step
    return Finding(
        rule="pruner_too_eager",
        confidence=Confidence.HIGH if found.highest < _CORRELATION / 2 else Confidence.MEDIUM,
        sentence=sentence,
        evidence=[
            evidence("rank correlation with the end", found.correlation, found.step),
            evidence("upper end of its interval (95 %)", found.highest, found.step),
            evidence("best third at the end that was in the worse half", found.num_hidden, found.step),
        ],
        remedies=[
            Remedy(
                name=RemedyName.CHANGE_PRUNER,
                sentence=f"Let trials train longer before the first decision: to {resource} {later}.",
                settings=_later(spec, later),
            ),
            Remedy(
                name=RemedyName.CHANGE_PRUNER,
                sentence="Search without a pruner.",
                settings={"pruner": {"name": "none"}},
            ),
        ],
    )


def _later(spec: StudySpec, step: int) -> dict[str, object]:
    """Return the pruner with its first decision at a step; the rungs of a scheduler are fixed once there are trials."""
    field = next((name for name in ("warmup_steps", "patience") if hasattr(spec.pruner, name)), None)
    return {} if field is None else {"pruner": {**spec.pruner.model_dump(exclude_none=True), field: step}}
