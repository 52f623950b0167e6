"""How far a curve came: its drop in each half of the training, measured by the rate that was spent."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from service.analysis.diagnosis.curve import Curve, Floats
from service.analysis.diagnosis.trial_curves import TrialCurves


@dataclass(frozen=True, slots=True)
class Progress:
    """The drop of a curve.

    Attributes:
        start: the level before the first step, or the first value where that is not known.
        middle: the level when half of the learning rate's sum was spent.
        end: the level at the end.
        noise: the standard deviation of one value.
    """

    start: float
    middle: float
    end: float
    noise: float

    @property
    def gain(self) -> float:
        return self.start - self.end

    @property
    def second_half(self) -> float:
        """The drop in the second half."""
        return self.middle - self.end

    @property
    def ratio(self) -> float:
        """The drop of the second half by that of the first: 1 for a straight line, near 0 for a curve that is flat."""
        first = self.start - self.middle
        if first <= 0:
            return 1.0 if self.second_half > 0 else 0.0
        return max(0.0, self.second_half / first)

    @property
    def outlook(self) -> float:
        """The expected further drop in a training three times as long, if each half drops by the same ratio.

        The ratio is capped at 1: no curve is expected to become steeper.
        """
        ratio = min(self.ratio, 1.0)
        return max(0.0, self.second_half) * sum(ratio**power for power in range(1, 5))


def progress(curves: TrialCurves, curve: Curve, start: float | None = None) -> Progress:
    """Return how far a curve came. The halves have the same sum of rates, where the schedule is known.

    Args:
        curves: the curves of the trial.
        curve: the curve.
        start: the level at the start; None: that of chance, or the first value where it is higher.
    """
    shares = spent(curves, curve)
    middle_share = 0.5
    if start is None:
        start = curve.first if curves.start is None else max(curves.start, curve.first)
    else:
        middle_share = (float(shares[0]) + 1) / 2
    middle = int(np.searchsorted(shares, middle_share))
    middle = min(max(middle, 0), len(curve) - 1)
    return Progress(start, float(curve.smooth[middle]), end_level(curve), curve.noise)


def spent(curves: TrialCurves, curve: Curve) -> Floats:
    """Return the share of the learning rate's sum that was spent until each step, [n]."""
    between = np.diff(curve.steps)
    widths = np.concatenate([[np.median(between) if len(between) else 1.0], between])
    rates = curves.rates
    if rates is not None and curves.main is not None and len(rates) == len(curve):
        widths = widths * rates
    total = widths.sum()
    shares: Floats = np.cumsum(widths) / total if total > 0 else np.linspace(0, 1, len(curve))
    return shares


def end_level(curve: Curve) -> float:
    """Return the level at the last step, by a line through the last values, which a steep curve needs."""
    num = min(len(curve), max(4, len(curve) // 6))
    values = curve.values[-num:]
    if num < 3:
        return float(values[-1])
    x = np.arange(num) - (num - 1)
    level = np.polyfit(x, values, 1)[1]
    # The line may not leave the range of the values that it is drawn through.
    return float(np.clip(level, values.min(), values.max()))
