"""Splits examples into train, val and test: at random, stratified, by group, by time or by fold; works on indices only.

In a cross-validation, each fold of the examples outside the test set validates once, while the others train.
"""

from collections.abc import Collection, Sequence
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


@dataclass(frozen=True)
class Fold:
    """The cross-validation fold `index` (from 0) of `count`, which is the validation set in place of a fraction."""

    index: int
    count: int


@dataclass(frozen=True)
class Splitting:
    """How to split the examples; a fraction of 0 makes no such split.

    The test set does not depend on the validation set, the fold, `limit` or `bootstrap`.

    Attributes:
        val_fraction: the share of all examples held out for validation, in [0, 0.9].
        test_fraction: the share of all examples held out for the test, in [0, 0.9].
        seed: the seed of the split.
        stratify: whether each class has the same share in every part.
        limit: the largest number of training examples; None: no limit.
        bootstrap: the seed for drawing training examples with replacement; None: each is used once.
        turn: the fold that validates in a cross-validation; None: there is no cross-validation.
    """

    val_fraction: ValFraction = 0.2
    test_fraction: TestFraction = 0.2
    seed: Annotated[int, Setting("seed of the split, apart from the training's seed", low=0, high=2**32 - 1)] = 0
    stratify: bool = True
    limit: Limit = None
    bootstrap: Annotated[
        int | None,
        Setting("seed by which as many training examples are drawn anew, with replacement; null: each once", low=0),
    ] = None
    turn: Fold | None = None

    def at_fold(self, turn: Fold | None) -> Self:
        """Return the same splitting with `turn` as the fold that validates."""
        return replace(self, turn=turn)

    def beside(self, given: Collection[SplitName]) -> "Splitting":
        """Return the same splitting for data that brings the splits `given` as separate files: these are not split off.

        Raises:
            ConfigError: the data brings its own validation examples, but a cross-validation was asked for.
        """
        if self.turn is not None and "val" in given:
            raise ConfigError("folds", "the data brings its own validation examples; leave those out, or folds")
        return replace(
            self,
            val_fraction=0.0 if "val" in given else self.val_fraction,
            test_fraction=0.0 if "test" in given else self.test_fraction,
        )


@dataclass(frozen=True)
class Stratified(Splitting):
    """Splitting of examples that may have classes."""

    stratify: Annotated[bool, Setting("the same share of each class in every part")] = True


@dataclass(frozen=True)
class SplitConstraint:
    """A constraint on the split, one at most: groups that stay together, times, or named folds.

    Attributes:
        groups: the group of each example, [n].
        times: the time of each example, [n]; the oldest train, the newest test.
        folds: the fold name of each example, [n].
        val_folds: the names of the folds that validate.
        test_folds: the names of the folds that test; all others train.
    """

    groups: NDArray[Any] | None = None
    times: NDArray[Any] | None = None
    folds: NDArray[Any] | None = None
    val_folds: Sequence[str] = ()
    test_folds: Sequence[str] = ()


def split_indices(
    labels: NDArray[Any] | None, num_examples: int, how: Splitting, order: SplitConstraint | None = None
) -> dict[SplitName, Indices]:
    """Return the indices of `train` and, if asked for, of `val` and `test`.

    Args:
        labels: class labels [n] to stratify by; None: there are no classes.
        num_examples: n.
        how: fractions, seed and other settings of the split.
        order: the constraint on the split; None: it is random.

    Raises:
        ConfigError: a part would be too small to hold two examples, or one of each class; or settings contradict each
            other.
    """
    order = order or SplitConstraint()
    if how.turn is not None:
        how = replace(how, val_fraction=0.0)
    if order.folds is not None:
        parts = _by_fold(order.folds, order if how.turn is None else _in_turn(order.folds, order, how.turn))
    else:
        if how.val_fraction + how.test_fraction >= 1:
            raise ConfigError("data.val_fraction", "val_fraction and test_fraction together must be below 1")
        rest = np.random.default_rng(how.seed).permutation(num_examples)
        if order.times is not None:
            rest = np.argsort(order.times, kind="stable")
        parts = _by_fraction(rest, labels if how.stratify else None, how, order)
    return parts | {"train": _drawn(parts["train"], how)}


