"""Rules about `norm/…`, which `callbacks: [norms]` reports: gradients, updates and dead units."""

from __future__ import annotations

import numpy as np

from service.analysis.diagnosis.trial_curves import TrialCurves
from service.analysis.diagnosis.trial_rules import remedies
from service.analysis.diagnosis.trial_rules.divergence import too_fast
from service.analysis.diagnosis.trial_rules.reporting import at, finding, number_text, point
from service.contract.finding import Confidence, Finding

VANISHING_RATIO = 1e-3
"""First layer's gradient by that of the last, below which the first layers do not learn (AutoTrainer's threshold)."""
VANISHING_NORM = 1e-7
"""A gradient shorter than this changes nothing (SageMaker Debugger's threshold)."""
EXPLODING_RATIO = 1e2
"""First layer's gradient by that of the last, above which gradients grow on their way back."""
EXPLODING_NORM = 1e3
"""A mean gradient longer than this, on targets and classes of unit scale, makes every rate too high."""
DEAD_SHARE = 0.5
"""Share of ReLU units that are 0 on every evaluated example (SageMaker Debugger's threshold)."""
LEARNED_SHARE = 0.3
"""A training loss that ended below this share of its start has learned."""
LARGE_UPDATE = 0.3
"""Length of a step by the length of the weights, above which a step replaces what was learned; 1e-3 is usual."""


def vanishing_gradients(curves: TrialCurves) -> Finding | None:
    """Hardly any gradient reaches the first layers."""
    ratio, norm = curves.reported("norm/gradient_ratio"), curves.reported("norm/gradient")
    if _has_learned(curves):
        return None
    if (
        ratio is not None
        and len(ratio) >= 3
        and float(np.median(ratio.values[: max(3, len(ratio) // 2)])) < VANISHING_RATIO
    ):
        middle = (max(3, len(ratio) // 2)) // 2
        sentence = (
            f"The gradient of the first layer is {number_text(ratio.values[middle])} of that of the last at step "
            f"{int(ratio.steps[middle])}: the first layers hardly learn."
        )
        evidence = [point(ratio, 0), point(ratio, middle), point(ratio, len(ratio) - 1)]
    elif norm is not None and len(norm) >= 3 and float(np.median(norm.values)) < VANISHING_NORM:
        sentence = f"The gradient's norm is {at(norm, 0)} and {at(norm, len(norm) - 1)}: nothing is learned."
        evidence = [point(norm, 0), point(norm, len(norm) - 1)]
    else:
        return None
    found = [
        remedies.change_activation(),
        remedies.normalize(),
        remedies.change_initialization(),
        remedies.smaller_model(),
    ]
    return finding(curves, "vanishing_gradients", Confidence.HIGH, sentence, evidence=evidence, remedies=found)


def exploding_gradients(curves: TrialCurves) -> Finding | None:
    """Gradients grow on their way back through the layers, or are huge altogether."""
    norm = curves.reported("norm/gradient")
    if norm is None or float(np.median(norm.values[: max(2, len(norm) // 3)])) < EXPLODING_NORM:
        return None
    sentence = f"The gradient's norm is {at(norm, 0)}: every step is far too long."
    found = [remedies.clip_gradients(), *[each for each in too_fast(curves, 0.1) if each.name != "clip_gradients"]]
    return finding(curves, "exploding_gradients", Confidence.HIGH, sentence, evidence=[point(norm, 0)], remedies=found)


def dead_units(curves: TrialCurves) -> Finding | None:
    """Most ReLU units are 0 on every example."""
    dead = curves.reported("norm/dead_units")
    # A training that gets along without these units has only a larger model than it needs.
    if dead is None or dead.values[-1] < DEAD_SHARE or _has_learned(curves):
        return None
    sentence = (
        f"{dead.values[-1]:.0%} of the ReLU units are 0 on every evaluated example at step {int(dead.steps[-1])}."
    )
    found = [
        remedies.lower_rate(0.1),
        remedies.change_activation(),
        remedies.change_initialization(),
        remedies.normalize(),
    ]
    evidence = [point(dead, 0), point(dead, len(dead) - 1)]
    return finding(curves, "dead_units", Confidence.MEDIUM, sentence, evidence=evidence, remedies=found)


def large_updates(curves: TrialCurves) -> Finding | None:
    """Each step changes the weights by a large share of their length: the rate is too high."""
    ratio = curves.reported("norm/update_ratio")
    if ratio is None or len(ratio) < 3 or float(ratio.values[:3].max()) < LARGE_UPDATE or _has_learned(curves):
        return None
    largest = int(np.argmax(ratio.values[:3]))
    large = number_text(ratio.values[largest])
    sentence = f"A step is {large} times as long as the weights at step {int(ratio.steps[largest])}."
    evidence = [point(ratio, largest), point(ratio, len(ratio) - 1)]
    found = too_fast(curves, 0.1)
    return finding(curves, "rate_too_high", Confidence.MEDIUM, sentence, evidence=evidence, remedies=found)


def _has_learned(curves: TrialCurves) -> bool:
    """Return whether the training loss came far below its start in spite of everything."""
    train = curves.train or curves.val
    if train is None:
        return False
    start = train.first if curves.chance is None else max(train.first, curves.chance)
    return train.end < LEARNED_SHARE * start if start > 0 else False
