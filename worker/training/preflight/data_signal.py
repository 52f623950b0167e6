"""Check 8, features: numbers on one scale, and a quick model that learns something from them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from worker.training.preflight.bench import Bench
from worker.training.preflight.result import Check, Status
from worker.training.preflight.tabular_view import sample, table_of
from worker.training.seeding import derive

_NUMBER = 8
_LARGEST_STD, _SMALLEST_STD = 20.0, 0.02
_NUM_TREES = 40
_MIN_EXAMPLES = 20


def check_features(bench: Bench) -> list[Check]:
    """Look for features that are not finite, and for scales that differ."""
    name, dataset = "feature_scales", bench.dataset
    if dataset.inputs == "tokens":
        return []
    features, _ = dataset.batch(dataset.train, sample(dataset.train, bench.seed))
    if not torch.isfinite(features.float()).all():
        return [
            Check(
                _NUMBER, name, Status.FAILED, "Some features are not finite numbers.", {},
                "Replace missing values before training.",
            )
        ]  # fmt: skip
    axes = [0, *range(2, features.ndim)] if dataset.inputs == "images" else [*range(features.ndim - 1)]
    num_numbers = features.shape[-1] - len(dataset.categories)
    values = features.float() if dataset.inputs == "images" else features[..., :num_numbers].float()
    if not values.numel():
        return []
    stds = values.std(axes)
    varying = stds[stds > 0]
    figures = {
        "largest_std": float(stds.max()), "smallest_std": float(varying.min()) if len(varying) else 0.0,
        "constant": int((stds == 0).sum()), "features": len(stds),
    }  # fmt: skip
    seen = (
        f"Standard deviations of the features lie between {figures['smallest_std']:.2g} "
        f"and {figures['largest_std']:.2g}"
    )
    if figures["largest_std"] > _LARGEST_STD or (dataset.inputs == "images" and stds.max() < _SMALLEST_STD):
        return [
            Check(
                _NUMBER, name, Status.WARNED, f"{seen}: they are not on one scale.", figures,
                "Standardise the features by statistics of the training set.",
            )
        ]  # fmt: skip
    return [Check(_NUMBER, name, Status.PASSED, f"{seen}.", figures)]


def check_signal(bench: Bench) -> list[Check]:
    """Train a random forest for a moment: if it beats no constant, labels may not belong to their examples."""
    name, dataset = "signal", bench.dataset
    if dataset.kind in ("language", "ranking") or "val" not in dataset.splits:
        return []
    val, train = dataset.splits["val"], dataset.train
    if len(val) < _MIN_EXAMPLES or len(train) < _MIN_EXAMPLES:
        return [Check(_NUMBER, name, Status.NOT_RUN, f"Fewer than {_MIN_EXAMPLES} examples.")]
    rows, val_rows = sample(train, bench.seed), sample(val, bench.seed)
    kind: Any = RandomForestClassifier if dataset.kind == "classification" else RandomForestRegressor
    forest = kind(_NUM_TREES, min_samples_leaf=2, random_state=derive(bench.seed, "preflight/signal") % 2**32)
    forest.fit(table_of(dataset, train, rows), train.targets[rows].flatten().cpu().numpy())
    predicted = forest.predict(table_of(dataset, val, val_rows))
    targets = val.targets[val_rows].flatten().cpu().numpy()
    if dataset.kind == "classification":
        score, constant = float((predicted == targets).mean()), float(np.bincount(targets).max() / len(targets))
        error = math.sqrt(constant * (1 - constant) / len(targets))
        what, against = "right", f"the majority class {constant:.1%}"
        shown_score = f"{score:.1%}"
    else:
        score = float(1 - ((predicted - targets) ** 2).sum() / max(((targets - targets.mean()) ** 2).sum(), 1e-12))
        constant, error, what, against, shown_score = (
            0.0,
            0.0,
            "of the variance explained",
            "the mean 0",
            f"{score:.2f}",
        )
    figures = {"forest": score, "constant": constant, "standard_error": error}
    seen = f"A random forest has {shown_score} {what} on validation, {against}"
    if score > constant + error or constant + 2 * error >= 1:
        return [Check(_NUMBER, name, Status.PASSED, f"{seen}.", figures)]
    return [
        Check(
            _NUMBER, name, Status.WARNED, f"{seen}: the features tell nothing about the targets.", figures,
            "Check that each target belongs to its example: the order of two files, a shuffled column, a wrong join.",
        )
    ]  # fmt: skip