def _by_fraction(
    rest: Indices, labels: NDArray[Any] | None, how: Splitting, order: SplitConstraint
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
        if order.times is not None:
            rest, parts[name] = rest[:-size], rest[-size:]
            continue
        try:
            if order.groups is not None:
                rest, parts[name] = _apart(rest, order.groups[rest], size / len(rest), how.seed)
            else:
                stratify = None if labels is None else labels[rest]
                rest, parts[name] = train_test_split(rest, test_size=size, random_state=how.seed, stratify=stratify)
        except ValueError as error:
            kind = "split by group" if order.groups is not None else "stratified split"
            raise ConfigError(path, f"no {kind} is possible: {error}") from error
    if how.turn is not None:
        rest, parts["val"] = _without_fold(rest, labels, how.turn, how.seed, order)
    return parts | {"train": rest}


def _without_fold(
    rest: Indices, labels: NDArray[Any] | None, fold: Fold, seed: int, order: SplitConstraint
) -> tuple[Indices, Indices]:
    """Return `rest` without one of its folds, and that fold, which is made of whole groups or stratified by class."""
    if order.times is not None:
        raise ConfigError("folds", "in time, later examples would tell of earlier ones; leave out folds, or data.time")
    drawn: dict[str, Any] = {"shuffle": True, "random_state": seed}
    if order.groups is not None:
        groups = order.groups[rest]
        folds = GroupKFold(fold.count, **drawn).split(rest, groups=groups)
        there, what = len(np.unique(groups)), "groups"
    elif labels is not None:
        folds = StratifiedKFold(fold.count, **drawn).split(rest, labels[rest])
        there, what = np.unique(labels[rest], return_counts=True)[1].min(), "examples of each class"
    else:
        folds = KFold(fold.count, **drawn).split(rest)
        there, what = len(rest) // 2, "pairs of examples"
    if there < fold.count:
        raise ConfigError("folds", f"{fold.count} folds need as many {what}, and there are {there}; write fewer folds")
    kept, held_out = list(folds)[fold.index]
    if len(held_out) < 2:
        raise ConfigError("folds", "a fold of groups holds a single example, too few to measure; write fewer folds")
    return rest[kept], rest[held_out]


def _apart(rest: Indices, groups: NDArray[Any], share: float, seed: int) -> tuple[Indices, Indices]:
    """Split whole groups, with about `share` of them in the second part."""
    kept, held_out = next(GroupShuffleSplit(1, test_size=share, random_state=seed).split(rest, groups=groups))
    return rest[kept], rest[held_out]


def _in_turn(folds: NDArray[Any], order: SplitConstraint, fold: Fold) -> SplitConstraint:
    """Return the constraint in which the fold column's folds, except those that test, validate one after the other."""
    if list(order.val_folds) != ["val"]:
        raise ConfigError("data.val_folds", "with folds each value validates in turn; leave it out")
    names = sorted(set(folds.tolist()) - set(order.test_folds))
    if len(names) != fold.count:
        raise ConfigError(
            "folds", f"the fold column has {len(names)} folds beside those that test; write folds: {len(names)}"
        )
    return replace(order, val_folds=[names[fold.index]])


def _by_fold(folds: NDArray[Any], order: SplitConstraint) -> dict[SplitName, Indices]:
    parts: dict[SplitName, Indices] = {}
    taken = np.zeros(len(folds), dtype=bool)
    held_out: dict[SplitName, Sequence[str]] = {"test": order.test_folds, "val": order.val_folds}
    for name, wanted in held_out.items():
        chosen = np.isin(folds, list(wanted))
        if missing := sorted(set(wanted) - set(folds.tolist())):
            known = ", ".join(sorted(set(folds.tolist()))[:10])
            raise ConfigError(f"data.{name}_folds", f"no row has the fold {missing[0]!r}; there are: {known}")
        if (chosen & taken).any():
            raise ConfigError(f"data.{name}_folds", "a fold can't validate and test; name it once")
        if chosen.sum() == 1:
            raise ConfigError(f"data.{name}_folds", "a single row is too few to measure; at least 2 are needed")
        taken |= chosen
        if wanted:
            parts[name] = np.flatnonzero(chosen)
    if taken.all():
        raise ConfigError("data.val_folds", "no row is left to train on")
    return parts | {"train": np.flatnonzero(~taken)}


def _drawn(train: Indices, how: Splitting) -> Indices:
    train = train[: how.limit]
    if how.bootstrap is None:
        return train
    return np.random.default_rng(how.bootstrap).choice(train, len(train))
