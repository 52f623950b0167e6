"""Searches scikit-learn's models on a table: linear, histogram boosting and its multi-layer perceptron.

Each model gets as many configurations as a study gets trials: its defaults, then a grid of the only parameter of a
linear model, or random draws of the others. The validation split decides between them.
"""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from sklearn.compose import TransformedTargetRegressor, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.exceptions import ConvergenceWarning
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, balanced_accuracy_score, log_loss, root_mean_squared_error
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from benchmarks.tables import Table

Parts = Mapping[str, NDArray[np.int64]]
"""The rows of the splits train, val and test."""

SCORES: Mapping[str, Callable[[Any, Any], float]] = {
    "accuracy": accuracy_score,
    "balanced_accuracy": balanced_accuracy_score,
    "rmse": root_mean_squared_error,
}
"""Metrics of a study by which a model's predictions can be compared with a study's."""


class Found(NamedTuple):
    """The result of a search: the test score of the configuration that the validation split chose."""

    test: float
    default: float
    """The test score of the defaults."""
    seconds: float
    """Processor seconds of the whole search."""


def _log_uniform(chance: np.random.Generator, low: float, high: float) -> float:
    return math.exp(chance.uniform(math.log(low), math.log(high)))


def _linear(table: Table, chance: np.random.Generator, num: int) -> Iterator[Any]:
    """Yield models whose strength of the penalty is the default, then spans six decades."""
    del chance
    for strength in (1.0, *np.logspace(-3, 3, num - 1).tolist()):
        yield Ridge(alpha=strength) if table.is_regression else LogisticRegression(C=strength, max_iter=5000)


def _boosting(table: Table, chance: np.random.Generator, num: int) -> Iterator[Any]:
    model = HistGradientBoostingRegressor if table.is_regression else HistGradientBoostingClassifier
    fixed = {"categorical_features": list(range(len(_categorical(table)))), "random_state": 0}
    yield model(**fixed)
    for _ in range(num - 1):
        yield model(
            learning_rate=_log_uniform(chance, 0.02, 0.3),
            max_iter=int(chance.choice([50, 100, 200])),
            max_leaf_nodes=int(chance.choice([7, 15, 31, 63])),
            min_samples_leaf=int(chance.choice([5, 10, 20, 40])),
            l2_regularization=_log_uniform(chance, 1e-3, 10),
            **fixed,
        )


def _mlp(table: Table, chance: np.random.Generator, num: int) -> Iterator[Any]:
    widths = [(32,), (64,), (128,), (256,), (64, 64), (128, 128)]
    for number in range(num):
        drawn = {
            "hidden_layer_sizes": widths[chance.integers(len(widths))],
            "alpha": _log_uniform(chance, 1e-5, 10),
            "learning_rate_init": _log_uniform(chance, 3e-4, 3e-2),
        }
        options: dict[str, Any] = {"max_iter": 500, "random_state": 0, **(drawn if number else {})}
        # It does not scale its targets itself.
        scaled = TransformedTargetRegressor(MLPRegressor(**options), transformer=StandardScaler())
        yield scaled if table.is_regression else MLPClassifier(**options)


MODELS = {"linear": _linear, "boosting": _boosting, "mlp": _mlp}


def search(name: str, table: Table, parts: Parts, metric: str, *, num: int, seed: int) -> Found:
    """Fit `num` configurations of a model on the training split and test the one that validates best.

    Of configurations with equal scores, the one with the lowest log loss is chosen, as in a study.

    Args:
        name: the model, a key of `MODELS`.
        table: the table.
        parts: the rows of each split.
        metric: the score, a key of `SCORES`.
        num: the number of configurations.
        seed: the seed of the random draws.
    """
    began, chance = time.process_time(), np.random.default_rng(seed)
    features, target = _features(table), np.array(table.target)
    encode = _encoder(table, is_boosting=name == "boosting").fit(features[parts["train"]])
    encoded = {part: encode.transform(features[rows]).astype(np.float64) for part, rows in parts.items()}
    candidates: list[tuple[float, float, float]] = []
    for model in MODELS[name](table, chance, num):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(encoded["train"], target[parts["train"]])
        validated, tested = (
            SCORES[metric](target[parts[part]], model.predict(encoded[part])) for part in ("val", "test")
        )
        loss = validated if table.is_regression else -validated
        tie = 0.0
        if not table.is_regression:
            tie = log_loss(target[parts["val"]], model.predict_proba(encoded["val"]), labels=model.classes_)
        candidates.append((loss, tie, float(tested)))
    return Found(min(candidates)[2], candidates[0][2], time.process_time() - began)


def _categorical(table: Table) -> list[int]:
    return [at for at, each in enumerate(table.columns.values()) if isinstance(each[0], str)]


def _features(table: Table) -> NDArray[Any]:
    """Return the features [n, columns] as objects, NaN where a number is missing."""
    columns = [
        np.array([math.nan if each is None else each for each in values], dtype=object)
        for values in table.columns.values()
    ]
    return np.stack(columns, axis=1)


def _encoder(table: Table, *, is_boosting: bool) -> Any:
    """Return what a user would write: boosting reads missing values and categories itself, the others need help."""
    categorical = _categorical(table)
    numeric = [at for at in range(len(table.columns)) if at not in categorical]
    if is_boosting:
        unknown = {"handle_unknown": "use_encoded_value", "unknown_value": math.nan}
        return make_column_transformer((OrdinalEncoder(**unknown), categorical), ("passthrough", numeric))
    scale = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_column_transformer((one_hot, categorical), (scale, numeric))
