"""Diagnosis of a whole study from its trials."""

from __future__ import annotations

from collections.abc import Callable

from service.analysis.diagnosis.facts import StudyFacts
from service.contract.finding import Finding

RULES: tuple[Callable[[StudyFacts], Finding | None], ...] = ()
"""The rules, the gravest first."""


def diagnose_study(facts: StudyFacts) -> list[Finding]:
    """Return what the results of a study show, the gravest first; empty where they say nothing."""
    return [finding for rule in RULES if (finding := rule(facts)) is not None]
