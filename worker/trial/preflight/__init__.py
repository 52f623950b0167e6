"""Preflight of a study: turns its spec into what the training core's preflight checks."""

from worker.trial.preflight.check_study import preflight_study

__all__ = ["preflight_study"]
