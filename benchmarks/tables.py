"""The six tables of the benchmark `small_tables`: four real ones that ship with scikit-learn, and two made ones."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn import datasets

TARGET = "y"


class Table(NamedTuple):
    """A table as a user has it: named columns of numbers and texts, None where a value is missing."""

    columns: Mapping[str, Sequence[Any]]
    target: Sequence[Any]
    is_regression: bool

    def write(self, path: Path) -> None:
        """Write the table as a CSV file, the target last."""
        names = [*self.columns, TARGET]
        rows = zip(*self.columns.values(), self.target, strict=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([names, *(["" if each is None else each for each in row] for row in rows)])


def _bundled(load: Callable[[], Any], *, is_regression: bool = False) -> Table:
    """Return a set of scikit-learn. Classes are texts, so that no reader takes them for numbers."""
    bunch = load()
    columns = {f"x{at}": values.tolist() for at, values in enumerate(bunch.data.T)}
    target = bunch.target.tolist() if is_regression else [f"class {label}" for label in bunch.target]
    return Table(columns, target, is_regression)


def _friedman() -> Table:
    """Friedman's first problem: 5 of 10 columns matter, with an interaction, a square and noise (Friedman 1991)."""
    features, target = datasets.make_friedman1(n_samples=1000, noise=1.0, random_state=0)
    columns = {f"x{at}": [round(each, 6) for each in values] for at, values in enumerate(features.T.tolist())}
    return Table(columns, [round(each, 6) for each in target.tolist()], is_regression=True)


def _customers() -> Table:
    """Customers who leave or stay: skewed numbers, categories, missing values, interactions, and columns of noise."""
    chance, num = np.random.default_rng(0), 1500
    income, age = chance.lognormal(10, 0.6, num), chance.integers(18, 80, num)
    tenure, calls = chance.exponential(30, num), chance.poisson(2, num)
    region, plan = chance.integers(0, 6, num), chance.integers(0, 3, num)
    channel = chance.integers(0, 4, num)
    by_region = chance.normal(0, 0.8, 6)[region]
    log_income = (np.log(income) - 10) / 0.6
    score = by_region + np.where(plan == 0, 1.2 * log_income, -0.6 * log_income)
    score += 1.5 * np.exp(-tenure / 15) - 0.8 + 0.7 * np.maximum(calls - 3, 0) - 1.2 * (np.abs(age - 45) < 10)
    leaves = chance.random(num) < 1 / (1 + np.exp(-1.5 * score))
    missing = chance.random((2, num)) < np.array([np.where(region == 2, 0.2, 0.05), np.full(num, 0.08)])
    columns: dict[str, Sequence[Any]] = {
        "income": [None if gap else round(each, 2) for each, gap in zip(income.tolist(), missing[0], strict=True)],
        "age": age.tolist(),
        "tenure": [None if gap else round(each, 1) for each, gap in zip(tenure.tolist(), missing[1], strict=True)],
        "calls": calls.tolist(),
        "region": [f"region {each}" for each in region],
        "plan": [("basic", "plus", "business")[each] for each in plan],
        "channel": [("shop", "web", "phone", "partner")[each] for each in channel],
        "noise_1": [round(each, 4) for each in chance.normal(size=num).tolist()],
        "noise_2": [round(each, 4) for each in chance.normal(size=num).tolist()],
    }
    return Table(columns, ["leaves" if each else "stays" for each in leaves], is_regression=False)


TABLES: Mapping[str, Callable[[], Table]] = {
    "wine": lambda: _bundled(datasets.load_wine),
    "breast cancer": lambda: _bundled(datasets.load_breast_cancer),
    "digits": lambda: _bundled(datasets.load_digits),
    "customers": _customers,
    "diabetes": lambda: _bundled(datasets.load_diabetes, is_regression=True),
    "friedman": _friedman,
}
"""The sets, chosen before anything was measured on them. The defaults of `study init` were chosen on other sets."""
