"""Diagnosis of a whole study from its trials."""

from __future__ import annotations

from collections.abc import Callable

from service.analysis.diagnosis.best_at_border import best_at_border
from service.analysis.diagnosis.diminishing_returns import past_point_of_return
from service.analysis.diagnosis.facts import StudyFacts
from service.analysis.diagnosis.failure_region import failure_region
from service.analysis.diagnosis.model_choice import below_linear, cheaper_as_good, finetunes_all_on_few
from service.analysis.diagnosis.noise_and_differences import noise_exceeds_differences, seeds_overlap
from service.analysis.diagnosis.parameter_without_effect import parameter_without_effect
from service.analysis.diagnosis.pruner_eagerness import pruner_too_eager
from service.analysis.diagnosis.slow_host import slow_host
from service.analysis.diagnosis.validation_and_test import consulted_test_split, validation_too_small
from service.contract.finding import Finding

RULES: tuple[Callable[[StudyFacts], Finding | None], ...] = (
    below_linear,
    failure_region,
    slow_host,
    best_at_border,
    pruner_too_eager,
    noise_exceeds_differences,
    validation_too_small,
    seeds_overlap,
    consulted_test_split,
    finetunes_all_on_few,
    past_point_of_return,
    parameter_without_effect,
    cheaper_as_good,
)
"""The rules, the gravest first."""


def diagnose_study(facts: StudyFacts) -> list[Finding]:
    """Return what the results of a study show, the gravest first; empty where they say nothing."""
    return [finding for rule in RULES if (finding := rule(facts)) is not None]
