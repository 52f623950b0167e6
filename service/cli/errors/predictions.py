"""The predictions of one model on one split as arrays, from the columns of a predictions file; numpy alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.client.errors import invalid_study

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

SMALLEST = 1.1754944e-38
"""The smallest probability that a loss is computed with: the smallest normal number of float32."""


@dataclass(frozen=True)
class SplitPredictions:
    """The predictions of a model on the examples of a split.

    Attributes:
        ids: [n], the examples' ids: numbers or texts.
        classes: the classes in order; empty: the model predicts values.
        targets: [n], class indices, or values in the target's own unit.
        outputs: probabilities [n, num_classes], or values [n].
    """

    ids: NDArray[Any]
    classes: tuple[str, ...]
    targets: NDArray[Any]
    outputs: Floats

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def predicted(self) -> NDArray[Any]:
        """The predicted class indices or values, [n]."""
        return self.outputs.argmax(1) if self.classes else self.outputs

    @property
    def probabilities_of_target(self) -> Floats:
        """The probability of each example's own class, [n]."""
        probabilities: Floats = self.outputs[np.arange(len(self)), self.targets]
        return probabilities

    @property
    def errors(self) -> Floats:
        """1 for a wrong class and 0 for a right one, or the absolute error of a value, [n]."""
        if self.classes:
            mistakes: Floats = (self.predicted != self.targets).astype(np.float64)
            return mistakes
        distances: Floats = np.abs(self.outputs - self.targets)
        return distances

    @property
    def losses(self) -> Floats:
        """What orders the examples from the worst: the cross-entropy of the true class, or the absolute error, [n]."""
        if not self.classes:
            return self.errors
        losses: Floats = -np.log(np.maximum(self.probabilities_of_target, SMALLEST))
        return losses

    def if_right(self, fixed: Mask) -> SplitPredictions:
        """Return the same predictions, with those of the examples in `fixed` [n] certain and right."""
        outputs = self.outputs.copy()
        if self.classes:
            outputs[fixed] = np.eye(len(self.classes))[self.targets[fixed]]
        else:
            outputs[fixed] = self.targets[fixed]
        return replace(self, outputs=outputs)

    def take(self, rows: NDArray[Any]) -> SplitPredictions:
        """Return the predictions at `rows` [m]."""
        return replace(self, ids=self.ids[rows], targets=self.targets[rows], outputs=self.outputs[rows])

    def in_order_of(self, other: SplitPredictions) -> SplitPredictions | None:
        """Return the predictions in another model's order; None: its examples, targets or classes are others."""
        if self.classes != other.classes or len(self) != len(other):
            return None
        mine, theirs = np.argsort(self.ids, kind="stable"), np.argsort(other.ids, kind="stable")
        if not np.array_equal(self.ids[mine], other.ids[theirs]):
            return None
        rows = np.empty(len(self), dtype=np.int64)
        rows[theirs] = mine
        ordered = self.take(rows)
        same = ordered.targets == other.targets if self.classes else np.isclose(ordered.targets, other.targets)
        return ordered if bool(np.all(same)) else None


def read_split(columns: Mapping[str, NDArray[Any]], split: str, source: str) -> SplitPredictions:
    """Return the predictions on a split.

    Args:
        columns: the columns of a predictions file.
        split: the split.
        source: what errors name.

    Raises:
        InvalidStudy: the file has no predictions on the split, or has rows that are no predictions.
    """
    is_here = columns["split"] == split
    if not is_here.any():
        splits = " and ".join(dict.fromkeys(columns["split"].tolist()))
        raise invalid_study(source, f"has no predictions on the split {split!r}, but on {splits}; choose it by --split")
    classes = tuple(name.removeprefix("p/") for name in columns if name.startswith("p/"))
    ids = columns["id"][is_here]
    if not classes:
        targets, outputs = (columns[name][is_here].astype(np.float64) for name in ("target", "prediction"))
    else:
        index = {name: place for place, name in enumerate(classes)}
        names = columns["target"][is_here].tolist()
        if unknown := set(names) - set(index):
            raise invalid_study(source, f"has no probabilities of the class {min(unknown)!r}, which examples have")
        targets = np.array([index[name] for name in names], dtype=np.int64)
        outputs = np.stack([columns[f"p/{name}"][is_here].astype(np.float64) for name in classes], axis=1)
    if not np.isfinite(outputs).all():
        raise invalid_study(source, "has predictions that are no finite numbers, so its errors can't be analysed")
    return SplitPredictions(ids, classes, targets, outputs)
