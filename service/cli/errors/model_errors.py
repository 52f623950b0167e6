"""The errors of one model on one split, example by example, and what a metric would be without some of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.cli.errors.metrics import default_metric, metric_named
from service.cli.errors.predictions import Floats, Mask, SplitPredictions

_RANKING = ("ndcg", "ndcg_10", "mrr", "map")


@dataclass(frozen=True)
class ModelErrors:
    """The errors of the examples, which are the queries in a ranking.

    Attributes:
        ids: [n].
        errors: [n], 0 or 1 for mistakes, absolute errors, or 1 - NDCG.
        losses: [n], what orders the examples from the worst.
        are_mistakes: whether the errors are 0 or 1.
        metric: the name of the metric in which gains are measured.
        is_maximized: whether a larger value is better.
        value: the metric's value.
        value_if_right: returns the value if the examples in a mask [n] were right.
    """

    ids: NDArray[Any]
    errors: Floats
    losses: Floats
    are_mistakes: bool
    metric: str
    is_maximized: bool
    value: float
    value_if_right: Callable[[Mask], float]

    def fixed(self, mask: Mask) -> tuple[float, float]:
        """Return the metric if the examples in `mask` [n] were right, and by how much it would be better."""
        value = self.value_if_right(mask)
        return value, (value - self.value) * (1 if self.is_maximized else -1)


def errors_of(predictions: SplitPredictions, metric: str) -> ModelErrors:
    """Return the errors of classes or values; gains are in `metric`, or in a plain metric if it can't be computed."""
    is_classification = bool(predictions.classes)
    chosen = metric_named(metric, is_classification=is_classification) or default_metric(
        is_classification=is_classification
    )
    return ModelErrors(
        predictions.ids,
        predictions.errors,
        predictions.losses,
        is_classification,
        chosen.name,
        chosen.is_maximized,
        chosen.compute(predictions),
        lambda mask: chosen.compute(predictions.if_right(mask)),
    )


def errors_of_queries(predictions: SplitPredictions, queries: NDArray[Any], metric: str) -> ModelErrors:
    """Return the errors of a ranking's queries that have a relevant row, by the core's definitions.

    Among rows with equal scores the least relevant ranks first.

    Args:
        predictions: the scores and relevances of the rows.
        queries: [n], the query of each row, as texts.
        metric: the metric in which gains are measured; ndcg if it is none of a ranking's.
    """
    chosen = metric if metric in _RANKING else "ndcg"
    names, index = np.unique(queries, return_inverse=True)
    rows_of = [np.flatnonzero(index == place) for place in range(len(names))]
    values = {name: np.full(len(names), np.nan) for name in {chosen, "ndcg"}}
    for place, rows in enumerate(rows_of):
        relevance = predictions.targets[rows]
        ranked = relevance[np.lexsort((relevance, -predictions.outputs[rows]))]
        if ranked.max() > 0:
            for name, found in values.items():
                found[place] = _value_of_query(ranked, name)
    counts = ~np.isnan(values["ndcg"])
    kept, of_metric = 1 - values["ndcg"][counts], values[chosen][counts]
    return ModelErrors(
        names[counts],
        kept,
        kept,
        are_mistakes=False,
        metric=chosen,
        is_maximized=True,
        value=float(of_metric.mean()),
        value_if_right=lambda mask: float(np.where(mask, 1.0, of_metric).mean()),
    )


def _value_of_query(ranked: Floats, metric: str) -> float:
    """Return the metric of one query from its relevances in the order of the scores."""
    ranks = np.arange(1, len(ranked) + 1)
    hits = ranked > 0
    if metric == "mrr":
        return float(1 / ranks[hits.argmax()])
    if metric == "map":
        return float((np.cumsum(hits) / ranks)[hits].mean())
    num = 10 if metric == "ndcg_10" else len(ranked)
    discounts = np.log2(ranks + 1)
    return float((ranked / discounts)[:num].sum() / (np.sort(ranked)[::-1] / discounts)[:num].sum())
