"""Splits examples into train, val and test: at random, stratified, by group, by time or by fold; works on indices only.

In a cross-validation, each fold of the examples outside the test set validates once, while the others train.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import GroupKFold, GroupShuffleSplit, KFold, StratifiedKFold, train_test_split

from worker.training.data.dataset import SplitName
from worker.training.errors import ConfigError
from worker.training.parameters import Setting

Indices = NDArray[np.int64]

ValFraction = Annotated[float, Setting("share of the examples held out for validation", low=0.0, high=0.9)]
TestFraction = Annotated[float, Setting("share of the examples held out for the final test", low=0.0, high=0.9)]
Limit = Annotated[int | None, Setting("train on at most this many examples; null: on all", low=1)]
TrainFraction = Annotated[
    float,
    Setting(
        "share of the training examples to train on, of each class alike; a larger share holds a smaller one",
        low=0.0,
        high=1.0,
        exclusive_low=True,
    ),
]


@dataclass(frozen=True)
class Fold:
    """The cross-validation fold `index` (from 0) of `count`, which is the validation set in place of a fraction."""

    index: int
    count: int


@dataclass(frozen=True)
class Splitting:
    """How to split the examples; a fraction of 0 makes no such split.

    The test set does not depend on the validation set, the fold, `train_fraction`, `limit` or `bootstrap`. With
    `classes`, the examples of the other classes are left out before the split, so that they are in no part.

    Attributes:
        val_fraction: the share of all examples held out for validation, in [0, 0.9].
        test_fraction: the share of all examples held out for the test, in [0, 0.9].
        seed: the seed of the split.
        stratify: whether each class has the same share in every part.
        train_fraction: the share of the training examples that train; validation and test stay the same.
        train_fraction_seed: the seed that chooses them.
        limit: the largest number of training examples; None: no limit.
        classes: the largest number of classes, the most frequent ones; None: all.
        bootstrap: the seed for drawing training examples with replacement; None: each is used once.
        fold: the fold that validates in a cross-validation; None: there is no cross-validation.
    """

    val_fraction: ValFraction = 0.2
    test_fraction: TestFraction = 0.2
    seed: Annotated[int, Setting("seed of the split, apart from the training's seed", low=0, high=2**32 - 1)] = 0
    stratify: bool = True
    classes: int | None = None
    train_fraction: TrainFraction = 1.0
    train_fraction_seed: Annotated[int, Setting("seed that chooses the examples of train_fraction", low=0)] = 0
    limit: Limit = None
    bootstrap: Annotated[
        int | None,
        Setting("seed by which as many training examples are drawn anew, with replacement; null: each once", low=0),
    ] = None
    fold: Fold | None = None

    def at_fold(self, fold: Fold | None) -> Self:
        """Return the same splitting with `fold` as the fold that validates."""
        return replace(self, fold=fold)

    def without_separate(self, separate: Collection[SplitName]) -> "Splitting":
        """Return the same splitting for data with `separate` files for some splits, which are not split off.

        Raises:
            ConfigError: the data has a separate file of validation examples, but `folds` is set.
        """
        if self.fold is not None and "val" in separate:
            raise ConfigError(
                "folds", "the data has separate validation examples, so no fold can validate; leave them out, or folds"
            )
        return replace(
            self,
            val_fraction=0.0 if "val" in separate else self.val_fraction,
            test_fraction=0.0 if "test" in separate else self.test_fraction,
        )


@dataclass(frozen=True)
class Stratified(Splitting):
    """Splitting of examples that may have classes."""

    stratify: Annotated[bool, Setting("the same share of each class in every part")] = True
    classes: Annotated[
        int | None, Setting("use the examples of at most so many classes, the most frequent ones; null: all", low=2)
    ] = None


@dataclass(frozen=True)
class SplitConstraint:
    """A constraint on the split, one at most: groups that stay together, times, or named folds.

    Attributes:
        groups: the group of each example, [n].
        times: the time of each example, [n]; the oldest train, the newest test, and equal times stay together.
        folds: the fold name of each example, [n].
        val_folds: the names of the folds that validate.
        test_folds: the names of the folds that test; all others train.
    """

    groups: NDArray[Any] | None = None
    times: NDArray[Any] | None = None
    folds: NDArray[Any] | None = None
    val_folds: Sequence[str] = ()
    test_folds: Sequence[str] = ()

    def take(self, indices: Indices) -> "SplitConstraint":
        """Return the constraint of the examples at `indices` [n]."""
        columns = {name: getattr(self, name) for name in ("groups", "times", "folds")}
        return replace(self, **{name: each[indices] for name, each in columns.items() if each is not None})


def split_indices(
    labels: NDArray[Any] | None, num_examples: int, how: Splitting, constraint: SplitConstraint | None = None
) -> dict[SplitName, Indices]:
    """Return the indices of `train` and, if asked for, of `val` and `test`.

    Args:
        labels: class labels [n] to stratify by; None: there are no classes.
        num_examples: n.
        how: fractions, seed and other settings of the split.
        constraint: the constraint on the split; None: it is random.

    Raises:
        ConfigError: a part would be too small to hold two examples, or one of each class; or settings contradict each
            other.
    """
    constraint = constraint or SplitConstraint()
    if how.classes is not None:
        if labels is None:
            raise ConfigError("data.classes", "the targets are no classes; leave it out")
        kept = np.flatnonzero(np.isin(labels, _most_frequent(labels, how.classes)))
        parts = split_indices(labels[kept], len(kept), replace(how, classes=None), constraint.take(kept))
        return {name: kept[indices] for name, indices in parts.items()}
    if how.fold is not None:
        how = replace(how, val_fraction=0.0)
    if constraint.folds is not None:
        parts = _by_fold(
            constraint.folds,
            constraint if how.fold is None else _rotate_folds(constraint.folds, constraint, how.fold),
        )
    else:
        if how.val_fraction + how.test_fraction >= 1:
            raise ConfigError("data.val_fraction", "val_fraction and test_fraction together must be below 1")
        rest = np.random.default_rng(how.seed).permutation(num_examples)
        if constraint.times is not None:
            rest = np.argsort(constraint.times, kind="stable")
        parts = _by_fraction(rest, labels if how.stratify else None, how, constraint)
    return parts | {"train": _select_training(parts["train"], how, labels if how.stratify else None, constraint)}


def rows_of_trained_classes(
    targets: Mapping[SplitName, NDArray[Any]], trained: NDArray[Any], how: Splitting
) -> dict[SplitName, Indices]:
    """Return the rows to keep of splits with a file of their own, if `how` leaves out classes; empty: all rows.

    Args:
        targets: the targets [n] of these splits.
        trained: the targets of the training examples.
        how: the splitting of the main file.

    Raises:
        ConfigError: nothing of a split would be left.
    """
    if how.classes is None:
        return {}
    rows = {name: np.flatnonzero(np.isin(each, trained)) for name, each in targets.items()}
    for name, kept in rows.items():
        if not len(kept):
            raise ConfigError("data.classes", f"the {name} examples are all of other classes; use more classes")
    return rows


def _most_frequent(labels: NDArray[Any], num: int) -> NDArray[Any]:
    """Return the `num` most frequent labels; of equally frequent ones, the first in sorted order."""
    classes, counts = np.unique(labels, return_counts=True)
    return classes[np.argsort(-counts, kind="stable")[:num]]


def _by_fraction(
    rest: Indices, labels: NDArray[Any] | None, how: Splitting, constraint: SplitConstraint
) -> dict[SplitName, Indices]:
    parts: dict[SplitName, Indices] = {}
    num_examples = len(rest)
    fractions: dict[SplitName, float] = {"test": how.test_fraction, "val": how.val_fraction}
    for name, fraction in fractions.items():
        if fraction == 0:
            continue
        path = f"data.{name}_fraction"
        size = round(num_examples * fraction)
        if size < 2:
            raise ConfigError(path, f"{fraction:g} of {num_examples} examples leaves {size}; at least 2 are needed")
        if constraint.times is not None:
            rest, parts[name] = _split_time(rest, constraint.times[rest], size, path)
            continue
        try:
            if constraint.groups is not None:
                rest, parts[name] = _split_groups(rest, constraint.groups[rest], size / len(rest), how.seed)
            else:
                stratify = None if labels is None else labels[rest]
                rest, parts[name] = train_test_split(rest, test_size=size, random_state=how.seed, stratify=stratify)
        except ValueError as error:
            kind = "split by group" if constraint.groups is not None else "stratified split"
            raise ConfigError(path, f"no {kind} is possible: {error}") from error
    if how.fold is not None:
        rest, parts["val"] = _split_fold(rest, labels, how.fold, how.seed, constraint)
    return parts | {"train": rest}


def _split_time(rest: Indices, times: NDArray[Any], size: int, path: str) -> tuple[Indices, Indices]:
    """Split off the newest examples: `size` of them, or the nearest number that divides no instant.

    Of two numbers that are equally near, the smaller is taken, which leaves more for training.

    Args:
        rest: the examples from the oldest to the newest.
        times: their times, [n].
        size: the number of examples to hold out.
        path: the setting named in errors.
    """
    starts = np.flatnonzero(times[1:] != times[:-1]) + 1  # where an instant begins, but the first
    sizes = (len(rest) - starts)[::-1]
    sizes = sizes[sizes >= 2]
    if not len(sizes):
        raise ConfigError(
            path,
            f"of {len(rest)} examples no newest ones can be held out, because examples of one instant stay together; "
            "use a finer data.time, a smaller fraction, or leave data.time out",
        )
    nearest = sizes[np.argmin(np.abs(sizes - size))]
    return rest[:-nearest], rest[-nearest:]


def _split_fold(
    rest: Indices, labels: NDArray[Any] | None, fold: Fold, seed: int, constraint: SplitConstraint
) -> tuple[Indices, Indices]:
    """Return `rest` without one of its folds, and that fold, which is made of whole groups or stratified by class."""
    if constraint.times is not None:
        raise ConfigError(
            "folds",
            "later examples would train for earlier ones in a split by time; leave out folds, or data.time",
        )
    shuffling: dict[str, Any] = {"shuffle": True, "random_state": seed}
    if constraint.groups is not None:
        groups = constraint.groups[rest]
        folds = GroupKFold(fold.count, **shuffling).split(rest, groups=groups)
        num_available, what = len(np.unique(groups)), "groups"
    elif labels is not None:
        folds = StratifiedKFold(fold.count, **shuffling).split(rest, labels[rest])
        num_available, what = np.unique(labels[rest], return_counts=True)[1].min(), "examples of each class"
    else:
        folds = KFold(fold.count, **shuffling).split(rest)
        num_available, what = len(rest) // 2, "pairs of examples"
    if num_available < fold.count:
        raise ConfigError(
            "folds", f"{fold.count} folds need at least as many {what}, but there are {num_available}; use fewer folds"
        )
    kept, held_out = list(folds)[fold.index]
    if len(held_out) < 2:
        raise ConfigError("folds", "a fold of groups has a single example, but at least 2 are needed; use fewer folds")
    return rest[kept], rest[held_out]


def _split_groups(rest: Indices, groups: NDArray[Any], share: float, seed: int) -> tuple[Indices, Indices]:
    """Split whole groups, with about `share` of them in the second part."""
    kept, held_out = next(GroupShuffleSplit(1, test_size=share, random_state=seed).split(rest, groups=groups))
    return rest[kept], rest[held_out]


def _rotate_folds(folds: NDArray[Any], constraint: SplitConstraint, fold: Fold) -> SplitConstraint:
    """Return the constraint in which the fold column's folds, except those that test, validate one after the other."""
    if list(constraint.val_folds) != ["val"]:
        raise ConfigError(
            "data.val_folds", "folds uses each value of the fold column for validation once; leave val_folds out"
        )
    names = sorted(set(folds.tolist()) - set(constraint.test_folds))
    if len(names) != fold.count:
        raise ConfigError(
            "folds", f"the fold column has {len(names)} folds that do not test; write folds: {len(names)}"
        )
    return replace(constraint, val_folds=[names[fold.index]])


