"""Rules: a validation split that is too small for the differences, and a test split that was looked at often."""

from __future__ import annotations

import math

import numpy as np

from service.analysis.diagnosis.facts import StudyFacts
from service.analysis.diagnosis.sampling_error import Z, error_of, standard_error
from service.analysis.diagnosis.study_results import completed_trials, evidence, losses_of
from service.analysis.diagnosis.trial_noise import sampling_noise
from service.contract.finding import Confidence, Finding, Remedy, RemedyName
from service.domain.other_data import stages_on_other_data

_FEWEST = 10
"""Smallest number of completed trials."""

_ALIKE, _MOST_ALIKE = 0.25, 0.5
"""Share of the trials that the validation cannot tell from the best one; the larger one makes it certain."""

_MATTERS = 0.15
"""Smallest uncertainty of the best error, as a share of it. At fewer than about 170 wrong examples it is larger."""

_READS, _MANY_READS = 5, 20
"""Number of looks at the test metrics. The best of 5 equal models is expected to lead by 1.2 standard errors."""


def validation_too_small(facts: StudyFacts) -> Finding | None:
    """Find a validation split on which the best trial cannot be told from a quarter of all trials."""
    trials = completed_trials(facts)
    if len(trials) < _FEWEST:
        return None
    losses = losses_of(facts, trials)
    order = np.argsort(losses, kind="stable").tolist()
    best = trials[order[0]]
    # The best of many trials was lucky, so the uncertainty is that of a trial at the edge of the best quarter.
    noise = sampling_noise(facts, trials[order[math.ceil(_ALIKE * len(trials)) - 1]])
    objective, num = facts.spec.primary_objective, facts.num_validation
    metric = objective.metric.partition("/")[2]
    error = error_of(metric, best.value or 0.0, is_maximized=objective.direction == "maximize")
    if noise is None or num is None or not error or noise.deviation * Z < _MATTERS * error:
        return None
    # Trials share the validation examples. With errors that correlate by a half, a difference of two errors has the
    # standard error of one error.
    margin = Z * noise.deviation
    with np.errstate(all="ignore"):
        leads = np.sort(losses - losses.min())
    num_alike = int((leads <= margin).sum())
    if num_alike < max(5, _ALIKE * len(trials)) or leads[-1] <= 0:
        return None
    quarter = float(leads[math.ceil(_ALIKE * len(trials)) - 1])
    needed = math.ceil(num * (margin / quarter) ** 2) if quarter > margin / 100 else None
    sentence = (
        f"On {num} validation examples, the best {objective.metric} of {best.value:.4g} is uncertain by ±{margin:.2g}, "
        f"and {num_alike} of {len(trials)} trials are within that of it."
    )
    settings = {"examples": needed} if needed else {}
    more = (
        f"To tell the best quarter apart takes about {needed:,} validation examples"
        if needed
        else "Validate on more examples"
    )
    return Finding(
        rule="validation_too_small",
        confidence=Confidence.HIGH if num_alike >= _MOST_ALIKE * len(trials) else Confidence.MEDIUM,
        sentence=sentence,
        evidence=[
            evidence("validation examples", num),
            evidence(f"uncertainty of the best {objective.metric} (95 %)", margin),
            evidence("trials within it", num_alike),
        ],
        remedies=[
            Remedy(
                name=RemedyName.LARGER_VALIDATION,
                sentence=f"{more}; cross-validation (folds: 5) validates on all but the test examples.",
                settings={**settings, "folds": 5},
            ),
            Remedy(name=RemedyName.TAKE_CHEAPER, sentence="Take the cheapest trial among those."),
        ],
    )


def consulted_test_split(facts: StudyFacts) -> Finding | None:
    """Find a test split whose metrics were looked at so often that a choice by them may no longer be fair."""
    num = facts.num_test_reads
    if num is None or num < _READS:
        return None
    sentence = (
        f"The test metrics of the study were looked at {num} times: each choice that they influence makes the test "
        "error too low."
    )
    figures = [evidence("looks at the test metrics", num)]
    luck = _luck(facts, num)
    if luck is not None:
        sentence += f" The best of {num} equal models would be ahead by about {luck:.2g} by luck."
        figures.append(evidence("lead of the best by luck", luck))
    return Finding(
        rule="consulted_test_split",
        confidence=Confidence.MEDIUM if num >= _MANY_READS else Confidence.LOW,
        sentence=sentence,
        evidence=figures,
        remedies=[
            Remedy(name=RemedyName.NEW_SPLIT, sentence="Hold back a fresh test split for the final result."),
            Remedy(name=RemedyName.MORE_DATA, sentence="Collect new test examples.", settings={"split": "test"}),
        ],
    )


def _luck(facts: StudyFacts, num: int) -> float | None:
    """Return how far the best of `num` equal models would be ahead on the test split; None if its size is not known."""
    objective = facts.spec.primary_objective
    metric = objective.metric.partition("/")[2]
    best = facts.history.best(objective.direction, stages_on_other_data(facts.spec))
    value = None if best is None else facts.metrics.get(best.number, {}).get(f"test/{metric}")
    if value is None or not facts.num_test:
        return None
    error = error_of(metric, value, is_maximized=objective.direction == "maximize")
    return None if error is None else standard_error(metric, error, facts.num_test) * math.sqrt(2 * math.log(num))
