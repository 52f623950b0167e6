"""Diagnosis of one trial from its learning curves."""

from __future__ import annotations

from collections.abc import Callable

from service.analysis.diagnosis.facts import TrialFacts
from service.contract.finding import Finding

RULES: tuple[Callable[[TrialFacts], Finding | None], ...] = ()
"""The rules, the gravest first."""


def diagnose_trial(facts: TrialFacts) -> list[Finding]:
    """Return what the learning curves of a trial show, the gravest first; empty where they say nothing."""
    return [finding for rule in RULES if (finding := rule(facts)) is not None]
