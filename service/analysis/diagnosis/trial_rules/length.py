"""Rules about the length of a training: still improving, saturated early, best value early."""

from __future__ import annotations

import numpy as np

from service.analysis.diagnosis.curve import slope_of
from service.analysis.diagnosis.progress import progress
from service.analysis.diagnosis.trial_curves import TrialCurves
from service.analysis.diagnosis.trial_rules import remedies
from service.analysis.diagnosis.trial_rules.rate import LEAST_POINTS
from service.analysis.diagnosis.trial_rules.reporting import at, figure, finding, number_text, point
from service.contract.finding import Confidence, Finding

OUTLOOK = 0.08
"""Expected further drop of a training three times as long, by the drop so far, above which longer training pays."""
SAME_SHARE = 0.01
"""Levels that differ by less than this share of the drop are the same."""
SATURATED_AT = 0.5
"""A training that has settled before this share of its steps could have been shorter."""
EARLY = 0.1
"""The share of the steps that is the beginning."""


def still_improving(curves: TrialCurves) -> Finding | None:
    """Validation and training still fall at the end, and are expected to go on."""
    main = curves.main
    if main is None or len(main) < LEAST_POINTS or not curves.is_finished or curves.is_cyclic:
        return None
    gone = progress(curves, main)
    if gone.gain <= 0 or gone.outlook < OUTLOOK * gone.gain or not slope_of(main.last_half).falls:
        return None
    if gone.second_half <= 3 * gone.noise:
        return None
    sentence = (
        f"{main.name} still fell by {number_text(gone.second_half)} in the second half of the training, to "
        f"{at(main, len(main) - 1)}; three times as long a training is expected to gain about "
        f"{number_text(gone.outlook)} more."
    )
    evidence = [point(main, len(main) // 2), point(main, len(main) - 1), figure("expected further drop", gone.outlook)]
    found = [remedies.train_longer(curves), remedies.raise_rate()]
    return finding(curves, "still_improving", Confidence.LOW, sentence, evidence=evidence, remedies=found)


def saturated_early(curves: TrialCurves) -> Finding | None:
    """Validation reached its level long before the end, and stayed."""
    main = curves.main
    if main is None or len(main) < 2 * LEAST_POINTS or not curves.is_finished or curves.is_cyclic:
        return None
    rates = curves.rates
    if rates is not None and len(rates) == len(main) and rates[-1] < 0.3 * rates.max():
        return None
    gone = progress(curves, main)
    tolerance = max(gone.noise, SAME_SHARE * gone.gain)
    if gone.gain <= 0:
        return None
    reached = int(np.argmax(main.smooth <= main.smooth.min() + tolerance))
    later = main.smooth[reached:]
    if reached + 1 > SATURATED_AT * len(main) or later.max() > main.smooth.min() + 3 * tolerance:
        return None
    sentence = (
        f"{main.name} reached {at(main, reached)} and hardly changed until {at(main, len(main) - 1)}: "
        f"the last {1 - (reached + 1) / len(main):.0%} of the training gained nothing."
    )
    evidence = [point(main, reached), point(main, len(main) - 1)]
    found = [remedies.train_shorter(curves, max(0.1, 1.5 * (reached + 1) / len(main))), remedies.stop_early(curves)]
    return finding(curves, "saturated_early", Confidence.LOW, sentence, evidence=evidence, remedies=found)


def best_step_early(curves: TrialCurves) -> Finding | None:
    """The best validation value lies in the first tenth of the training, and the end is worse."""
    val = curves.val
    if val is None or len(val) < 2 * LEAST_POINTS:
        return None
    worse = val.end - val.best
    if val.best_index >= EARLY * len(val) or worse <= 4 * val.noise:
        return None
    sentence = (
        f"{val.name} was best with {at(val, val.best_index)} and ends at {at(val, len(val) - 1)}: "
        f"{1 - (val.best_index + 1) / len(val):.0%} of the training made it worse."
    )
    evidence = [point(val, val.best_index), point(val, len(val) - 1)]
    found = [
        remedies.lower_rate(),
        remedies.stop_early(curves),
        remedies.more_regularization(),
        remedies.check_labels(),
    ]
    return finding(curves, "best_step_early", Confidence.LOW, sentence, evidence=evidence, remedies=found)
