"""Baselines of everything that can be written as rows of numbers: tables, images, texts, and rows of queries."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from worker.training.baselines.baseline import Baseline
from worker.training.baselines.linear import fit_linear
from worker.training.components.link import Link
from worker.training.components.metrics import Metrics
from worker.training.data import Dataset, SplitName
from worker.training.deadline import Deadline
from worker.training.estimators.entries import ESTIMATORS
from worker.training.estimators.example_rows import Table, rows_of, targets_of
from worker.training.estimators.outputs import as_outputs, measure, predicted
from worker.training.estimators.preparation import Preparation
from worker.training.seeding import derive, generator

MAX_TRAIN_ROWS = 10_000
"""The most training examples (of queries: rows) that a baseline is fitted on; more are sampled at random."""
MAX_MEASURED_ROWS = 20_000
"""The most examples of a split that a baseline is measured on."""
MAX_LINEAR_COLUMNS, MAX_TREE_COLUMNS = 1_000, 128
"""The most columns of the linear baseline (of TF-IDF: no limit), and of boosting and forest."""

_MEASURED: tuple[SplitName, ...] = ("train", "val", "test_val")
_MODELS = {
    "hist_boosting": "histogram gradient boosting, {} iterations",
    "random_forest": "random forest, {} trees",
}


class TableBaselines:
    """The baselines of one dataset; their rows of numbers are made once.

    Args:
        dataset: the dataset, on the CPU, of any kind but language.
        seed: the seed of all draws.
        loss: maps outputs and targets to the mean loss.
        metrics: the metrics to report.
        link: maps outputs to probabilities.
    """

    def __init__(self, dataset: Dataset, seed: int, loss: nn.Module, metrics: Metrics, link: Link) -> None:
        self._dataset, self._seed, self._loss, self._metrics, self._link = dataset, seed, loss, metrics, link
        self._train = self._sample("train", None, MAX_TRAIN_ROWS)
        self._measured = {
            name: self._sample(name, dataset.measured(name), MAX_MEASURED_ROWS)
            for name in _MEASURED
            if name in dataset.splits
        }

    @property
    def fitters(self) -> dict[str, Callable[[Deadline], Baseline]]:
        """A function for each baseline, which fits and measures it until a deadline."""
        trees = {name: partial(self._fit_trees, name) for name in _MODELS}
        majority = {} if self._dataset.kind == "ranking" else {"majority": self._fit_majority}
        return {**majority, "linear": self._fit_linear, **trees}

    def _fit_majority(self, _: Deadline) -> Baseline:
        """Predict the frequencies of the classes, or the mean, whatever the features are."""
        dataset = self._dataset
        if dataset.kind == "classification":
            constant = (dataset.class_counts / dataset.class_counts.sum()).double()
            model = f"most frequent class, {dataset.class_names[int(constant.argmax())]!r}"
        else:  # targets are standardised
            constant, model = torch.zeros(()).double(), f"mean, {dataset.target_mean:.6g}"
        values = self._measure(lambda indices, _: constant.expand(len(indices), *constant.shape).numpy().copy())
        return Baseline("majority", model, values, note=self._note(None, is_of_sample=False))

    def _fit_linear(self, deadline: Deadline) -> Baseline:
        prepare = self._prepare(MAX_LINEAR_COLUMNS, is_scaled=True, is_dense=False)
        are_classes = self._dataset.kind == "classification"
        model, words, problem = fit_linear(prepare(self._rows), self._targets, deadline, are_classes=are_classes)
        values = self._measure(lambda _, table: predicted(model, self._dataset, prepare(table)))
        return Baseline("linear", words, values, note=self._note(problem))

    def _fit_trees(self, name: str, deadline: Deadline) -> Baseline:
        prepare = self._prepare(MAX_TREE_COLUMNS, is_scaled=False, is_dense=True)
        table, seed = prepare(self._rows), derive(self._seed, f"baselines/{name}")
        limit = deadline.left
        ensemble = ESTIMATORS.create(name, ESTIMATORS.check(name, {}), self._dataset, seed)
        reached = ensemble.grow_until(table, self._targets, deadline)
        problem = None
        if reached < ensemble.size:
            problem = f"not completed: {reached} of {ensemble.size} {ensemble.unit} at its time limit of {limit:.3g} s"
        values = self._measure(lambda _, rows: predicted(ensemble.estimator, self._dataset, prepare(rows)))
        return Baseline(name, _MODELS[name].format(reached), values, note=self._note(problem))

    @cached_property
    def _rows(self) -> Table:
        return rows_of(self._dataset, self._dataset.train, self._train)

    @cached_property
    def _targets(self) -> NDArray[Any]:
        return targets_of(self._dataset, self._dataset.train, self._train)

    @cached_property
    def _measured_rows(self) -> dict[SplitName, Table]:
        return {name: rows_of(self._dataset, self._dataset.splits[name], at) for name, at in self._measured.items()}

    def _prepare(self, max_columns: int, *, is_scaled: bool, is_dense: bool) -> Preparation:
        is_counted = self._dataset.inputs == "tokens"
        return Preparation(
            self._rows,
            self._targets,
            are_classes=self._dataset.kind == "classification",
            max_columns=self._rows.shape[1] if is_counted and not is_dense else max_columns,
            is_scaled=is_scaled,
            is_dense=is_dense,
        )

    def _measure(self, predict: Callable[[Tensor, Table], NDArray[Any]]) -> dict[str, float]:
        """Return the metrics of all splits; `predict` gets the indices and the rows of a split's examples."""
        values: dict[str, float] = {}
        for name, indices in self._measured.items():
            targets = self._dataset.splits[name].targets[indices]
            outputs = as_outputs(predict(indices, self._measured_rows[name]), self._dataset, targets, self._link)
            values |= measure(outputs, targets, name, self._loss, self._metrics)
        return values

    def _sample(self, name: SplitName, indices: Tensor | None, most_rows: int) -> Tensor:
        """Return the indices of a split's examples in their order; of too many a random sample."""
        split, shape = self._dataset.splits[name], self._dataset.shape
        indices = torch.arange(len(split)) if indices is None else indices
        most = max(1, most_rows // shape[0]) if self._dataset.inputs == "queries" else most_rows
        if len(indices) <= most:
            return indices
        order = torch.randperm(len(indices), generator=generator(self._seed, f"baselines/{name}"))
        return indices[order[:most].sort().values]

    def _note(self, problem: str | None, *, is_of_sample: bool = True) -> str | None:
        """Return what to know about the values of a baseline; None: nothing."""
        notes = [] if problem is None else [problem]
        if is_of_sample and len(self._train) < len(self._dataset.train):
            notes.append(f"fitted on {len(self._train)} of {len(self._dataset.train)} training examples")
        notes += [
            f"measured on {len(indices)} of {len(self._dataset.splits[name])} examples of {name}"
            for name, indices in self._measured.items()
            if name != "train" and len(indices) < len(self._dataset.splits[name])
        ]
        return "; ".join(notes) or None
