"""Datasets that ship with scikit-learn; nothing is downloaded."""

from dataclasses import replace
from typing import Any, cast

import numpy as np
from sklearn import datasets

from worker.training.data.arrays import Examples, assemble_arrays
from worker.training.data.dataset import Dataset, Kind
from worker.training.data.fingerprint import of_builtin
from worker.training.data.preprocessing.arrays import ArrayPreprocessing
from worker.training.data.splits import Fold, Splitting, Stratified


def digits(fold: Fold | None = None, *, splitting: Stratified) -> Dataset:
    """Handwritten digits: 1797 images of 8 by 8 pixels, 10 classes (Alpaydin & Kaynak 1998)."""
    return _dataset("digits", "classification", splitting.at_fold(fold))


def wine(fold: Fold | None = None, *, splitting: Stratified) -> Dataset:
    """Wine cultivars: 178 chemical analyses with 13 measurements, 3 classes (Forina 1991)."""
    return _dataset("wine", "classification", splitting.at_fold(fold))


def breast_cancer(fold: Fold | None = None, *, splitting: Stratified) -> Dataset:
    """Breast cancer, malignant or benign: 569 biopsies with 30 measurements (Wolberg, Street & Mangasarian 1993)."""
    return _dataset("breast_cancer", "classification", splitting.at_fold(fold))


def diabetes(fold: Fold | None = None, *, splitting: Splitting) -> Dataset:
    """Diabetes progression after one year: 442 patients with 10 measurements, regression (Efron et al. 2004)."""
    return _dataset("diabetes", "regression", replace(splitting, fold=fold, stratify=False))


def _dataset(name: str, kind: Kind, splitting: Splitting) -> Dataset:
    bunch: Any = getattr(datasets, f"load_{name}")()
    features = bunch.images[:, np.newaxis] if "images" in bunch else bunch.data
    class_names = tuple(str(each) for each in bunch.target_names) if kind == "classification" else ()
    dataset = assemble_arrays(Examples(features, bunch.target), {}, kind, splitting, class_names, where="data.limit")
    names = () if "images" in bunch else tuple(str(each) for each in bunch.feature_names)
    fitted = replace(cast("ArrayPreprocessing", dataset.preprocessing), columns=names)
    return replace(dataset, fingerprint=of_builtin(name, "scikit-learn"), preprocessing=fitted)
