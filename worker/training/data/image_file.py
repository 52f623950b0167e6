"""Reads image files of any supported format as arrays of one size."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worker.training.errors import ConfigError

ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}

_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""The formats that are read, whatever a file's name says: for some others Pillow runs programs of the system."""


def read_image(file: Path, *, size: int, grayscale: bool, where: str = "data.path") -> NDArray[np.uint8]:
    """Return the central square of an image, scaled, as [channels, size, size].

    Raises:
        ConfigError: at `where`, the file is too large or no image.
    """
    from PIL import Image, ImageOps  # noqa: PLC0415  # only images need it, and it loads slowly

    try:
        with Image.open(file, formats=_FORMATS) as opened:
            image = ImageOps.exif_transpose(opened)
            return scaled_image(image, size=size, grayscale=grayscale)
    except MemoryError:
        raise
    except Image.DecompressionBombError:
        raise ConfigError(where, f"{str(file)!r} is too large; scale the image down") from None
    except Exception:
        kinds = ", ".join(_FORMATS)
        raise ConfigError(where, f"{str(file)!r} can't be read as an image; supported formats are {kinds}") from None


def scaled_image(image: Any, *, size: int, grayscale: bool) -> NDArray[np.uint8]:
    """Return the central square of a Pillow image, scaled, as [channels, size, size]."""
    from PIL import ImageOps  # noqa: PLC0415

    pixels: NDArray[Any] = np.asarray(ImageOps.fit(image.convert("L" if grayscale else "RGB"), (size, size)))
    return pixels[np.newaxis] if grayscale else pixels.transpose(2, 0, 1)
