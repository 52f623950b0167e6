"""A rule: a host that needs more time per step than its peers for equal work."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from service.analysis.diagnosis.additive_fit import features
from service.analysis.diagnosis.facts import AttemptFacts, StudyFacts
from service.analysis.diagnosis.study_results import MAX_TRIALS, Floats, evidence, ranks_of
from service.contract.finding import Confidence, Finding, Remedy, RemedyName
from service.contract.space import ConstantParameter

Places = NDArray[np.int64]

_FEWEST = 5
"""Smallest number of attempts of a host, and of all other hosts together."""

_SLOWER, _MUCH_SLOWER = 1.5, 2.0
"""Smallest ratio of the seconds per step to those of the other hosts."""

_Z = 3.3
"""Smallest standardised difference of ranks: a probability of 0.0005 by chance."""

_ROWS_PER_COLUMN = 4
"""Smallest number of attempts per parameter, so that parameters can explain the time of a step."""


def slow_host(facts: StudyFacts) -> Finding | None:
    """Find a host whose steps take longer than those of the other hosts, at equal parameters."""
    attempts = [each for each in facts.attempts if each.num_steps >= 2 and 0 < each.seconds < math.inf][-MAX_TRIALS:]
    hosts = sorted({each.host for each in attempts})
    if len(hosts) < 2 or len(attempts) < 2 * _FEWEST:
        return None
    index = {host: at for at, host in enumerate(hosts)}
    places = np.array([index[each.host] for each in attempts])
    seconds = _seconds_beyond_parameters(facts, attempts, places)
    found = []
    for at, host in enumerate(hosts):
        is_here = places == at
        num, num_others = int(is_here.sum()), int((~is_here).sum())
        if min(num, num_others) < _FEWEST:
            continue
        ratio = math.exp(min(50.0, float(np.median(seconds[is_here]) - np.median(seconds[~is_here]))))
        if ratio >= _SLOWER and _rank_difference(seconds, is_here) >= _Z:
            found.append((ratio, host, num, num_others))
    if not found:
        return None
    ratio, host, num, num_others = max(found)
    sentence = (
        f"The host {host} needs {ratio:.1f} times the seconds per step of the other hosts for equal work ({num} "
        f"attempts against {num_others})."
    )
    return Finding(
        rule="slow_host",
        confidence=Confidence.HIGH if ratio >= _MUCH_SLOWER and num >= 2 * _FEWEST else Confidence.MEDIUM,
        sentence=sentence,
        evidence=[evidence(f"seconds per step of {host}, relative to the others", ratio)],
        remedies=[
            Remedy(
                name=RemedyName.INSPECT_HOST,
                sentence=f"Inspect {host}: other programs, a hot or throttled GPU, slow data, fewer cores.",
                settings={"host": host},
            )
        ],
    )


def _seconds_beyond_parameters(facts: StudyFacts, attempts: Sequence[AttemptFacts], hosts: Places) -> Floats:
    """Return the logarithm of each attempt's seconds per step, less what its parameters and its length explain.

    A short attempt spends a larger share of its time on loading data and on the first step.

    Args:
        facts: the facts about the study.
        attempts: the attempts.
        hosts: shape (attempts,): the index of each attempt's host.
    """
    logs: Floats = np.log(np.array([each.seconds / each.num_steps for each in attempts]))
    parameters = {trial.number: trial.parameters for trial in facts.history.trials}
    worked_on = [parameters.get(each.trial, {}) for each in attempts]
    space = facts.spec.space
    names = [name for name in sorted(space) if not isinstance(space[name], ConstantParameter)]
    columns, _ = features(space, names, worked_on, 1)
    length = np.log(np.array([float(each.num_steps) for each in attempts]))
    columns = np.column_stack([columns, length - length.mean()])
    if columns.shape[1] * _ROWS_PER_COLUMN > len(attempts):
        return logs
    # The hosts are columns too, so that a host's own slowness is not explained by the parameters it happened to get.
    dummies = (hosts[:, None] == np.arange(hosts.max() + 1)).astype(float)
    design = np.column_stack([columns, dummies])
    gram = design.T @ design
    coefficients = np.linalg.solve(gram + 1e-6 * np.diag(np.maximum(np.diag(gram), 1e-9)), design.T @ logs)
    residual: Floats = logs - columns @ coefficients[: columns.shape[1]]
    return residual


def _rank_difference(values: Floats, is_here: NDArray[np.bool_]) -> float:
    """Return the Mann-Whitney statistic of the values here against the others, in standard deviations."""
    num, num_others = int(is_here.sum()), int((~is_here).sum())
    ranks = ranks_of(values) * (len(values) - 1) + 1
    statistic = float(ranks[is_here].sum()) - num * (num + 1) / 2
    return (statistic - num * num_others / 2) / math.sqrt(num * num_others * (num + num_others + 1) / 12)
