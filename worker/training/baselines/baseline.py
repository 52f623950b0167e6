"""A baseline: what a simple model reaches on the held-out examples of a training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

BASELINES = ("majority", "linear", "hist_boosting", "random_forest")
"""The names of all baselines, in the order in which they are fitted."""


@dataclass(frozen=True)
class Baseline:
    """The result of one baseline.

    Attributes:
        name: one of `BASELINES`.
        model: the model in words; empty: none was fitted.
        metrics: the metrics of a training by the same names, such as `val/accuracy`; empty: there is no result.
        seconds: how long it took.
        note: what to know about the values: that the fit was not completed, or is of a part of the examples; of a
            baseline without a result the reason; None: nothing.
    """

    name: str
    model: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    note: str | None = None
