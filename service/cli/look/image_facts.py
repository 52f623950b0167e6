"""The facts about images on which findings rest: one record per image, from a folder or from an archive."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ImageRecord:
    """One image: where it is, its class, its shape, and figures of its pixels."""

    name: str
    part: str
    """The part that it is in by its folder or array: train, val, test or test_val."""
    label: str
    width: int
    height: int
    channels: str
    """Pillow's mode of a file (RGB, L, RGBA, …), or the number of channels of an array."""
    format: str
    num_bytes: int
    brightness: float
    """The mean of the pixels, from 0 to 255."""
    contrast: float
    """The standard deviation of the pixels, from 0 to 255."""
    is_gray: bool
    """Whether all channels are equal."""
    digest: bytes
    """A hash of the pixels: equal for equal pictures, whatever their format."""


@dataclass(frozen=True)
class ImageFacts:
    """What is known about a folder of images, or an archive's images."""

    source: str
    num_images: int
    """All images; more than were decoded if they are many."""
    records: list[ImageRecord]
    broken: dict[str, str] = field(default_factory=dict)
    """Files that cannot be read, and why."""
    counts: Counter[str] = field(default_factory=Counter)
    """Class -> images, of the part that trains."""
    empty_folders: list[str] = field(default_factory=list)
    num_other_files: int = 0
    """Files in the folders of classes that are no images by their ending."""
    is_folder: bool = True
    numbers: list[float] | None = None
    """The targets of a regression, in the order of the records."""


def digest_of(pixels: NDArray[Any]) -> bytes:
    """Return a hash of pixels and their shape."""
    header = f"{pixels.shape} {pixels.dtype}".encode()
    return blake2b(header + np.ascontiguousarray(pixels).tobytes(), digest_size=16).digest()
