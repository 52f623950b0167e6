"""Baselines: simple models on the data of a training, fitted in seconds, to compare a search with."""

from worker.training.baselines.baseline import BASELINES, Baseline
from worker.training.baselines.runner import run_baselines

__all__ = ["BASELINES", "Baseline", "run_baselines"]
