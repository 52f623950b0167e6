"""Fits an estimator block by block, and measures, reports and predicts as a training of the core does."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from threadpoolctl import threadpool_limits
from torch import Tensor, nn

from worker.training.allowed_folders import AllowedFolders
from worker.training.components.link import LINKS
from worker.training.components.losses import LOSSES
from worker.training.components.metrics import Metrics
from worker.training.data import DATA, Dataset, Kind, SplitName
from worker.training.errors import ConfigError
from worker.training.estimators.config import EstimatorConfig
from worker.training.estimators.entries import ESTIMATORS
from worker.training.estimators.example_rows import rows_of, targets_of
from worker.training.estimators.outputs import as_outputs, measure, predicted
from worker.training.estimators.preparation import Preparation
from worker.training.estimators.threads import num_threads
from worker.training.events import Ending, Monitor, OnReport, Report, TrainingResult, Verdict
from worker.training.loop.best_epoch import BestTracker
from worker.training.loop.hooks import continue_training
from worker.training.predictions import of_outputs
from worker.training.seeding import derive
from worker.training.validate import check_metrics, require_fit

MAX_COLUMNS = 1_000
"""The most columns that an estimator gets; of more those are chosen that an F-test finds most related to the target."""

_LOSSES: dict[Kind, str] = {"classification": "cross_entropy", "regression": "mse", "ranking": "listnet"}
_EACH_BLOCK: tuple[SplitName, ...] = ("train", "val", "test_val")
_HELD_OUT: tuple[SplitName, ...] = ("val", "test_val", "test")


def train_estimator(
    config: EstimatorConfig,
    *,
    seed: int = 0,
    monitor: Monitor | None = None,
    on_report: OnReport = continue_training,
    on_data: Callable[[Dataset], None] | None = None,
    until_step: int | None = None,
    readable: Sequence[Path] | None = None,
) -> TrainingResult:
    """Fit an estimator on the CPU, and report after each block of iterations or trees.

    It uses at most as many threads as torch.

    Args:
        config: the data, the estimator and the metrics.
        seed: the seed of all draws.
        monitor: which metric decides on the best size; None: the last one is kept.
        on_report: called with the metrics after each block; the step is the size so far. Returns a verdict.
        on_data: called with the dataset after it was loaded.
        until_step: the size at which to end; None: the configured one.
        readable: the folders that all paths of the configuration must lie in, after following links; None: no limit.

    Returns:
        The result. Its metrics are those of the kept size, and of a fit that was not stopped also `test/…`;
        `num_parameters` is the number of nodes of all trees. It has no models.

    Raises:
        ConfigError: the data can't be used, or the estimator or a metric does not fit it.
        OutsideFolders: a path is not in a `readable` folder.
    """
    dataset = DATA.create(config.data.name, config.data.settings, folders=AllowedFolders.of(readable))
    if on_data is not None:
        on_data(dataset)
    _check_fit(config, dataset)
    check_metrics(config.metrics, dataset, monitor)
    started = time.perf_counter()
    with threadpool_limits(limits=num_threads(dataset)):
        fit = _Fit(config, dataset, seed, until_step)
        best = BestTracker(monitor, 0)
        reached, metrics, verdict = 0, dict[str, float](), Verdict.CONTINUE
        for reached in fit.ensemble.grow(fit.rows, fit.targets):
            metrics = fit.measure(fit.outputs(_EACH_BLOCK))
            best.update(reached, metrics, lambda: [fit.outputs(_HELD_OUT)])
            verdict = on_report(Report(reached, metrics))
            if verdict is not Verdict.CONTINUE:
                break
        facts = {"seconds": time.perf_counter() - started, "num_parameters": float(fit.ensemble.num_nodes)}
        if verdict is not Verdict.CONTINUE:
            ending = Ending.STOPPED if verdict is Verdict.STOP else Ending.PAUSED
            return TrainingResult(ending, reached, {**metrics, **facts}, None, ())
        kept, step = best.restorable, None
        outputs = fit.outputs(_HELD_OUT)
        if kept is not None and kept.weights is not None:
            outputs, step, metrics = kept.weights[0], kept.step, kept.metrics
        final = fit.measure({"test": outputs["test"]}) if "test" in outputs else {}
    predictions = {
        name: of_outputs(outputs[name], dataset.splits[name].targets, dataset, name, fit.link)
        for name in _HELD_OUT
        if name in outputs
    }
    return TrainingResult(Ending.FINISHED, reached, {**metrics, **final, **facts}, step, (), predictions)


class _Fit:
    """One fit: the estimator, the prepared rows, and the loss and metrics of its outputs."""

    def __init__(self, config: EstimatorConfig, dataset: Dataset, seed: int, until_step: int | None) -> None:
        self._dataset = dataset
        self.link = LINKS["softmax" if dataset.kind == "classification" else "identity"]
        self._metrics = Metrics(dataset, torch.device("cpu"), config.metric_settings, self.link)
        loss = _LOSSES[dataset.kind]
        self._loss: nn.Module = LOSSES.create(loss, LOSSES.check(loss, {}), dataset)
        ensemble = ESTIMATORS.create(config.model.name, config.model.settings, dataset, derive(seed, "estimator"))
        self.ensemble = replace(ensemble, size=min(ensemble.size, until_step or ensemble.size))
        everything = torch.arange(len(dataset.train))
        rows = rows_of(dataset, dataset.train, everything)
        self.targets = targets_of(dataset, dataset.train, everything)
        self._prepare = Preparation(
            rows,
            self.targets,
            are_classes=dataset.kind == "classification",
            max_columns=MAX_COLUMNS,
            is_scaled=False,
            is_dense=True,
        )
        self.rows = self._prepare(rows)
        self._of_split: dict[SplitName, Any] = {}

    def outputs(self, names: Sequence[SplitName]) -> dict[str, Tensor]:
        """Return the outputs of the estimator, as it is now, for the measured examples of those splits that exist."""
        found: dict[str, Tensor] = {}
        for name in names:
            if name in self._dataset.splits:
                predictions = predicted(self.ensemble.estimator, self._dataset, self._prepared(name))
                found[name] = as_outputs(predictions, self._dataset, self._dataset.measured_targets(name), self.link)
        return found

    def measure(self, outputs: dict[str, Tensor]) -> dict[str, float]:
        """Return the loss and the metrics of the outputs of some splits."""
        values: dict[str, float] = {}
        for name in _EACH_BLOCK + _HELD_OUT[-1:]:
            if name in outputs:
                targets = self._dataset.measured_targets(name)
                values |= measure(outputs[name], targets, name, self._loss, self._metrics)
        return values

    def _prepared(self, name: SplitName) -> Any:
        """Return the prepared rows of a split's measured examples, which are made once."""
        if name not in self._of_split:
            split, indices = self._dataset.splits[name], self._dataset.measured(name)
            indices = torch.arange(len(split)) if indices is None else indices
            self._of_split[name] = self._prepare(rows_of(self._dataset, split, indices))
        return self._of_split[name]


def _check_fit(config: EstimatorConfig, dataset: Dataset) -> None:
    require_fit("model.name", ESTIMATORS, config.model.name, "kinds", dataset.kind)
    if dataset.kind != "classification" and config.model.settings.get("class_weight") is not None:
        raise ConfigError("model.class_weight", f"weighs classes, and the data is for {dataset.kind}; leave it out")
