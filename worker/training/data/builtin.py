"""The real sets that ship with scikit-learn, as datasets; nothing is downloaded."""

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn import datasets

from worker.training.data.columns import Columns, assemble
from worker.training.data.dataset import Dataset, Kind
from worker.training.data.fingerprint import of_builtin
from worker.training.data.splits import Limit, Seed, Splitting, TestFraction, ValFraction


def digits(
    *, val_fraction: ValFraction = 0.2, test_fraction: TestFraction = 0.2, seed: Seed = 0, limit: Limit = None
) -> Dataset:
    """Handwritten digits: 1797 images of 8 by 8 pixels, 10 classes (Alpaydin & Kaynak 1998)."""
    return _dataset("digits", "classification", Splitting(val_fraction, test_fraction, seed, limit))


def wine(
    *, val_fraction: ValFraction = 0.2, test_fraction: TestFraction = 0.2, seed: Seed = 0, limit: Limit = None
) -> Dataset:
    """Wines of three cultivars: 178 chemical analyses of 13 measurements (Forina 1991)."""
    return _dataset("wine", "classification", Splitting(val_fraction, test_fraction, seed, limit))


def breast_cancer(
    *, val_fraction: ValFraction = 0.2, test_fraction: TestFraction = 0.2, seed: Seed = 0, limit: Limit = None
) -> Dataset:
    """Malignant or benign: 569 biopsies of 30 measurements (Wolberg, Street & Mangasarian 1993)."""
    return _dataset("breast_cancer", "classification", Splitting(val_fraction, test_fraction, seed, limit))


def diabetes(
    *, val_fraction: ValFraction = 0.2, test_fraction: TestFraction = 0.2, seed: Seed = 0, limit: Limit = None
) -> Dataset:
    """Disease progression after a year: 442 patients of 10 measurements, regression (Efron et al. 2004)."""
    return _dataset("diabetes", "regression", Splitting(val_fraction, test_fraction, seed, limit))


def _dataset(name: str, kind: Kind, splitting: Splitting) -> Dataset:
    bunch: Any = getattr(datasets, f"load_{name}")()
    no_texts = np.empty((len(bunch.target), 0), dtype=object)
    columns = Columns(bunch.data, no_texts, bunch.target, one_unit="images" in bunch)
    class_names = tuple(str(name) for name in bunch.target_names) if kind == "classification" else ()
    dataset = assemble(columns, {}, kind, splitting, class_names)
    return replace(dataset, fingerprint=of_builtin(name, "scikit-learn"))
