"""Arrays of rows or images to a Dataset: split, and standardised with statistics of the training part alone."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.training.data.dataset import Dataset, Kind, SplitName
from worker.training.data.splits import Order, Splitting, split_indices
from worker.training.data.targets import with_targets


@dataclass(frozen=True)
class Examples:
    """Features [n, num_features] or [n, channels, height, width], of numbers or uint8 pixels, and targets [n].

    `names` [n] are the user's own ids of the examples, `order` what splits them where chance doesn't.
    """

    features: NDArray[Any]
    targets: NDArray[Any]
    names: NDArray[Any] | None = None
    order: Order | None = None


def assemble_arrays(
    main: Examples,
    given: Mapping[SplitName, Examples],
    kind: Kind,
    splitting: Splitting,
    class_names: tuple[str, ...] = (),
    *,
    where: str = "data.target",
) -> Dataset:
    """The dataset of `main`, split as asked, and of the parts that are `given` apart; the targets are from `where`.

    Rows are standardised column by column, images channel by channel; pixels of uint8 stay that small until a batch
    is made. The numbers are finite: who reads them has refused others by their place.
    """
    labels = main.targets if kind == "classification" else None
    indices = split_indices(labels, len(main.targets), splitting.beside(given), main.order)
    parts: dict[SplitName, Examples] = {
        name: Examples(main.features[chosen], main.targets[chosen]) for name, chosen in indices.items()
    }
    parts |= given
    train = parts["train"].features
    others = (0, *range(2, train.ndim))
    mean, std = train.mean(axis=others, dtype=np.float64), train.std(axis=others, dtype=np.float64)
    std = np.where(std == 0, 1.0, std)
    is_pixels = train.dtype == np.uint8 and train.ndim == 4

    def features(part: Examples) -> Tensor:
        if is_pixels:
            return torch.from_numpy(np.ascontiguousarray(part.features))
        shape = (-1, *(1 for _ in others[1:]))
        return torch.from_numpy(((part.features - mean.reshape(shape)) / std.reshape(shape)).astype(np.float32))

    dataset = with_targets(
        {name: features(part) for name, part in parts.items()},
        {name: part.targets for name, part in parts.items()},
        kind,
        class_names,
        where=where,
    ).numbered(indices)
    dataset = dataset.named({None: main.names, **{name: part.names for name, part in given.items()}})
    if not is_pixels:
        return dataset
    pixel_mean, pixel_std = (torch.from_numpy(each.astype(np.float32)).view(-1, 1, 1) for each in (mean, std))
    return replace(dataset, pixel_mean=pixel_mean, pixel_std=pixel_std)