def _by_fold(folds: NDArray[Any], constraint: SplitConstraint) -> dict[SplitName, Indices]:
    parts: dict[SplitName, Indices] = {}
    taken = np.zeros(len(folds), dtype=bool)
    held_out: dict[SplitName, Sequence[str]] = {"test": constraint.test_folds, "val": constraint.val_folds}
    for name, fold_names in held_out.items():
        chosen = np.isin(folds, list(fold_names))
        if missing := sorted(set(fold_names) - set(folds.tolist())):
            existing = ", ".join(sorted(set(folds.tolist()))[:10])
            raise ConfigError(f"data.{name}_folds", f"no row has the fold {missing[0]!r}; the folds are: {existing}")
        if (chosen & taken).any():
            raise ConfigError(
                f"data.{name}_folds", "the same fold can't validate and test; name it in val_folds or in test_folds"
            )
        if chosen.sum() == 1:
            raise ConfigError(
                f"data.{name}_folds", "these folds have a single row, but at least 2 are needed; name more folds"
            )
        taken |= chosen
        if fold_names:
            parts[name] = np.flatnonzero(chosen)
    if taken.all():
        raise ConfigError("data.val_folds", "no row is left for training; name fewer folds")
    return parts | {"train": np.flatnonzero(~taken)}


def _select_training(
    train: Indices, how: Splitting, labels: NDArray[Any] | None, constraint: SplitConstraint
) -> Indices:
    if how.train_fraction < 1:
        train = _fraction_of(train, how, labels, constraint.groups)
    train = train[: how.limit]
    if how.bootstrap is None:
        return train
    return np.random.default_rng(how.bootstrap).choice(train, len(train))


