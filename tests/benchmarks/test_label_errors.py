"""Flipped labels are found: 3 % of all labels are flipped, and most of them are among the worst 5 %."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchmarks.label_errors import DATASETS, TARGET, Found, flip, measure, page
from tests.support.sizes import size


def test_flipped_labels_are_other_classes_and_as_many_as_asked_for() -> None:
    labels = np.random.default_rng(0).integers(0, 3, 1000)
    wrong, flipped = flip(labels, 0)
    assert len(flipped) == 30
    assert np.flatnonzero(wrong != labels).tolist() == flipped.tolist()
    assert set(wrong.tolist()) == {0, 1, 2}


def test_the_page_weighs_the_recall_by_flipped_labels_and_tells_a_seed_without_any() -> None:
    found = [Found(100, 4, 1.0, 3, 3, 0.9, 2, 1.1), Found(100, 0, float("nan"), 0, 0, 0.9, 2, 1.1)]
    folds = [Found(100, 6, 0.5, 3, 1, 0.9, 2, 1.1), Found(100, 2, 1.0, 1, 1, 0.9, 2, 1.1)]
    text = page([("wine", "20 %", found), ("wine", "folds: 5", folds)], 1.0, "command", 2)
    assert "| wine | 20 % | 100 | 2.0 | 100% (100% to 100%) | 1.5 | 100% |" in text
    assert "| wine | folds: 5 | 100 | 4.0 | 75% (50% to 100%) | 2.0 | 50% |" in text
    assert "62% of all flipped labels are among the worst 5%" in text


@pytest.mark.prove
@pytest.mark.full
@pytest.mark.parametrize("name", ["wine", "breast_cancer", "made_table"])
def test_flipped_labels_are_among_the_worst(name: str) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        found = [
            measure(DATASETS[name](), seed=seed, trials=size(ci=2, full=4), folds=5)
            for seed in range(size(ci=1, full=3))
        ]
    finally:
        torch.set_num_threads(threads)
    recall = sum(each.recall * each.num_flipped for each in found) / sum(each.num_flipped for each in found)
    assert recall >= TARGET
