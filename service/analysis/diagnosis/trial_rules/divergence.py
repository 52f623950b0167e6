"""Rules about losses that leave the finite numbers or grow by orders of magnitude."""

from __future__ import annotations

from service.analysis.diagnosis.trial_curves import TrialCurves, nonfinite_losses
from service.analysis.diagnosis.trial_rules import remedies
from service.analysis.diagnosis.trial_rules.reporting import at, figure, finding, number_text, point, step_of
from service.contract.attempt import FailureClass
from service.contract.finding import Confidence, Evidence, Finding, Remedy
from service.contract.report import to_wire

EXPLODING_GAINS = 3.0
"""A loss explodes if it rises by more than this many times its drop from the start (SageMaker asks for a NaN only)."""
EXPLODING_FACTOR = 10.0
"""... and to more than this many times its best value, if that is positive."""


def diverged(curves: TrialCurves) -> Finding | None:
    """A loss became NaN or infinite, or the worker ended the attempt for that reason."""
    broken = nonfinite_losses(curves.facts)
    if not broken and curves.facts.failure is not FailureClass.DIVERGED:
        return None
    train = curves.train or curves.val
    if broken:
        name, step, value = min(broken, key=lambda each: each[1])
        evidence = [Evidence(name=name, value=to_wire(value), step=step)]
        sentence = f"{name} is not a finite number from step {step} on."
    else:
        evidence = []
        sentence = "The loss became NaN or infinite in the first epoch."
    if train is not None:
        last = len(train) - 1
        evidence = [point(train, train.best_index), point(train, last), *evidence]
        if not broken:
            sentence = f"The loss became NaN or infinite after step {step_of(train, last)}"
            rose = last > train.best_index and train.values[last] > train.values[train.best_index]
            sentence += f"; {train.name} rose from {at(train, train.best_index)} to {at(train, last)}." if rose else "."
    return finding(curves, "diverged", Confidence.HIGH, sentence, evidence=evidence, remedies=too_fast(curves, 0.1))


def exploding(curves: TrialCurves) -> Finding | None:
    """The training loss rose to a multiple of everything it had gained, and stayed finite."""
    train = curves.train or curves.val
    if train is None or len(train) < 3:
        return None
    rise, last = train.end - train.best, len(train) - 1
    start = train.first if curves.chance is None else max(train.first, curves.chance)
    if train.best_index >= last - 1 or rise <= EXPLODING_GAINS * max(start - train.best, 0.0):
        return None
    if train.best > 0 and train.end < EXPLODING_FACTOR * train.best:
        return None
    sentence = (
        f"{train.name} rose from {at(train, train.best_index)} to {at(train, last)}, "
        f"{number_text(rise / max(start - train.best, 1e-12))} times as much as it had fallen."
    )
    evidence = [
        point(train, train.best_index),
        point(train, last),
        figure("rise by drop", rise / max(start - train.best, 1e-12)),
    ]
    return finding(curves, "exploding", Confidence.MEDIUM, sentence, evidence=evidence, remedies=too_fast(curves, 0.1))


def too_fast(curves: TrialCurves, factor: float) -> list[Remedy]:
    """Return the remedies of steps that are too long, in the order of the lectures and of Karpathy's recipe."""
    found = [remedies.lower_rate(factor), remedies.clip_gradients(), remedies.warm_up(), remedies.normalize()]
    if not curves.config.get("model"):
        found.append(remedies.change_initialization())
    return found