def _fraction_of(train: Indices, how: Splitting, labels: NDArray[Any] | None, groups: NDArray[Any] | None) -> Indices:
    """Return a share of the training examples in their order: of each class alike, or whole groups.

    The examples of a smaller share are among those of a larger one.
    """
    order = np.random.default_rng(how.train_fraction_seed).permutation(len(train))
    strata = np.zeros(len(train), dtype=np.int64)
    if groups is not None:
        _, strata = np.unique(groups[train], return_inverse=True)
        chosen = _first_groups(strata, order, round(how.train_fraction * len(train)))
    else:
        if labels is not None:
            _, strata = np.unique(labels[train], return_inverse=True)
        sizes = np.maximum(1, np.round(how.train_fraction * np.bincount(strata)))
        chosen = np.zeros(len(train), dtype=bool)
        for stratum, size in enumerate(sizes.astype(np.int64).tolist()):
            chosen[order[strata[order] == stratum][:size]] = True
    if chosen.sum() < 2:
        left = f"leaves {int(chosen.sum())}; at least 2 are needed"
        raise ConfigError("data.train_fraction", f"{how.train_fraction:g} of {len(train)} training examples {left}")
    return train[chosen]


def _first_groups(groups: NDArray[np.int64], order: Indices, size: int) -> NDArray[np.bool_]:
    """Return which examples are in the first groups, in the order of their first example, that hold `size` together."""
    places, first = np.unique(groups[order], return_index=True)
    by_first = places[np.argsort(first)]
    counts = np.cumsum(np.bincount(groups)[by_first])
    num = int(np.searchsorted(counts, size)) + 1
    return np.isin(groups, by_first[:num])
