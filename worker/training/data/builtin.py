"""The real sets that ship with scikit-learn, as datasets; nothing is downloaded."""

from typing import Any

import numpy as np
from sklearn import datasets

from worker.training.data.arrays import Examples, assemble_arrays
from worker.training.data.dataset import Dataset, Kind
from worker.training.data.splits import Bootstrap, Limit, Seed, Splitting, Stratify, TestFraction, ValFraction


def digits(
    *,
    val_fraction: ValFraction = 0.2,
    test_fraction: TestFraction = 0.2,
    seed: Seed = 0,
    stratify: Stratify = True,
    limit: Limit = None,
    bootstrap: Bootstrap = None,
) -> Dataset:
    """Handwritten digits: 1797 images of 8 by 8 pixels, 10 classes (Alpaydin & Kaynak 1998)."""
    splitting = Splitting(val_fraction, test_fraction, seed, stratify, limit, bootstrap)
    bunch = datasets.load_digits()
    names = tuple(str(name) for name in bunch.target_names)
    return assemble_arrays(Examples(bunch.images[:, np.newaxis], bunch.target), {}, "classification", splitting, names)


def wine(
    *,
    val_fraction: ValFraction = 0.2,
    test_fraction: TestFraction = 0.2,
    seed: Seed = 0,
    stratify: Stratify = True,
    limit: Limit = None,
    bootstrap: Bootstrap = None,
) -> Dataset:
    """Wines of three cultivars: 178 chemical analyses of 13 measurements (Forina 1991)."""
    splitting = Splitting(val_fraction, test_fraction, seed, stratify, limit, bootstrap)
    return _rows(datasets.load_wine(), "classification", splitting)


def breast_cancer(
    *,
    val_fraction: ValFraction = 0.2,
    test_fraction: TestFraction = 0.2,
    seed: Seed = 0,
    stratify: Stratify = True,
    limit: Limit = None,
    bootstrap: Bootstrap = None,
) -> Dataset:
    """Malignant or benign: 569 biopsies of 30 measurements (Wolberg, Street & Mangasarian 1993)."""
    splitting = Splitting(val_fraction, test_fraction, seed, stratify, limit, bootstrap)
    return _rows(datasets.load_breast_cancer(), "classification", splitting)


def diabetes(
    *,
    val_fraction: ValFraction = 0.2,
    test_fraction: TestFraction = 0.2,
    seed: Seed = 0,
    limit: Limit = None,
    bootstrap: Bootstrap = None,
) -> Dataset:
    """Disease progression after a year: 442 patients of 10 measurements, regression (Efron et al. 2004)."""
    splitting = Splitting(val_fraction, test_fraction, seed, False, limit, bootstrap)
    return _rows(datasets.load_diabetes(), "regression", splitting)


def _rows(bunch: Any, kind: Kind, splitting: Splitting) -> Dataset:
    names = tuple(str(name) for name in bunch.target_names) if kind == "classification" else ()
    return assemble_arrays(Examples(bunch.data, bunch.target), {}, kind, splitting, names)
