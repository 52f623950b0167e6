"""Compares the error of a group of examples with that of the rest, with an interval and a test; numpy alone."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from service.cli.errors.metrics import mean_ranks
from service.cli.errors.predictions import Floats, Mask

_Z = 1.959964
"""Of an interval of 95 %."""


@dataclass(frozen=True)
class Comparison:
    """The mean error of a group and of the rest.

    Attributes:
        error: the group's mean error: its share of mistakes, or its mean absolute error.
        rest: the mean error of the other examples.
        low: the lower end of the 95 % interval of the difference `error - rest`.
        high: its upper end.
        p_value: the probability of so large a difference by chance, before it is corrected for other groups.
    """

    error: float
    rest: float
    low: float
    high: float
    p_value: float


def compare(errors: Floats, group: Mask, *, are_mistakes: bool) -> Comparison | None:
    """Compare a group with the rest; None: one of the two is empty.

    Mistakes are compared by Fisher's exact test and Newcombe's interval, absolute errors by the rank test of Mann and
    Whitney and Welch's interval, since a few huge errors must not decide.

    Args:
        errors: [n], 0 or 1, or absolute errors.
        group: [n].
        are_mistakes: whether the errors are 0 or 1.
    """
    inside, outside = errors[group], errors[~group]
    if not len(inside) or not len(outside):
        return None
    error, rest = float(inside.mean()), float(outside.mean())
    if are_mistakes:
        low, high = _newcombe(error, len(inside), rest, len(outside))
        p_value = _fisher(int(inside.sum()), len(inside), int(errors.sum()), len(errors))
    else:
        variance = _variance_of_mean(inside) + _variance_of_mean(outside)
        half = _Z * math.sqrt(variance)
        low, high = error - rest - half, error - rest + half
        p_value = _rank_test(errors, group)
        if low <= 0 <= high:  # a difference in ranks alone is none in the mean error
            p_value = max(p_value, 0.05)
    return Comparison(error, rest, low, high, p_value)


def _variance_of_mean(values: Floats) -> float:
    return float(values.var(ddof=1)) / len(values) if len(values) > 1 else math.inf


def wilson(share: float, num: int) -> tuple[float, float]:
    """Return the 95 % interval of a share that was observed on `num` examples (Wilson 1927)."""
    centre = (share + _Z**2 / (2 * num)) / (1 + _Z**2 / num)
    half = _Z / (1 + _Z**2 / num) * math.sqrt(share * (1 - share) / num + _Z**2 / (4 * num**2))
    return max(0.0, centre - half), min(1.0, centre + half)


def _newcombe(first: float, num_first: int, second: float, num_second: int) -> tuple[float, float]:
    """Return the 95 % interval of a difference of shares (Newcombe 1998, method 10)."""
    (low1, high1), (low2, high2) = wilson(first, num_first), wilson(second, num_second)
    difference = first - second
    low = difference - math.hypot(first - low1, high2 - second)
    return low, difference + math.hypot(high1 - first, second - low2)


def _fisher(wrong_inside: int, num_inside: int, wrong: int, num: int) -> float:
    """Return the two-sided p-value of Fisher's exact test: twice the smaller tail."""
    fewest, most = max(0, wrong - (num - num_inside)), min(wrong, num_inside)
    counts = np.arange(fewest, most + 1)
    logs = np.array([_log_choose(num_inside, k) + _log_choose(num - num_inside, wrong - k) for k in counts.tolist()])
    weights = np.exp(logs - logs.max())
    weights /= weights.sum()
    upper, lower = float(weights[counts >= wrong_inside].sum()), float(weights[counts <= wrong_inside].sum())
    return min(1.0, 2 * min(upper, lower))


def _log_choose(total: int, chosen: int) -> float:
    return math.lgamma(total + 1) - math.lgamma(chosen + 1) - math.lgamma(total - chosen + 1)


def _rank_test(errors: Floats, group: Mask) -> float:
    """Return the two-sided p-value of the test of Mann and Whitney, with the normal approximation and ties."""
    num, inside = len(errors), int(group.sum())
    ranks = mean_ranks(errors)
    _, ties = np.unique(errors, return_counts=True)
    spread = inside * (num - inside) / 12 * ((num + 1) - float((ties**3 - ties).sum()) / (num * (num - 1)))
    if spread <= 0:
        return 1.0
    excess = abs(float(ranks[group].sum()) - inside * (num + 1) / 2) - 0.5
    return math.erfc(max(0.0, excess) / math.sqrt(2 * spread))
