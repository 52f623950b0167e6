"""Random image augmentations through kornia, computed on the device that trains."""

from typing import Annotated

import torch
from torch import Tensor, nn

from worker.training.components.augment.mixing import Augment, Targets, apply_cutmix, apply_mixup
from worker.training.data import Dataset
from worker.training.parameters import Setting


def images(
    dataset: Dataset,
    *,
    flip: Annotated[float, Setting("probability to mirror left and right", low=0.0, high=1.0)] = 0.0,
    vertical_flip: Annotated[float, Setting("probability to mirror top and bottom", low=0.0, high=1.0)] = 0.0,
    crop: Annotated[int, Setting("pixels of border added before the old size is cut out at random", low=0)] = 0,
    rotate: Annotated[float, Setting("largest rotation in degrees", low=0.0, high=180.0)] = 0.0,
    translate: Annotated[float, Setting("largest shift, as a share of height and width", low=0.0, high=1.0)] = 0.0,
    zoom: Annotated[float, Setting("largest change of size, as a share of it", low=0.0, high=0.9)] = 0.0,
    shear: Annotated[float, Setting("largest shear in degrees", low=0.0, high=60.0)] = 0.0,
    mixup: Annotated[float, Setting("alpha of mixup; 0: none", low=0.0)] = 0.0,
    cutmix: Annotated[float, Setting("alpha of cutmix; 0: none; with mixup, every batch draws one", low=0.0)] = 0.0,
) -> Augment:
    """Flips, affine changes and crops of each image, then mixup or cutmix; new border pixels have the mean value."""
    from kornia import augmentation  # noqa: PLC0415  # only this entry needs it, and it loads slowly

    changes: list[nn.Module] = []
    if flip:
        changes.append(augmentation.RandomHorizontalFlip(p=flip))
    if vertical_flip:
        changes.append(augmentation.RandomVerticalFlip(p=vertical_flip))
    if rotate or translate or zoom or shear:
        changes.append(
            augmentation.RandomAffine(
                degrees=rotate,
                translate=(translate, translate),
                scale=(1 - zoom, 1 + zoom),
                shear=shear or None,
                p=1.0,
            )
        )
    if crop:
        height, width = dataset.shape[1:]
        changes.append(augmentation.RandomCrop((height, width), padding=crop))
    change = nn.Sequential(*changes)

    def augment(features: Tensor, targets: Tensor) -> tuple[Tensor, Targets]:
        with torch.no_grad():
            features = change(features)
        if mixup and (not cutmix or torch.rand(()).item() < 0.5):
            return apply_mixup(features, targets, mixup)
        if cutmix:
            return apply_cutmix(features, targets, cutmix)
        return features, [(1.0, targets)]

    return augment
