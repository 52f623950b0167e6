"""A rule: failures of one class happen in one region of the space, so the range or a constraint can exclude it."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from service.analysis.diagnosis.additive_fit import level
from service.analysis.diagnosis.facts import StudyFacts
from service.analysis.diagnosis.study_results import MAX_TRIALS, evidence
from service.contract.attempt import FailureClass
from service.contract.base import Value
from service.contract.finding import Confidence, Finding, Remedy, RemedyName
from service.contract.space import CategoricalParameter, FloatParameter, NumericParameter, Parameter
from service.domain.history import TrialRecord

_OF_PARAMETERS = (
    FailureClass.OUT_OF_MEMORY,
    FailureClass.DIVERGED,
    FailureClass.HUNG,
    FailureClass.PROCESS_KILLED,
    FailureClass.USER_EXCEPTION,
    FailureClass.POISON,
    FailureClass.INVALID,
    FailureClass.INFEASIBLE,
)
"""Classes of failures that a trial's parameters can cause. The others are causes of the host or the network."""

_FEWEST = 4
"""Smallest number of failed trials of one class in the region."""

_RATE, _HIGH_RATE = 0.5, 0.8
"""Smallest share of the trials in the region that fail."""

_CHANCE = 0.01
"""Largest probability of such a region if failures did not depend on parameters, over all regions that were tried."""

_MAX_CUTS = 40
"""The largest number of thresholds that are tried on one parameter."""

_WORDS = {
    FailureClass.OUT_OF_MEMORY: "ran out of memory",
    FailureClass.DIVERGED: "diverged",
    FailureClass.HUNG: "hung",
    FailureClass.PROCESS_KILLED: "were killed",
    FailureClass.USER_EXCEPTION: "raised an exception",
    FailureClass.POISON: "killed their hosts' processes",
    FailureClass.INVALID: "were invalid",
    FailureClass.INFEASIBLE: "were infeasible",
}


def failure_region(facts: StudyFacts) -> Finding | None:
    """Find a region, bounded by one parameter, in which trials fail in one way far more often than elsewhere."""
    trials = [trial for trial in facts.history.trials if not trial.is_open]
    trials = trials[-MAX_TRIALS:]
    failed: dict[FailureClass, set[int]] = defaultdict(set)
    for attempt in facts.attempts:
        if attempt.failure in _OF_PARAMETERS:
            failed[attempt.failure].add(attempt.trial)
    regions = []
    num_tried = 0
    for failure in _OF_PARAMETERS:  # In a fixed order, so that equal regions are chosen alike.
        flags = np.array([trial.number in failed[failure] for trial in trials], dtype=bool)
        if flags.sum() < _FEWEST:
            continue
        for name in sorted(facts.spec.space):
            tried = _regions(failure, name, facts.spec.space[name], trials, flags)
            num_tried += len(tried)
            regions += tried
    likely = [
        each
        for each in regions
        if each.num_failed >= _FEWEST and each.rate >= _RATE and each.rate > each.rate_elsewhere
    ]
    if not likely:
        return None
    best = min(likely, key=lambda each: (each.log_chance, -each.num_failed, each.name, each.words))
    if best.log_chance + math.log(max(1, num_tried)) > math.log(_CHANCE):
        return None
    return _finding(facts.spec.space[best.name], best)


@dataclass(frozen=True, slots=True)
class _Region:
    """Trials on one side of a threshold, or with one choice, and how many of them failed."""

    failure: FailureClass
    name: str
    words: str
    """The region in words, such as "width of 512 or more"."""
    settings: dict[str, Any]
    """What excludes the region: a new end of the range, or the other choices."""
    threshold: Value
    num: int
    num_failed: int
    num_elsewhere: int
    num_failed_elsewhere: int
    log_chance: float
    """Logarithm of the probability of at least as many failures in as many trials by chance."""

    @property
    def rate(self) -> float:
        return self.num_failed / self.num

    @property
    def rate_elsewhere(self) -> float:
        return self.num_failed_elsewhere / max(1, self.num_elsewhere)


def _regions(
    failure: FailureClass, name: str, parameter: Parameter, trials: Sequence[TrialRecord], flags: np.ndarray[Any, Any]
) -> list[_Region]:
    had = [at for at, trial in enumerate(trials) if name in trial.parameters]
    values = [trials[at].parameters[name] for at in had]
    failures = flags[had]
    if isinstance(parameter, NumericParameter):
        return _by_threshold(failure, name, parameter, values, failures)
    if isinstance(parameter, CategoricalParameter):
        return _by_choice(failure, name, parameter, values, failures)
    return []


