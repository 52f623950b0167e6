"""Preflight: checks a study's training in seconds, before any trial spends hours on it; knows no study and no trial."""

from worker.training.preflight.result import Check, Curve, LearningRateRange, PreflightResult, Status
from worker.training.preflight.runner import run_preflight
from worker.training.preflight.search_space import SearchedParameter, SearchSpace

__all__ = [
    "Check",
    "Curve",
    "LearningRateRange",
    "PreflightResult",
    "SearchSpace",
    "SearchedParameter",
    "Status",
    "run_preflight",
]
