"""Rules: differences between trials that are no larger than the noise of a trial."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from service.analysis.diagnosis.facts import StudyFacts
from service.analysis.diagnosis.study_results import Floats, completed_trials, counted, evidence, losses_of
from service.analysis.diagnosis.trial_noise import configuration_key, measured_noise
from service.contract.finding import Confidence, Finding, Remedy, RemedyName

_FEWEST = 10
"""Smallest number of completed trials."""

_DROWNED = 1.4
"""Largest spread of the trials' values, in deviations of the noise: half of their variance is noise."""

_TOP = 5
"""Number of best trials that are compared."""

_LEAST_ALIKE = 3
"""Smallest number of these that cannot be told apart."""

_APART = 2 * math.sqrt(2)
"""Two trials differ if their values are this many deviations of the noise apart (95 %)."""

_NUM_REPEATS = 3


def noise_exceeds_differences(facts: StudyFacts) -> Finding | None:
    """Find a study in which repeated trainings of one configuration differ about as much as configurations do."""
    trials = completed_trials(facts)
    if len(trials) < _FEWEST or (noise := measured_noise(facts, trials)) is None or noise.deviation <= 0:
        return None
    losses = losses_of(facts, trials)
    spread = _spread(losses)
    if not 0 < spread <= _DROWNED * noise.deviation:
        return None
    metric, num = facts.spec.primary_objective.metric, len(trials)
    lead = float(np.median(losses) - losses.min())
    luck = noise.deviation * _expected_best(num)
    sentence = (
        f"The {metric} of one configuration varies by ±{noise.deviation:.2g} ({noise.source}), and that of all {num} "
        f"trials by ±{spread:.2g}: the best one leads the median by {lead:.2g}, and the best of {num} equal "
        f"configurations would lead by about {luck:.2g} by luck alone."
    )
    return Finding(
        rule="noise_exceeds_differences",
        confidence=Confidence.HIGH if spread <= noise.deviation * 1.2 else Confidence.MEDIUM,
        sentence=sentence,
        evidence=[
            evidence("standard deviation of one configuration", noise.deviation),
            evidence("spread of all trials", spread),
            evidence("lead of the best trial over the median", lead),
            evidence(f"lead of the best of {num} by luck", luck),
        ],
        remedies=[
            _repeats(),
            Remedy(name=RemedyName.LARGER_VALIDATION, sentence="Use more validation examples, or cross-validation."),
            Remedy(name=RemedyName.WIDEN_RANGE, sentence="Search wider ranges, or parameters that matter more."),
        ],
    )


def seeds_overlap(facts: StudyFacts) -> Finding | None:
    """Find best trials that repeated trainings cannot tell apart."""
    trials = completed_trials(facts)
    if len(trials) < _FEWEST or (noise := measured_noise(facts, trials)) is None or noise.deviation <= 0:
        return None
    losses = losses_of(facts, trials)
    order = np.argsort(losses, kind="stable").tolist()
    # The best trial of each configuration.
    first = {configuration_key(trials[at]): at for at in reversed(order)}
    top = sorted(first.values(), key=lambda at: (losses[at], at))[:_TOP]
    alike = [at for at in top if losses[at] - losses[top[0]] <= _APART * noise.deviation]
    if len(alike) < _LEAST_ALIKE:
        return None
    numbers = [trials[at].number for at in alike]
    listed = ", ".join(map(str, numbers))
    gap = float(losses[alike[-1]] - losses[alike[0]])
    metric = facts.spec.primary_objective.metric
    sentence = (
        f"The trials {listed} cannot be told apart: their {metric} differs by {gap:.2g} at most, and that of one "
        f"configuration varies by ±{noise.deviation:.2g} ({noise.source})."
    )
    return Finding(
        rule="seeds_overlap",
        confidence=Confidence.HIGH,
        sentence=sentence,
        evidence=[
            evidence("difference of the best trials", gap),
            evidence("standard deviation of one configuration", noise.deviation),
        ],
        remedies=[_repeats(numbers), Remedy(name=RemedyName.TAKE_CHEAPER, sentence="Take the cheapest of them.")],
    )


def _repeats(numbers: list[int] | None = None) -> Remedy:
    which = f"the trials {', '.join(map(str, numbers))}" if numbers else "the best configurations"
    settings = {"trials": numbers, "repeats": _NUM_REPEATS} if numbers else {"repeats": _NUM_REPEATS}
    sentence = f"Train {which} {counted(_NUM_REPEATS, 'more time')} from other seeds, and compare the means."
    return Remedy(name=RemedyName.REPEAT_SEEDS, sentence=sentence, settings=settings)


def _spread(values: Floats) -> float:
    """Return a standard deviation that outliers do not change: the interquartile range of a normal one is 1.349."""
    with np.errstate(all="ignore"):
        low, high = np.quantile(values, [0.25, 0.75])
        return float((high - low) / 1.349)


def _expected_best(num: int) -> float:
    """Return the expected maximum of `num` standard normal numbers (Blom 1958)."""
    return NormalDist().inv_cdf((num - 0.375) / (num + 0.25))
