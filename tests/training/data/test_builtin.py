"""Built-in datasets: split by a seed, stratified, scaled by the training split alone."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.training import ConfigError
from worker.training.data import DATA, Dataset
from worker.training.data.splits import Splitting, split_indices

BUILTIN = [entry.name for entry in DATA if not {"path", "target"} & set(entry.parameters)]


def load(name: str, **given: Any) -> Dataset:
    return DATA.create(name, DATA.check(name, given))


@pytest.mark.parametrize("name", BUILTIN)
def test_every_set_has_three_finite_splits(name: str):
    dataset = load(name)
    assert set(dataset.splits) == {"train", "val", "test"}
    assert [dataset.kind] == DATA.entry(name).facts["kinds"]
    for split in dataset.splits.values():
        assert split.features.shape == (len(split), *dataset.shape)
        assert split.features.dtype == torch.float32
        assert torch.isfinite(split.features).all()
        assert len(split) >= 30


def test_classes_are_indices_with_names():
    dataset = load("breast_cancer")
    assert dataset.class_names == ("malignant", "benign")
    assert dataset.train.targets.dtype == torch.int64
    assert (dataset.num_classes, dataset.num_outputs) == (2, 2)


def test_regression_targets_are_standardised_by_training():
    dataset = load("diabetes")
    assert dataset.num_outputs == 1
    assert dataset.train.targets.mean().item() == pytest.approx(0, abs=1e-5)
    assert dataset.train.targets.std(correction=0).item() == pytest.approx(1, abs=1e-5)
    assert 100 < dataset.target_mean < 200


def test_only_training_decides_the_scale():
    dataset = load("wine")
    assert dataset.train.features.mean(0).abs().max() < 1e-5
    assert dataset.splits["val"].features.mean(0).abs().max() > 1e-3


def test_the_test_split_stays_whatever_else_is_asked():
    usual = load("digits").splits["test"].targets
    assert torch.equal(usual, load("digits", val_fraction=0.4, limit=50).splits["test"].targets)
    assert not torch.equal(usual, load("digits", seed=1).splits["test"].targets)


def test_a_limit_shortens_training_alone():
    dataset = load("digits", limit=100)
    assert (len(dataset.train), len(dataset.splits["val"])) == (100, 359)


def test_the_facts_of_a_set_are_those_of_its_examples():
    for name in BUILTIN:
        dataset, facts = load(name), DATA.entry(name).facts
        assert facts["examples"] == sum(len(split) for split in dataset.splits.values())
        assert facts["classes"] == dataset.num_classes


def test_a_set_of_fewer_classes_keeps_their_names_and_its_places():
    whole, part = load("wine"), load("wine", classes=2)
    assert (part.class_names, part.num_outputs) == (("class_0", "class_1"), 2)
    assert [len(whole.train), len(part.train)] == [106, 78]
    everything = load("wine", val_fraction=0.0, test_fraction=0.0)
    labels = dict(zip(everything.train.ids.tolist(), everything.train.targets.tolist(), strict=True))
    for split in part.splits.values():
        assert [labels[place] for place in split.ids.tolist()] == split.targets.tolist()
    assert load("wine", classes=9).class_names == whole.class_names, "there are no more"
    assert load("digits", classes=3, limit=20, stratify=False).num_classes == 3


def test_digits_are_images_and_wines_are_rows():
    assert (load("digits").inputs, load("digits").shape) == ("images", (1, 8, 8))
    assert (load("wine").inputs, load("wine").shape) == ("rows", (13,))


def test_a_bootstrap_resamples_the_training_examples():
    usual, drawn = load("digits").train, load("digits", bootstrap=3).train
    assert len(drawn) == len(usual)
    num_different = len(torch.unique(drawn.features.flatten(1), dim=0))
    assert num_different / len(usual) == pytest.approx(1 - 1 / np.e, abs=0.03)
    assert torch.equal(drawn.features, load("digits", bootstrap=3).train.features)
    assert torch.equal(load("digits").splits["val"].targets, load("digits", bootstrap=3).splits["val"].targets)


def test_without_stratification_the_classes_fall_as_they_may():
    def spread(**given: bool) -> int:
        counts = [load("digits", seed=seed, **given).splits["val"].targets.bincount() for seed in range(5)]
        return int((torch.stack(counts).amax(0) - torch.stack(counts).amin(0)).max())

    assert spread() <= 1 < spread(stratify=False)


def test_no_fraction_no_split():
    dataset = load("wine", val_fraction=0, test_fraction=0)
    assert set(dataset.splits) == {"train"}
    assert len(dataset.train) == 178


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 2), min_size=60, max_size=200).filter(
        lambda labels: np.bincount(labels, minlength=3).min() > 5
    ),
    st.floats(0.1, 0.4),
    st.floats(0.1, 0.4),
    st.integers(0, 2**32 - 1),
)
def test_splits_share_nothing_lose_nothing_and_keep_the_classes(labels: list[int], val: float, test: float, seed: int):
    classes = np.array(labels)
    parts = split_indices(classes, len(labels), Splitting(val, test, seed))
    assert sorted(np.concatenate(list(parts.values()))) == list(range(len(labels)))
    for part in parts.values():
        shares = np.bincount(classes[part], minlength=3) / len(part)
        assert np.abs(shares - np.bincount(classes) / len(labels)).max() <= 2 / len(part)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"val_fraction": 0.5, "test_fraction": 0.5}, "data.val_fraction: val_fraction and test_fraction together"),
        ({"test_fraction": 0.001}, "data.test_fraction: 0.001 of 178 examples leaves 0; at least 2 are needed"),
        ({"val_fraction": 0.01}, "data.val_fraction: no stratified split is possible"),
        ({"limit": 1}, "data.limit: the training examples have only the class"),
    ],
)
def test_impossible_splits_are_refused(given: dict[str, Any], message: str):
    with pytest.raises(ConfigError) as caught:
        load("wine", **given)
    assert str(caught.value).startswith(message)


def test_every_set_has_a_fingerprint_of_its_own_whatever_the_split():
    fingerprints = {name: load(name).fingerprint for name in BUILTIN}
    assert None not in fingerprints.values()
    assert len(set(fingerprints.values())) == len(BUILTIN)
    assert load("digits", seed=3, limit=100).fingerprint == fingerprints["digits"]
