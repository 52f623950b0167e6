"""Training on blends of two examples, of any numbers: mixup, and cutmix for images.

One share is drawn per batch, as in the papers' own code, so that the loss stays a sum of two plain ones.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, TypeAlias

import torch
from torch import Tensor
from torch.distributions import Beta

from worker.training.data import Dataset
from worker.training.parameters import Setting

Targets: TypeAlias = Sequence[tuple[float, Tensor]]
"""What a batch should give: shares that add up to 1, and the targets of each."""

Augment: TypeAlias = Callable[[Tensor, Tensor], tuple[Tensor, Targets]]
"""(features, targets) of a batch -> its features to train on, and what they should give."""


def none(_: Dataset) -> Augment:
    """The examples as they are."""
    return lambda features, targets: (features, [(1.0, targets)])


def mixup(
    _: Dataset,
    *,
    alpha: Annotated[
        float, Setting("the larger, the more even the blends: shares are of Beta(alpha, alpha)", low=1e-3)
    ] = 0.2,
) -> Augment:
    """Each example blended with another of its batch, and so the targets (Zhang et al. 2018)."""
    return lambda features, targets: blended(features, targets, alpha)


def blended(features: Tensor, targets: Tensor, alpha: float) -> tuple[Tensor, Targets]:
    """Mixup of a batch."""
    share, partner = _share(alpha), _partners(features)
    return torch.lerp(features[partner], features, share), [(share, targets), (1 - share, targets[partner])]


def cut(features: Tensor, targets: Tensor, alpha: float) -> tuple[Tensor, Targets]:
    """Cutmix of a batch of images: a rectangle of another image, of the share 1 - lambda (Yun et al. 2019)."""
    share, partner = _share(alpha), _partners(features)
    height, width = features.shape[2:]
    top, left, bottom, right = _rectangle(height, width, 1 - share)
    mixed = features.clone()
    mixed[:, :, top:bottom, left:right] = features[partner, :, top:bottom, left:right]
    kept = 1 - (bottom - top) * (right - left) / (height * width)
    return mixed, [(kept, targets), (1 - kept, targets[partner])]


def _share(alpha: float) -> float:
    return Beta(alpha, alpha).sample().item()  # drawn on the CPU: nothing waits for a GPU


def _partners(features: Tensor) -> Tensor:
    return torch.randperm(len(features), device=features.device)


def _rectangle(height: int, width: int, share: float) -> tuple[int, int, int, int]:
    """Top, left, bottom, right of a rectangle of about this share around a random pixel, cut at the borders."""
    half_height, half_width = (round(side * share**0.5 / 2) for side in (height, width))
    row, column = (int(torch.randint(side, ()).item()) for side in (height, width))
    return (
        max(row - half_height, 0),
        max(column - half_width, 0),
        min(row + half_height, height),
        min(column + half_width, width),
    )
