"""Which examples train, validate and test: seeded, stratified by class; knows indices only."""

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import train_test_split

from worker.training.errors import ConfigError
from worker.training.parameters import Setting

ValFraction = Annotated[float, Setting("share of the examples held out for validation", low=0.0, high=0.9)]
TestFraction = Annotated[float, Setting("share of the examples held out for the final test", low=0.0, high=0.9)]
Seed = Annotated[int, Setting("seed of the split, apart from the training's seed", low=0, high=2**32 - 1)]
Limit = Annotated[int | None, Setting("train on at most this many examples; null: on all", low=1)]


@dataclass(frozen=True)
class Splitting:
    """How to split; a fraction of 0 makes no such split. The test part is the same whatever the other settings say."""

    val_fraction: float
    test_fraction: float
    seed: int
    limit: int | None


def split_indices(labels: NDArray[Any] | None, num_examples: int, how: Splitting) -> dict[str, NDArray[np.int64]]:
    """Indices of `train` and, where asked for, `val` and `test`; stratified by `labels` [n] where given.

    ConfigError where a part would be too small to hold two examples, or one of each class.
    """
    if how.val_fraction + how.test_fraction >= 1:
        raise ConfigError("data.val_fraction", "val_fraction and test_fraction together must be below 1")
    parts: dict[str, NDArray[np.int64]] = {}
    rest = np.random.default_rng(how.seed).permutation(num_examples)
    for name, fraction in (("test", how.test_fraction), ("val", how.val_fraction)):
        if fraction == 0:
            continue
        size = round(num_examples * fraction)
        if size < 2:
            raise ConfigError(
                f"data.{name}_fraction", f"{fraction:g} of {num_examples} examples leaves {size}; at least 2 are needed"
            )
        try:
            rest, parts[name] = train_test_split(
                rest, test_size=size, random_state=how.seed, stratify=None if labels is None else labels[rest]
            )
        except ValueError as error:
            raise ConfigError(f"data.{name}_fraction", f"no stratified split is possible: {error}") from error
    return parts | {"train": rest[: how.limit]}
