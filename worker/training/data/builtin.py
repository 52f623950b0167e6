"""The real sets that ship with scikit-learn, as datasets; nothing is downloaded."""

from dataclasses import replace
from typing import Any

import numpy as np
from sklearn import datasets

from worker.training.data.arrays import Examples, assemble_arrays
from worker.training.data.dataset import Dataset, Kind
from worker.training.data.fingerprint import of_builtin
from worker.training.data.splits import Bootstrap, Fold, Limit, Seed, Splitting, Stratify, TestFraction, ValFraction


def digits(
    turn: Fold | None = None,
    *,
    val_fraction: ValFraction = 0.2,
    test_fraction: TestFraction = 0.2,
    seed: Seed = 0,
    stratify: Stratify = True,
    limit: Limit = None,
    bootstrap: Bootstrap = None,
) -> Dataset:
    """Handwritten digits: 1797 images of 8 by 8 pixels, 10 classes (Alpaydin & Kaynak 1998)."""
    splitting = Splitting(val_fraction, test_fraction, seed, stratify, limit, bootstrap, turn)
    return _dataset("digits", "classification", splitting)


def wine(
    turn: Fold | None = None,
    *,
    val_fraction: ValFraction = 0.2,
    test_fraction: TestFraction = 0.2,
    seed: Seed = 0,
    stratify: Stratify = True,
    limit: Limit = None,
    bootstrap: Bootstrap = None,
) -> Dataset:
    """Wines of three cultivars: 178 chemical analyses of 13 measurements (Forina 1991)."""
    splitting = Splitting(val_fraction, test_fraction, seed, stratify, limit, bootstrap, turn)
    return _dataset("wine", "classification", splitting)


def breast_cancer(
    turn: Fold | None = None,
    *,
    val_fraction: ValFraction = 0.2,
    test_fraction: TestFraction = 0.2,
    seed: Seed = 0,
    stratify: Stratify = True,
    limit: Limit = None,
    bootstrap: Bootstrap = None,
) -> Dataset:
    """Malignant or benign: 569 biopsies of 30 measurements (Wolberg, Street & Mangasarian 1993)."""
    splitting = Splitting(val_fraction, test_fraction, seed, stratify, limit, bootstrap, turn)
    return _dataset("breast_cancer", "classification", splitting)


def diabetes(
    turn: Fold | None = None,
    *,
    val_fraction: ValFraction = 0.2,
    test_fraction: TestFraction = 0.2,
    seed: Seed = 0,
    limit: Limit = None,
    bootstrap: Bootstrap = None,
) -> Dataset:
    """Disease progression after a year: 442 patients of 10 measurements, regression (Efron et al. 2004)."""
    splitting = Splitting(val_fraction, test_fraction, seed, False, limit, bootstrap, turn)
    return _dataset("diabetes", "regression", splitting)


def _dataset(name: str, kind: Kind, splitting: Splitting) -> Dataset:
    bunch: Any = getattr(datasets, f"load_{name}")()
    features = bunch.images[:, np.newaxis] if "images" in bunch else bunch.data
    class_names = tuple(str(each) for each in bunch.target_names) if kind == "classification" else ()
    dataset = assemble_arrays(Examples(features, bunch.target), {}, kind, splitting, class_names, where="data.limit")
    return replace(dataset, fingerprint=of_builtin(name, "scikit-learn"))
