"""A rule: more trials are not expected to improve the best value."""

from __future__ import annotations

import math

import numpy as np

from service.analysis.diagnosis.facts import StudyFacts
from service.analysis.diagnosis.study_results import Floats, evidence, has_one_objective, losses_of
from service.analysis.diagnosis.trial_noise import measured_noise
from service.contract.finding import Confidence, Finding, Remedy, RemedyName
from service.contract.trial import TrialState
from service.domain.history import TrialRecord
from service.domain.other_data import stages_on_other_data

_FEWEST = 30
"""Smallest number of completed trials."""

_FLAT = 0.5
"""Share of the trials, the newest ones, that have not improved the best value."""

_MATTERS = 0.01
"""An improvement below this share of the best trial's lead over the older half's best quarter is not worth it."""


def past_point_of_return(facts: StudyFacts) -> Finding | None:
    """Find a search whose newest half brought nothing, and whose next trials are expected to bring nothing."""
    trials = _in_order(facts)
    if len(trials) < _FEWEST:
        return None
    losses = losses_of(facts, trials)
    first_best = int(np.argmin(losses))
    num_flat = len(trials) - 1 - first_best
    with np.errstate(all="ignore"):
        lead = float(np.quantile(losses[: len(losses) // 2], 0.25) - losses.min())
    if num_flat < _FLAT * len(trials) or not 0 < lead < math.inf:
        return None
    num_more = max(10, len(trials) // 4)
    expected = expected_improvement(losses, first_best, num_more)
    noise = measured_noise(facts, trials[-_FEWEST:])
    tolerance = max(_MATTERS * lead, 0.0 if noise is None else noise.deviation / 2)
    if expected > tolerance:
        return None
    metric = facts.spec.primary_objective.metric
    best = trials[first_best]
    sentence = (
        f"The last {num_flat} of {len(trials)} completed trials did not improve the best {metric} of {best.value:.4g} "
        f"(trial {best.number}), and {num_more} more are expected to improve it by about {expected:.2g}."
    )
    return Finding(
        rule="past_point_of_return",
        confidence=Confidence.MEDIUM,
        sentence=sentence,
        evidence=[
            evidence("completed trials since the best one", num_flat),
            evidence(f"expected improvement by {num_more} more trials", expected),
            evidence("lead of the best trial over the best quarter of the older half", lead),
        ],
        remedies=[
            Remedy(name=RemedyName.END_STUDY, sentence="Stop the study, and spend the budget on the best trial."),
            Remedy(
                name=RemedyName.WIDEN_RANGE,
                sentence="Search other parameters, wider ranges or another model in a new study.",
            ),
        ],
    )


def expected_improvement(losses: Floats, first_best: int, num_more: int) -> float:
    """Return by how much more trials are expected to improve the best value.

    The model: the next trials are draws like the newest half of the trials. The probability that one of `num_more`
    draws beats the best of the n trials is num_more / (n + num_more), as for records of equal draws. The best value
    then falls by the mean distance of the few best values, as for an exponential tail.

    Args:
        losses: shape (trials,): in the order in which the trials ended.
        first_best: index of the first trial with the best value.
        num_more: the number of further trials.
    """
    num = len(losses)
    newest = losses[num // 2 :]
    best = np.sort(np.append(newest, losses[first_best]))[: max(5, len(newest) // 10)]
    with np.errstate(all="ignore"):
        distance = float(np.mean(best[1:] - best[0]))
    return num_more / (num + num_more) * distance


def _in_order(facts: StudyFacts) -> list[TrialRecord]:
    """Return the completed trials of a single-objective study by the time of their end, all of them."""
    if not has_one_objective(facts):
        return []
    left_out = stages_on_other_data(facts.spec)
    done = [
        trial
        for trial in facts.history.finished()
        if trial.state is TrialState.COMPLETED and trial.stage not in left_out
    ]
    return sorted(done, key=lambda trial: (trial.finished_at or 0, trial.number))
