"""Mixup and cutmix: training on blends of two examples.

One blending share is drawn per batch, as in the papers' own code, so that the loss is a sum of two ordinary losses.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, TypeAlias

import torch
from torch import Tensor
from torch.distributions import Beta

from worker.training.data import Dataset
from worker.training.parameters import Setting

Targets: TypeAlias = Sequence[tuple[float, Tensor]]
"""A batch's targets: pairs of a share and targets [n, ...], whose shares add up to 1."""

Augment: TypeAlias = Callable[[Tensor, Tensor], tuple[Tensor, Targets]]
"""Maps a batch (features, targets) to the features to train on and their targets."""


def none(_: Dataset) -> Augment:
    """No augmentation."""
    return lambda features, targets: (features, [(1.0, targets)])


def mixup(
    _: Dataset,
    *,
    alpha: Annotated[
        float, Setting("the larger, the more even the blends: shares are of Beta(alpha, alpha)", low=1e-3)
    ] = 0.2,
) -> Augment:
    """Mixup: blend each example, and its target, with another of its batch (Zhang et al. 2018)."""
    return lambda features, targets: apply_mixup(features, targets, alpha)


def apply_mixup(features: Tensor, targets: Tensor, alpha: float) -> tuple[Tensor, Targets]:
    """Return mixup of a batch (Zhang et al. 2018).

    Args:
        features: [n, ...], of rows or images.
        targets: [n, ...].
        alpha: the share is drawn from Beta(alpha, alpha), alpha > 0.
    """
    share, partner = _share(alpha), _partners(features)
    return torch.lerp(features[partner], features, share), [(share, targets), (1 - share, targets[partner])]


def apply_cutmix(features: Tensor, targets: Tensor, alpha: float) -> tuple[Tensor, Targets]:
    """Return cutmix of a batch: paste a rectangle of another image of the batch into each image (Yun et al. 2019).

    Args:
        features: images, [n, channels, height, width].
        targets: [n, ...].
        alpha: the share lambda of the image that stays is drawn from Beta(alpha, alpha). The rectangle covers about 1 -
            lambda; the targets are weighted by its exact area after it is clipped at the border.
    """
    share, partner = _share(alpha), _partners(features)
    height, width = features.shape[2:]
    top, left, bottom, right = _rectangle(height, width, 1 - share)
    mixed = features.clone()
    mixed[:, :, top:bottom, left:right] = features[partner, :, top:bottom, left:right]
    share_kept = 1 - (bottom - top) * (right - left) / (height * width)
    return mixed, [(share_kept, targets), (1 - share_kept, targets[partner])]


def _share(alpha: float) -> float:
    return Beta(alpha, alpha).sample().item()  # drawn on the CPU, so that nothing waits for a GPU


def _partners(features: Tensor) -> Tensor:
    return torch.randperm(len(features), device=features.device)


def _rectangle(height: int, width: int, share: float) -> tuple[int, int, int, int]:
    """Return top, left, bottom, right of a rectangle of about `share`, around a random pixel, clipped at the border."""
    half_height, half_width = (round(side * share**0.5 / 2) for side in (height, width))
    row, column = (int(torch.randint(side, ()).item()) for side in (height, width))
    return (
        max(row - half_height, 0),
        max(column - half_width, 0),
        min(row + half_height, height),
        min(column + half_width, width),
    )
