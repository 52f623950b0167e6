"""Fits the baselines one after the other, each within its time limit, and measures them as a training is measured."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from threadpoolctl import threadpool_limits
from torch import nn

from worker.training.allowed_folders import ANYWHERE, AllowedFolders
from worker.training.baselines.baseline import BASELINES, Baseline
from worker.training.baselines.next_token import MAX_PAIRS, NextToken, bigrams, unigrams
from worker.training.baselines.tables import TableBaselines
from worker.training.build import load
from worker.training.components.link import link_of
from worker.training.components.losses import LOSSES
from worker.training.components.metrics import Metrics
from worker.training.config import TrainingConfig
from worker.training.data import Dataset
from worker.training.deadline import Deadline
from worker.training.estimators.threads import num_threads
from worker.training.evaluate import evaluate

OnBaseline = Callable[[Baseline], None]

_CPU = torch.device("cpu")


def run_baselines(
    config: TrainingConfig,
    *,
    seconds: float,
    seed: int = 0,
    readable: Sequence[Path] | None = None,
    dataset: Dataset | None = None,
    on_baseline: OnBaseline | None = None,
) -> list[Baseline]:
    """Fit the baselines on the training examples, and measure them on the validation examples; never on the test set.

    Of a cross-validation the first fold is used. The baselines compute on the CPU, with at most as many threads as
    torch, and change no random stream of the process.

    Args:
        config: the training whose data, loss and metrics are used.
        seconds: the time limit of all baselines; each may take an equal share of what the ones before it left.
        seed: the seed of all draws.
        readable: the folders that all paths of the configuration must lie in, after following links; None: no limit.
        dataset: the dataset, if it is loaded already.
        on_baseline: called with each baseline as soon as it is done.

    Returns:
        One result for each of `BASELINES`, in this order.

    Raises:
        ConfigError: the data can't be used, or the metrics or the loss do not fit it.
        OutsideFolders: a path is not in a `readable` folder.
    """
    folders = AllowedFolders.of(readable)
    dataset = (load(config, _CPU, folders)[0] if dataset is None else dataset).to(_CPU)
    link = link_of(config.loss.name, dataset.kind)
    metrics = Metrics(dataset, _CPU, config.metric_settings, link)
    loss = _loss(config, dataset, folders)
    deadline = Deadline(seconds)
    fitters: Mapping[str, Callable[[Deadline], Baseline]]
    if dataset.kind == "language":
        fitters = _language_baselines(dataset, loss, metrics)
    else:
        fitters = TableBaselines(dataset, seed, loss, metrics, link).fitters
    found = []
    with threadpool_limits(limits=num_threads(dataset)):
        for at, name in enumerate(BASELINES):
            if name not in fitters:
                baseline = Baseline(name, note=f"there is no such model of {dataset.kind} data")
            elif deadline.has_passed:
                baseline = Baseline(name, note=f"not fitted: the {seconds:.3g} s of all baselines were over")
            else:
                baseline = _timed(name, fitters[name], Deadline(deadline.left / (len(BASELINES) - at)))
            found.append(baseline)
            if on_baseline is not None:
                on_baseline(baseline)
    return found


def _timed(name: str, fit: Callable[[Deadline], Baseline], deadline: Deadline) -> Baseline:
    """Fit one baseline and time it; what it raises is its note, since a baseline must not end what it accompanies."""
    started = time.perf_counter()
    try:
        baseline = fit(deadline)
    except Exception as error:  # entries of the user's own, such as a loss, may raise anything
        reason = (str(error).splitlines() or [""])[0][:300]
        baseline = Baseline(name, note=f"failed: {type(error).__name__}: {reason}")
    return replace(baseline, seconds=time.perf_counter() - started)


def _language_baselines(
    dataset: Dataset, loss: nn.Module, metrics: Metrics
) -> Mapping[str, Callable[[Deadline], Baseline]]:
    def majority(_: Deadline) -> Baseline:
        values = evaluate(NextToken(unigrams(dataset)), loss, metrics, dataset, ("train", "val"))
        return Baseline("majority", "frequency of each token", values)

    def linear(_: Deadline) -> Baseline:
        values = evaluate(NextToken(bigrams(dataset)), loss, metrics, dataset, ("train", "val"))
        return Baseline("linear", "frequency of each token after the one before it (bigrams)", values)

    has_table = dataset.vocabulary**2 <= MAX_PAIRS
    return {"majority": majority} | ({"linear": linear} if has_table else {})


def _loss(config: TrainingConfig, dataset: Dataset, folders: AllowedFolders = ANYWHERE) -> nn.Module:
    """Return the loss by which a training's `val/loss` is measured; of a distillation the share of the targets."""
    name, settings = config.loss.name, config.loss.settings
    if name == "distill":
        name = "cross_entropy"
        settings = LOSSES.check(name, {"label_smoothing": settings["label_smoothing"]})
    return LOSSES.create(name, settings, dataset, folders=folders)
