"""The linear baseline: logistic regression of classes, ridge regression of values."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.linear_model import LogisticRegression, RidgeCV

from worker.training.deadline import Deadline
from worker.training.estimators.example_rows import Table

PENALTIES = np.logspace(-2, 4, 7)
"""The penalties of ridge regression, of which leave-one-out errors of the training examples choose one."""
C_OF_NUMBERS, C_OF_COUNTS = 1.0, 10.0
"""The inverse penalty of logistic regression: of standardised columns, and of TF-IDF, whose rows have length 1."""
_STEPS = 50
_MOST_STEPS = 500


def fit_linear(
    table: Table, targets: NDArray[Any], deadline: Deadline, *, are_classes: bool
) -> tuple[Any, str, str | None]:
    """Fit a linear model; return it, its description, and a note if the fit was not completed.

    Args:
        table: the training rows, [n, columns].
        targets: class indices or values, [n].
        deadline: when to end the fit of logistic regression.
        are_classes: whether the targets are classes.
    """
    if not are_classes:
        ridge = RidgeCV(alphas=PENALTIES).fit(table, targets)
        return ridge, f"ridge regression, penalty {ridge.alpha_:g}", None
    inverse_penalty = C_OF_COUNTS if issparse(table) else C_OF_NUMBERS
    model = LogisticRegression(C=inverse_penalty, max_iter=_STEPS, warm_start=True)
    description, note = f"logistic regression, C = {inverse_penalty:g}", None
    for num_steps in range(_STEPS, _MOST_STEPS + 1, _STEPS):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a block of steps need not converge
            model.fit(table, targets)
        if max(model.n_iter_) < _STEPS:
            return model, description, None
        note = f"not converged after {num_steps} steps"
        if deadline.has_passed:
            break
    return model, description, note
