"""An ensemble of scikit-learn that is fitted block by block, so that it can be measured and stopped in between."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from numpy.typing import NDArray

from worker.training.deadline import Deadline
from worker.training.estimators.example_rows import Table

_MOST_AT_ONCE = 25


@dataclass(frozen=True)
class GrowingEnsemble:
    """An ensemble with `warm_start`; grown block by block it is the same as fitted at once.

    Attributes:
        estimator: the estimator of scikit-learn.
        size_setting: the setting that holds its size.
        size: the number of iterations, or of trees.
        block: how many of them are fitted at a time.
    """

    estimator: Any
    size_setting: Literal["max_iter", "n_estimators"]
    size: int
    block: int

    @property
    def unit(self) -> str:
        """What the size counts, in words."""
        return "iterations" if self.size_setting == "max_iter" else "trees"

    def grow(self, table: Table, targets: NDArray[Any]) -> Iterator[int]:
        """Fit one block after the other; yield the size reached after each."""
        reached = 0
        while reached < self.size:
            reached = min(reached + self.block, self.size)
            self.estimator.set_params(**{self.size_setting: reached}).fit(table, targets)
            yield reached

    def grow_until(self, table: Table, targets: NDArray[Any], deadline: Deadline) -> int:
        """Fit until a deadline, and return the size reached.

        The first block is one iteration or tree, since its time is unknown; it is fitted even if no time is left. A
        later block takes about half of the time that is left.
        """
        reached, limit = 0, deadline.left
        while reached < self.size and not (reached and deadline.has_passed):
            affordable = reached * deadline.left / max(limit - deadline.left, 1e-6)
            reached = min(reached + max(1, min(_MOST_AT_ONCE, int(affordable / 2))), self.size)
            self.estimator.set_params(**{self.size_setting: reached}).fit(table, targets)
        return reached

    @property
    def num_nodes(self) -> int:
        """The number of nodes of all trees so far."""
        if self.size_setting == "max_iter":
            return sum(len(tree.nodes) for trees in self.estimator._predictors for tree in trees)  # noqa: SLF001
        return sum(tree.tree_.node_count for tree in self.estimator.estimators_)
