"""Preprocessing of image files: the size and the mode to which each image is converted, and the scale of pixels."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worker.training.data.image_file import read_image, scaled_image
from worker.training.errors import ConfigError


@dataclass(frozen=True)
class ImagePreprocessing:
    """Turns images into features as training did.

    Attributes:
        size: height and width in pixels to which each image is cropped and scaled.
        grayscale: one channel of brightness instead of red, green and blue.
        means: the mean of each channel's pixels.
        deviations: their standard deviations.
    """

    size: int
    grayscale: bool
    means: tuple[float, ...]
    deviations: tuple[float, ...]
    kind: Literal["images"] = "images"

    def encode(self, images: Sequence[Any]) -> Tensor:
        """Return the pixels [n, channels, size, size], uint8, of paths, Pillow images, or arrays of uint8.

        Raises:
            ConfigError: a file can't be read as an image, or an array is no image.
        """
        with ThreadPoolExecutor() as threads:  # decoding releases the GIL
            pixels = list(threads.map(self._pixels, images))
        shape = (0, 1 if self.grayscale else 3, self.size, self.size)
        return torch.from_numpy(np.stack(pixels)) if pixels else torch.empty(shape, dtype=torch.uint8)

    def _pixels(self, image: Any) -> NDArray[np.uint8]:
        if isinstance(image, str | Path):
            return read_image(Path(image), size=self.size, grayscale=self.grayscale, where="data")
        if isinstance(image, np.ndarray):
            image = _of_array(image)
        if not hasattr(image, "convert"):
            raise ConfigError("data", f"an image is a path, a Pillow image or an array of uint8, not {type(image)}")
        return scaled_image(image, size=self.size, grayscale=self.grayscale)


def _of_array(array: NDArray[Any]) -> Any:
    """Return an array [height, width], [height, width, channels] or [channels, height, width] as a Pillow image."""
    from PIL import Image  # noqa: PLC0415

    if array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] not in (1, 3):
        array = array.transpose(1, 2, 0)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[:, :, 0]
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or (array.ndim == 3 and array.shape[2] != 3):
        raise ConfigError(
            "data",
            f"an image is an array of uint8 [height, width] or [height, width, 3], not {array.dtype} "
            f"{list(array.shape)}",
        )
    return Image.fromarray(np.ascontiguousarray(array))