def _by_threshold(
    failure: FailureClass,
    name: str,
    parameter: NumericParameter,
    values: Sequence[Value],
    failures: np.ndarray[Any, Any],
) -> list[_Region]:
    numbers = np.array([value if _is_number(value) else math.nan for value in values], dtype=float)
    known = np.isfinite(numbers)
    order = np.argsort(numbers[known], kind="stable")
    ordered, hits = numbers[known][order], np.cumsum(failures[known][order])
    if not len(ordered) or not 0 < hits[-1] < len(ordered):
        return []
    cuts = np.flatnonzero(np.diff(ordered) > 0)  # Each is the last place of its value, below the cut.
    if len(cuts) > _MAX_CUTS:
        cuts = cuts[np.linspace(0, len(cuts) - 1, _MAX_CUTS).round().astype(int)]
    found = []
    for cut in cuts.tolist():
        below, failed_below = cut + 1, int(hits[cut])
        above, failed_above = len(ordered) - below, int(hits[-1]) - failed_below
        if failed_above / above >= failed_below / below:
            keep = ordered[cut]
            region = (above, failed_above, below, failed_below, ordered[cut + 1], "or more", {"high": keep})
        else:
            keep = ordered[cut + 1]
            region = (below, failed_below, above, failed_above, ordered[cut], "or less", {"low": keep})
        num, num_failed, others, failed_others, threshold, side, ends = region
        is_real = isinstance(parameter, FloatParameter)
        exact = {key: float(end) if is_real else int(end) for key, end in ends.items()}
        found.append(
            _Region(
                failure=failure,
                name=name,
                words=f"{name} of {threshold:.4g} {side}",
                settings={"parameter": name, **exact},
                threshold=float(threshold) if is_real else int(threshold),
                num=num,
                num_failed=num_failed,
                num_elsewhere=others,
                num_failed_elsewhere=failed_others,
                log_chance=_log_chance(num, num_failed, others, failed_others),
            )
        )
    return found


def _by_choice(
    failure: FailureClass,
    name: str,
    parameter: CategoricalParameter,
    values: Sequence[Value],
    failures: np.ndarray[Any, Any],
) -> list[_Region]:
    texts = [level(value) for value in values]
    nums, hits = Counter(texts), Counter(text for text, hit in zip(texts, failures.tolist(), strict=True) if hit)
    total, total_failed = len(texts), sum(hits.values())
    found = []
    for choice in parameter.choices:
        num, num_failed = nums[level(choice)], hits[level(choice)]
        if not num or num == total:
            continue
        others = [other for other in parameter.choices if level(other) != level(choice)]
        found.append(
            _Region(
                failure=failure,
                name=name,
                words=f"{name} {choice}",
                settings={"parameter": name, "choices": others},
                threshold=choice,
                num=num,
                num_failed=num_failed,
                num_elsewhere=total - num,
                num_failed_elsewhere=total_failed - num_failed,
                log_chance=_log_chance(num, num_failed, total - num, total_failed - num_failed),
            )
        )
    return found


def _is_number(value: Value) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _log_chance(num: int, num_failed: int, others: int, failed_others: int) -> float:
    """Return the logarithm of Fisher's exact one-sided probability (the tail of the hypergeometric distribution)."""
    total, failed = num + others, num_failed + failed_others
    least = _log_choose(total, num)
    terms = [
        _log_choose(failed, hits) + _log_choose(total - failed, num - hits) - least
        for hits in range(num_failed, min(num, failed) + 1)
        if num - hits <= total - failed
    ]
    largest = max(terms, default=0.0)
    # The terms fall fast, so a few hundred of them are exact in double precision.
    return min(0.0, largest + math.log(sum(math.exp(term - largest) for term in terms))) if terms else 0.0


def _log_choose(num: int, drawn: int) -> float:
    return math.lgamma(num + 1) - math.lgamma(drawn + 1) - math.lgamma(num - drawn + 1)


def _finding(parameter: Parameter, region: _Region) -> Finding:
    elsewhere = f"{region.num_failed_elsewhere} of the other {region.num_elsewhere}"
    sentence = (
        f"{region.num_failed} of {region.num} trials with {region.words} {_WORDS[region.failure]}, and {elsewhere} did."
    )
    remedies = []
    is_empty = not region.settings.get("choices", True)
    is_whole = isinstance(parameter, NumericParameter) and (
        region.settings.get("high") == parameter.low or region.settings.get("low") == parameter.high
    )
    if not is_empty and not is_whole:
        remedies.append(_narrow(region))
    if region.failure is FailureClass.OUT_OF_MEMORY:
        settings = "grad_accumulation, precision: bf16, activation_checkpointing"
        remedies.append(Remedy(name=RemedyName.LIMIT_MEMORY, sentence=f"Train such trials in less memory: {settings}."))
    if region.failure is FailureClass.DIVERGED:
        remedies.append(Remedy(name=RemedyName.CLIP_GRADIENTS, sentence="Clip gradients (clip_norm: 1)."))
    if region.failure in {FailureClass.USER_EXCEPTION, FailureClass.INVALID}:
        remedies.append(
            Remedy(name=RemedyName.RUN_PREFLIGHT, sentence="Run such a configuration in the foreground: worker try.")
        )
    return Finding(
        rule="failure_region",
        confidence=Confidence.HIGH if region.rate >= _HIGH_RATE else Confidence.MEDIUM,
        sentence=sentence,
        evidence=[
            evidence(f"share of failures with {region.words}", region.rate),
            evidence("share of failures elsewhere", region.rate_elsewhere),
            evidence("logarithm of the probability by chance", region.log_chance),
        ],
        remedies=remedies,
    )


def _narrow(region: _Region) -> Remedy:
    if "choices" in region.settings:
        left = ", ".join(map(str, region.settings["choices"]))
        sentence = f"Search {region.name} without {region.threshold}: {left}."
    else:
        key = "high" if "high" in region.settings else "low"
        sentence = f"Narrow {region.name}: set its {key} to {region.settings[key]:.4g}."
    is_memory = region.failure is FailureClass.OUT_OF_MEMORY
    name = RemedyName.LIMIT_MEMORY if is_memory else RemedyName.NARROW_RANGE
    return Remedy(name=name, sentence=sentence, settings=region.settings)
