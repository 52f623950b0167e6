"""Diagnosis of one trial from its learning curves: the rules in order, and which finding explains which."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from service.analysis.diagnosis.facts import TrialFacts
from service.analysis.diagnosis.trial_curves import TrialCurves
from service.analysis.diagnosis.trial_rules import divergence, generalization, gradients, length, rate, start
from service.contract.finding import Finding
from service.contract.trial import TrialState

RULES: tuple[Callable[[TrialCurves], Finding | None], ...] = (
    divergence.diverged,
    gradients.exploding_gradients,
    divergence.exploding,
    gradients.large_updates,
    generalization.strong_regularization,
    gradients.vanishing_gradients,
    gradients.dead_units,
    rate.rate_too_high,
    start.no_step,
    start.bad_initialization,
    generalization.noisy_labels,
    start.flat_then_drop,
    rate.decayed_too_early,
    rate.rate_too_low,
    start.stalled,
    generalization.overfitting,
    rate.oscillating,
    rate.plateau,
    length.still_improving,
    generalization.underfitting,
    generalization.high_variance,
    length.best_step_early,
    length.saturated_early,
)
"""The rules, the gravest first: where several find something, the first names the cause."""

_TOO_FAST = frozenset({"exploding", "rate_too_high", "oscillating", "plateau"})
_FIT = frozenset({"overfitting", "underfitting", "high_variance", "noisy_labels"})
_LENGTH = frozenset({"still_improving", "best_step_early", "saturated_early"})
_SLOW = frozenset({"rate_too_low", "flat_then_drop", "stalled", "decayed_too_early"})
_INSIDE = frozenset({"dead_units", "vanishing_gradients", "exploding_gradients", "bad_initialization"})

EXPLAINS: Mapping[str, frozenset[str]] = {
    "diverged": _TOO_FAST | _FIT | _LENGTH | _SLOW | _INSIDE - {"exploding_gradients"},
    "exploding_gradients": _TOO_FAST | _FIT | _LENGTH | _SLOW | {"bad_initialization", "dead_units"},
    "vanishing_gradients": _SLOW | {"underfitting", "saturated_early", "still_improving", "plateau"},
    "dead_units": _SLOW | {"underfitting", "saturated_early", "plateau"},
    "exploding": _TOO_FAST | _FIT | _LENGTH | _SLOW | {"bad_initialization"},
    "rate_too_high": _TOO_FAST | _FIT | _LENGTH | _SLOW | {"bad_initialization"},
    "stalled": _SLOW | _FIT | _LENGTH | {"oscillating", "plateau"},
    "bad_initialization": frozenset({"rate_too_low", "flat_then_drop", "underfitting", "still_improving", "plateau"}),
    "noisy_labels": _FIT | _LENGTH,
    "oscillating": _LENGTH | {"plateau", "high_variance", "underfitting", "rate_too_low"},
    "decayed_too_early": _LENGTH | {"stalled", "underfitting", "rate_too_low", "plateau"},
    "rate_too_low": frozenset({"stalled", "still_improving", "underfitting", "saturated_early"}),
    "overfitting": _LENGTH | {"high_variance", "underfitting"},
    "plateau": _LENGTH | {"underfitting"},
    "still_improving": frozenset({"underfitting", "saturated_early"}),
    "underfitting": _LENGTH | {"rate_too_low", "rate_too_high", "oscillating", "plateau", "stalled", "noisy_labels"},
    "best_step_early": frozenset({"saturated_early"}),
}
"""Rule -> the rules whose findings it explains, so that they are left out beside it."""

_SILENT = frozenset({TrialState.WAITING, TrialState.CANCELLED})


def diagnose_trial(facts: TrialFacts) -> list[Finding]:
    """Return what the learning curves of a trial show, the gravest first; empty where they say nothing.

    The first finding names the most likely cause. A finding that another one explains is left out.
    """
    if facts.state in _SILENT:
        return []
    curves = TrialCurves.of(facts)
    findings: list[Finding] = []
    explained: set[str] = set()
    for rule in RULES:
        found = rule(curves)
        if found is not None and found.rule not in explained:
            findings.append(found)
            explained |= EXPLAINS.get(found.rule, frozenset()) | {found.rule}
    return findings
