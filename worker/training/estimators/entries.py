"""Registry of estimators: factories from a dataset, a seed and settings to an ensemble of scikit-learn."""

from __future__ import annotations

from typing import Annotated, Literal

from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)

from worker.training.data import Dataset
from worker.training.estimators.growing import GrowingEnsemble
from worker.training.estimators.threads import num_threads
from worker.training.parameters import Setting
from worker.training.registry import Registry

ESTIMATORS: Registry[GrowingEnsemble] = Registry("model")

_BLOCK = 10
_KINDS = ["classification", "regression", "ranking"]

MinSamplesLeaf = Annotated[int, Setting("examples that a leaf has at least", low=1)]
MaxDepth = Annotated[int | None, Setting("longest path from root to leaf; null: no limit", low=1)]


def hist_boosting(
    dataset: Dataset,
    seed: int,
    *,
    max_iter: Annotated[int, Setting("iterations; each adds a tree, or a tree per class", low=1, high=100_000)] = 100,
    learning_rate: Annotated[float, Setting("share of each tree's correction", low=0.0, exclusive_low=True)] = 0.1,
    max_leaf_nodes: Annotated[int | None, Setting("leaves of a tree; null: no limit", low=2)] = 31,
    max_depth: MaxDepth = None,
    min_samples_leaf: MinSamplesLeaf = 20,
    l2_regularization: Annotated[float, Setting("penalty of the squared values of leaves", low=0.0)] = 0.0,
    max_features: Annotated[
        float, Setting("share of the columns tried at each split", low=0.0, high=1.0, exclusive_low=True)
    ] = 1.0,
    max_bins: Annotated[int, Setting("bins of each column", low=2, high=255)] = 255,
    class_weight: Annotated[
        Literal["balanced"] | None, Setting("balanced: classes by the inverse of their frequency (classification)")
    ] = None,
) -> GrowingEnsemble:
    """Gradient boosting of trees on binned columns, scikit-learn's HistGradientBoosting (as LightGBM)."""
    settings = {
        "learning_rate": learning_rate, "max_leaf_nodes": max_leaf_nodes, "max_depth": max_depth,
        "min_samples_leaf": min_samples_leaf, "l2_regularization": l2_regularization, "max_features": max_features,
        "max_bins": max_bins,
    }  # fmt: skip
    shared = {"early_stopping": False, "warm_start": True, "random_state": seed % 2**32}
    if dataset.kind == "classification":
        estimator = HistGradientBoostingClassifier(**settings, **shared, class_weight=class_weight)
    else:
        estimator = HistGradientBoostingRegressor(**settings, **shared)
    return GrowingEnsemble(estimator, "max_iter", max_iter, _BLOCK)


def random_forest(
    dataset: Dataset,
    seed: int,
    *,
    n_estimators: Annotated[int, Setting("trees", low=1, high=100_000)] = 100,
    max_depth: MaxDepth = None,
    max_features: Annotated[
        float | None,
        Setting(
            "share of the columns tried at each split; null: for classes the square root of their number, else all",
            low=0.0,
            high=1.0,
            exclusive_low=True,
        ),
    ] = None,
    min_samples_split: Annotated[int, Setting("examples that a node needs to be split", low=2)] = 2,
    min_samples_leaf: MinSamplesLeaf = 1,
    bootstrap: Annotated[bool, Setting("whether each tree draws its examples with replacement")] = True,
    class_weight: Annotated[
        Literal["balanced", "balanced_subsample"] | None,
        Setting("balanced: classes by the inverse of their frequency (classification)"),
    ] = None,
) -> GrowingEnsemble:
    """Random forest of scikit-learn: trees on random draws of examples and columns, averaged (Breiman 2001)."""
    shared = {
        "max_depth": max_depth, "min_samples_split": min_samples_split, "min_samples_leaf": min_samples_leaf,
        "bootstrap": bootstrap, "warm_start": True, "random_state": seed % 2**32, "n_jobs": num_threads(dataset),
    }  # fmt: skip
    if dataset.kind == "classification":
        chosen = "sqrt" if max_features is None else max_features
        estimator = RandomForestClassifier(**shared, max_features=chosen, class_weight=class_weight)
    else:
        estimator = RandomForestRegressor(**shared, max_features=1.0 if max_features is None else max_features)
    return GrowingEnsemble(estimator, "n_estimators", n_estimators, _BLOCK)


# `size` is the setting that the steps of a trial count.
ESTIMATORS.add(hist_boosting, kinds=_KINDS, size="max_iter")
ESTIMATORS.add(random_forest, kinds=_KINDS, size="n_estimators")
