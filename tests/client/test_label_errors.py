"""Likely label errors: planted ones are found first, few others are told, and only good trials have a say."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from service.cli.errors.label_errors import label_scores, num_independent, trials_within_noise
from service.cli.errors.predictions import SplitPredictions

CLASSES = ("cat", "dog", "eel")


def classifier(labels: NDArray[np.int64], truth: NDArray[np.int64], seed: int, sharpness: float) -> SplitPredictions:
    """A model that knows the truth up to noise."""
    draw = np.random.default_rng(seed)
    logits = sharpness * np.eye(3)[truth] + draw.normal(size=(len(truth), 3))
    weights = np.exp(logits)
    return SplitPredictions(np.arange(len(labels)), CLASSES, labels, weights / weights.sum(1, keepdims=True))


def flipped(num: int, share: float, seed: int = 0) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    draw = np.random.default_rng(seed)
    truth = draw.choice(3, num, p=[0.7, 0.2, 0.1])
    wrong = draw.random(num) < share
    return np.where(wrong, (truth + draw.integers(1, 3, num)) % 3, truth), truth, wrong


def test_flipped_labels_come_first_with_the_class_they_had() -> None:
    labels, truth, wrong = flipped(1000, 0.03)
    scores = label_scores([classifier(labels, truth, seed, 6) for seed in range(5)])
    worst = np.argsort(-scores.scores)[:50]
    assert wrong[worst].sum() >= 0.9 * wrong.sum()
    told = scores.is_suspect
    assert (scores.suggested[told & wrong] == truth[told & wrong]).all()
    assert wrong[told].mean() > 0.9
    assert (scores.num_agreeing[told] >= 3).all()


def test_clean_labels_give_hardly_a_suspect_and_one_trial_may_judge_alone() -> None:
    labels, truth, _ = flipped(1000, 0.0)
    assert label_scores([classifier(labels, truth, seed, 6) for seed in range(5)]).is_suspect.sum() <= 3
    labels, truth, wrong = flipped(1000, 0.03)
    alone = label_scores([classifier(labels, truth, 0, 8)])
    assert wrong[np.argsort(-alone.scores)[:50]].sum() >= 0.8 * wrong.sum()


def test_a_wrong_answer_that_is_less_sure_than_usual_is_no_suspect() -> None:
    """All trials take example 0 for a dog with 0.6, but examples labelled dog have 0.9 on average."""
    labels = np.array([0] * 10 + [1] * 10)
    outputs = np.where((labels == 0)[:, np.newaxis], [0.9, 0.1, 0.0], [0.1, 0.9, 0.0])
    outputs[0], outputs[1] = [0.4, 0.6, 0.0], [0.02, 0.98, 0.0]
    scores = label_scores([SplitPredictions(np.arange(20), CLASSES, labels, outputs)])
    assert np.flatnonzero(scores.is_suspect).tolist() == [1]


def test_a_class_that_no_label_has_is_never_suggested() -> None:
    labels = np.array([0, 0, 1, 1])
    outputs = np.array([[0.5, 0.0, 0.5], [0.1, 0.0, 0.9], [0.0, 0.9, 0.1], [0.0, 0.2, 0.8]])
    scores = label_scores([SplitPredictions(np.arange(4), CLASSES, labels, outputs)])
    assert not scores.is_suspect.any()


def test_probabilities_of_sigmoids_are_compared_like_others() -> None:
    labels, truth, wrong = flipped(500, 0.04)
    several = [classifier(labels, truth, seed, 6) for seed in range(3)]
    halved = [SplitPredictions(each.ids, CLASSES, labels, each.outputs / 2) for each in several]
    assert (label_scores(halved).is_suspect == label_scores(several).is_suspect).all()
    assert wrong.any()


def test_wrong_values_have_a_residual_far_beyond_the_spread() -> None:
    draw = np.random.default_rng(0)
    truth = draw.normal(size=400)
    targets = truth + draw.normal(scale=0.1, size=400)
    targets[[7, 100]] += [2.0, -3.0]
    trials = [
        SplitPredictions(np.arange(400), (), targets, truth + draw.normal(scale=0.02, size=400)) for _ in range(5)
    ]
    scores = label_scores(trials)
    assert np.flatnonzero(scores.is_suspect).tolist() == [7, 100]
    assert scores.suggested[7] == pytest.approx(truth[7], abs=0.1)
    assert scores.scores[100] > 20
    for place, each in enumerate(trials):
        each.outputs[100] += place - 2  # the trials disagree about this example, so the residual says less
    assert np.flatnonzero(label_scores(trials).is_suspect).tolist() == [7]


def test_a_trial_that_is_worse_beyond_noise_has_no_say() -> None:
    labels, truth, _ = flipped(600, 0.02)
    sharp = [classifier(labels, truth, seed, 6) for seed in range(3)]
    blunt = classifier(labels, truth, 9, 1)
    assert trials_within_noise([sharp[0], blunt, *sharp[1:]]) == [0, 2, 3]
    assert trials_within_noise([blunt]) == [0]
    assert trials_within_noise([sharp[0], sharp[0]]) == [0, 1]


def test_copies_of_a_trial_count_as_one_and_unlike_trials_as_several() -> None:
    labels, truth, _ = flipped(2000, 0.0)
    one = classifier(labels, truth, 0, 3)
    assert num_independent([one] * 4) == pytest.approx(1)
    assert num_independent([one]) == 1
    unlike = num_independent([classifier(labels, truth, seed, 3) for seed in range(4)])
    assert 3 < unlike <= 4.3
