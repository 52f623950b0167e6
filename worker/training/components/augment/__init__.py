"""Registry of augmentations: factories from a dataset's facts and settings to a function that changes training batches.

All random numbers come from torch's default streams, whose states a checkpoint holds.
"""

from worker.training.components.augment.images import images
from worker.training.components.augment.mixing import Augment, Targets, mixup, none
from worker.training.registry import Registry

AUGMENTATIONS: Registry[Augment] = Registry("augment")
AUGMENTATIONS.add(none)
AUGMENTATIONS.add(mixup, inputs=["rows", "images"])
AUGMENTATIONS.add(images, inputs=["images"])

__all__ = ["AUGMENTATIONS", "Augment", "Targets"]
