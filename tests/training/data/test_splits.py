"""Splits by groups, time or a column instead of at random."""

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from worker.training import ConfigError
from worker.training.data.splits import Fold, SplitConstraint, Splitting, split_indices

HOW = Splitting(val_fraction=0.2, test_fraction=0.2)


@given(
    st.lists(st.integers(0, 30), min_size=80, max_size=200).filter(lambda groups: len(set(groups)) > 5),
    st.integers(0, 1000),
)
def test_a_group_stays_in_one_part(groups: list[int], seed: int):
    how = Splitting(0.2, 0.2, seed)
    parts = split_indices(None, len(groups), how, SplitConstraint(groups=np.array(groups)))
    assert set(parts) == {"train", "val", "test"}
    assert sorted(np.concatenate(list(parts.values()))) == list(range(len(groups)))
    seen = [set(np.array(groups)[part]) for part in parts.values()]
    assert sum(len(each) for each in seen) == len(set(groups))


def test_the_newest_examples_test_and_the_oldest_train():
    times = np.random.default_rng(0).permutation(100)
    parts = split_indices(None, 100, HOW, SplitConstraint(times=times))
    assert sorted(times[parts["train"]]) == list(range(60))
    assert sorted(times[parts["val"]]) == list(range(60, 80))
    assert sorted(times[parts["test"]]) == list(range(80, 100))


@given(
    st.lists(st.integers(0, 12), min_size=12, max_size=60).filter(lambda times: len(set(times)) > 5),
    st.sampled_from([0.1, 0.2, 0.35]),
    st.sampled_from([0.2, 0.35]),
)
def test_no_instant_is_in_two_parts_and_the_sizes_are_the_nearest(
    times: list[int], val_fraction: float, test_fraction: float
):
    how = Splitting(val_fraction, test_fraction)
    try:
        parts = split_indices(None, len(times), how, SplitConstraint(times=np.array(times)))
    except ConfigError as error:
        assume("of one instant stay together" not in str(error) and "at least 2 are needed" not in str(error))
        raise
    assert sorted(np.concatenate(list(parts.values()))) == list(range(len(times)))
    instants = {name: {times[index] for index in part} for name, part in parts.items()}
    assert max(instants["train"]) < min(instants["val"])
    assert max(instants["val"]) < min(instants["test"])
    newest_first = sorted(times, reverse=True)
    for name, fraction in (("test", test_fraction), ("val", val_fraction)):
        wanted = round(len(times) * fraction)
        possible = [size for size in range(2, len(newest_first)) if newest_first[size - 1] != newest_first[size]]
        assert len(parts[name]) == min(possible, key=lambda size: (abs(size - wanted), size))
        newest_first = newest_first[len(parts[name]) :]


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([7] * 40, r"data\.test_fraction: of 40 examples no newest ones can be held out, because examples of one inst"),
        ([1] * 20 + [2] * 20, r"data\.val_fraction: of 20 examples no newest ones can be held out"),
        ([1] * 39 + [2], r"data\.test_fraction: of 40 examples no newest ones can be held out"),
    ],
)
def test_too_few_instants_are_refused(times: list[int], message: str):
    with pytest.raises(ConfigError, match=message):
        split_indices(None, 40, HOW, SplitConstraint(times=np.array(times)))


def test_a_limit_in_time_keeps_the_oldest():
    times = np.arange(100)[::-1].copy()
    parts = split_indices(None, 100, Splitting(limit=5), SplitConstraint(times=times))
    assert times[parts["train"]].tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("fold", [None, Fold(1, 4)])
def test_a_fraction_of_the_training_examples_holds_the_smaller_ones_and_each_class_alike(fold: Fold | None):
    labels = np.array(["rare"] * 10 + ["b"] * 190 + ["a"] * 200)
    whole = split_indices(labels, 400, Splitting(fold=fold))
    parts = [split_indices(labels, 400, Splitting(train_fraction=share, fold=fold)) for share in (0.1, 0.3, 1.0)]
    for part in parts:
        assert all(np.array_equal(part[name], whole[name]) for name in ("val", "test"))
    assert np.array_equal(parts[2]["train"], whole["train"])
    tenth, third, all_of_them = (set(part["train"].tolist()) for part in parts)
    assert tenth < third < all_of_them
    num = {name: int((labels[whole["train"]] == name).sum()) for name in ("rare", "b", "a")}
    assert {name: int((labels[parts[0]["train"]] == name).sum()) for name in num} == {
        name: max(1, round(0.1 * each)) for name, each in num.items()
    }
    other = split_indices(labels, 400, Splitting(train_fraction=0.1, train_fraction_seed=1, fold=fold))
    assert set(other["train"].tolist()) != tenth
    assert [each for each in whole["train"].tolist() if each in tenth] == parts[0]["train"].tolist()


