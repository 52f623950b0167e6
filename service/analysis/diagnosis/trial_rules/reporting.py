"""Findings of one trial in words: figures, evidence, and remedies."""

from __future__ import annotations

from collections.abc import Sequence

from service.analysis.diagnosis.curve import Curve
from service.analysis.diagnosis.trial_curves import TrialCurves
from service.contract.finding import Confidence, Evidence, Finding, Remedy
from service.contract.report import to_wire


def finding(
    curves: TrialCurves,
    rule: str,
    confidence: Confidence,
    sentence: str,
    *,
    evidence: Sequence[Evidence],
    remedies: Sequence[Remedy],
) -> Finding:
    """Return a finding about the trial of these curves."""
    return Finding(
        rule=rule,
        confidence=confidence,
        sentence=sentence,
        evidence=list(evidence),
        remedies=list(remedies),
        trial=curves.facts.number,
    )


def point(curve: Curve, index: int) -> Evidence:
    """Return a value of a curve as evidence."""
    return Evidence(name=curve.name, value=curve.raw(index), step=step_of(curve, index))


def figure(name: str, value: float) -> Evidence:
    """Return a figure that belongs to no step as evidence."""
    return Evidence(name=name, value=to_wire(float(value)))


def step_of(curve: Curve, index: int) -> int:
    return int(curve.steps[index])


def at(curve: Curve, index: int) -> str:
    """Return a value with its step: "0.31 at step 4"."""
    return f"{number_text(curve.raw(index))} at step {step_of(curve, index)}"


def number_text(value: float) -> str:
    """Return a number with three significant digits."""
    return f"{value:.3g}"
