"""Noise of a trial's value: how much it would differ if the same configuration were trained again."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from service.analysis.diagnosis.facts import StudyFacts
from service.analysis.diagnosis.sampling_error import error_of, standard_error
from service.analysis.diagnosis.study_results import num_trainings
from service.domain.history import TrialRecord

_FEWEST_REPEATS = 4
"""Smallest number of degrees of freedom: trials less configurations, of configurations that ran more than once."""

_FEWEST_SPREADS = 5
"""Smallest number of trials with a spread over folds or repeats."""


@dataclass(frozen=True, slots=True)
class Noise:
    """The standard deviation of a trial's value around what its configuration reaches on average."""

    deviation: float
    source: str
    """In words, such as "12 repeats of equal configurations"."""
    is_replicated: bool
    """Whether trainings were repeated; else it is the sampling error of the validation examples alone."""


def measured_noise(facts: StudyFacts, trials: Sequence[TrialRecord]) -> Noise | None:
    """Return the noise by equal configurations, or else by the spread over folds and repeats; None if neither exists.

    Args:
        facts: the facts about the study.
        trials: completed trials with finite values.
    """
    return _by_equal_configurations(trials) or _by_spread(facts, trials)


def sampling_noise(facts: StudyFacts, trial: TrialRecord) -> Noise | None:
    """Return the sampling error of a trial's value on the validation examples.

    Returns:
        None if their number is not known, or the metric has no known sampling error.
    """
    objective, num = facts.spec.primary_objective, facts.num_validation
    split, _, metric = objective.metric.partition("/")
    if num is None or num < 1 or split not in {"val", "test_val"} or trial.value is None:
        return None
    error = error_of(metric, trial.value, is_maximized=objective.direction == "maximize")
    if error is None:
        return None
    deviation = standard_error(metric, error, num)
    return Noise(deviation, f"{num} validation examples", is_replicated=False) if math.isfinite(deviation) else None


def configuration_key(trial: TrialRecord) -> object:
    """Return a key that trials with equal parameters share."""
    names = sorted(trial.parameters)
    key = (*names, *(trial.parameters[name] for name in names))
    try:
        hash(key)
    except TypeError:  # A choice is a list.
        return repr(key)
    return key


def _by_equal_configurations(trials: Sequence[TrialRecord]) -> Noise | None:
    groups: dict[object, list[float]] = defaultdict(list)
    for trial in trials:
        groups[configuration_key(trial)].append(trial.value or 0.0)
    repeated = [values for values in groups.values() if len(values) > 1]
    freedom = sum(len(values) - 1 for values in repeated)
    if freedom < _FEWEST_REPEATS:
        return None
    with np.errstate(all="ignore"):
        squares = sum(float(np.sum((np.array(values) - np.mean(values)) ** 2)) for values in repeated)
    deviation = math.sqrt(squares / freedom)
    words = f"{freedom + len(repeated)} trials of {len(repeated)} configurations that ran more than once"
    return Noise(deviation, words, is_replicated=True) if math.isfinite(deviation) else None


def _by_spread(facts: StudyFacts, trials: Sequence[TrialRecord]) -> Noise | None:
    num, name = num_trainings(facts), f"{facts.spec.primary_objective.metric}/std"
    spreads = [
        spread
        for trial in trials
        if math.isfinite(spread := facts.metrics.get(trial.number, {}).get(name, math.nan)) and spread >= 0
    ]
    if num < 2 or len(spreads) < _FEWEST_SPREADS:
        return None
    deviation = float(np.median(spreads)) / math.sqrt(num)
    return Noise(deviation, f"the spread over the {num} trainings of each trial", is_replicated=True)
