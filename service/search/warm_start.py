"""Warm start: selects prior trials of other studies, and decides how long samplers learn from them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from service.contract.base import Direction
from service.contract.problem import FieldError
from service.contract.sampler import AutoSamplerSpec, GpSamplerSpec, OptunaGpSamplerSpec, TpeSamplerSpec
from service.contract.study import StudySpec
from service.domain.history import History, TrialRecord
from service.search.observations import is_observation

MAX_PRIOR_TRIALS = 50
"""Largest number of prior trials of a study."""

REPLACED = 5
"""Number of prior trials that each observation of the study itself replaces."""


def select_spread(trials: Sequence[TrialRecord], direction: Direction) -> tuple[TrialRecord, ...]:
    """Select up to `MAX_PRIOR_TRIALS` prior trials from completed ones, evenly spaced by rank.

    The result is ordered from worst to best and numbered -n … -1.
    """
    sign = 1.0 if direction == "maximize" else -1.0
    ranked = sorted(trials, key=lambda trial: sign * (trial.value or 0.0))
    num = min(len(ranked), MAX_PRIOR_TRIALS)
    # Count from the best trial, so that it is always selected.
    taken = [ranked[len(ranked) - 1 - at * len(ranked) // num] for at in reversed(range(num))]
    return tuple(replace(trial, number=at - num) for at, trial in enumerate(taken))


def active_prior_trials(history: History, number: int) -> Sequence[TrialRecord]:
    """Return the prior trials that a sampler still learns from when it suggests trial `number`.

    Each observation among trials 0 … number - 1 replaces `REPLACED` prior trials, worst first. So prior trials guide
    the first suggestions, and misleading ones are gone after at most `MAX_PRIOR_TRIALS` / `REPLACED` observations.
    """
    if not history.prior_trials:
        return ()
    own = islice(filter(is_observation, history.trials[:number]), len(history.prior_trials))
    return history.prior_trials[REPLACED * sum(1 for _ in own) :]


def check_warm_start(spec: StudySpec) -> list[FieldError]:
    """Check that the sampler of a spec with a warm start can learn from prior trials."""
    learning = AutoSamplerSpec | TpeSamplerSpec | GpSamplerSpec | OptunaGpSamplerSpec
    if not spec.warm_start or isinstance(spec.sampler, learning):
        return []
    message = f"{spec.sampler.name} does not learn from other studies; write sampler: auto, tpe or gp"
    return [FieldError(path="warm_start", message=message)]