def test_a_fraction_of_groups_takes_whole_groups():
    groups = np.repeat(np.arange(50), 4)
    shares = [0.1, 0.3]
    parts = [
        split_indices(None, 200, Splitting(train_fraction=share), SplitConstraint(groups=groups))["train"]
        for share in shares
    ]
    whole = split_indices(None, 200, Splitting(), SplitConstraint(groups=groups))["train"]
    for part, share in zip(parts, shares, strict=True):
        assert (np.bincount(groups[part])[np.unique(groups[part])] == 4).all()
        assert 0 <= len(part) - share * len(whole) <= 4
    assert set(parts[0].tolist()) < set(parts[1].tolist())


def test_a_fraction_that_leaves_one_example_is_refused():
    with pytest.raises(ConfigError, match=r"data\.train_fraction: 0\.01 of 60 training examples leaves 1; at least 2"):
        split_indices(None, 100, Splitting(train_fraction=0.01))


def test_a_fold_says_where_an_example_goes():
    folds = np.array(["0", "1", "2", "3"] * 5)
    parts = split_indices(None, 20, HOW, SplitConstraint(folds=folds, val_folds=["1"], test_folds=["2", "3"]))
    assert {name: set(folds[part]) for name, part in parts.items()} == {
        "train": {"0"}, "val": {"1"}, "test": {"2", "3"},
    }  # fmt: skip
    assert set(split_indices(None, 20, HOW, SplitConstraint(folds=folds, val_folds=["1"]))) == {"train", "val"}


def test_fewer_classes_are_split_as_if_there_were_no_others():
    labels = np.array(["rare"] * 4 + ["b"] * 30 + ["a"] * 30 + ["most"] * 40)
    groups = np.random.default_rng(0).permutation(len(labels)) // 2
    parts = split_indices(labels, len(labels), Splitting(classes=2), SplitConstraint(groups=groups))
    assert sorted(set(labels[np.concatenate(list(parts.values()))])) == ["a", "most"], "of equals the first by name"
    assert sum(map(len, parts.values())) == 70
    assert not set(groups[parts["train"]]) & set(groups[parts["test"]])
    stratified = split_indices(labels, len(labels), Splitting(classes=2))
    alone = split_indices(labels[34:], 70, Splitting())
    assert all((stratified[name] == alone[name] + 34).all() for name in alone)


@pytest.mark.parametrize("how", [Splitting(classes=2), Splitting(classes=2, limit=5)])
def test_numbers_have_no_classes_to_leave_out(how: Splitting):
    with pytest.raises(ConfigError, match=r"data\.classes: the targets are no classes"):
        split_indices(None, 40, how)


@pytest.mark.parametrize(
    ("order", "message"),
    [
        (
            {"folds": ["0", "1"] * 9, "val_folds": ["2"]},
            r"data\.val_folds: no row has the fold '2'; the folds are: 0, 1",
        ),
        (
            {"folds": ["0", "1"] * 9, "val_folds": ["1"], "test_folds": ["1"]},
            r"data\.val_folds: the same fold can't validate",
        ),
        ({"folds": ["0", "1"] * 9, "val_folds": ["0", "1"]}, r"data\.val_folds: no row is left for training"),
        ({"folds": ["0"] * 17 + ["1"], "val_folds": ["1"]}, r"data\.val_folds: these folds have a single row"),
        ({"groups": ["a"] * 18}, r"data\.test_fraction: no split by group is possible"),
    ],
)
def test_unsplittable_data_is_refused(order: dict[str, Any], message: str):
    given = {name: np.array(value) if name in ("folds", "groups") else value for name, value in order.items()}
    with pytest.raises(ConfigError, match=message):
        split_indices(None, 18, HOW, SplitConstraint(**given))
