"""Folders of images, one per class, decoded by Pillow to pixels of one size."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray

from worker.training.data.arrays import Examples, assemble_arrays
from worker.training.data.dataset import Dataset, SplitName
from worker.training.data.fingerprint import of_files
from worker.training.data.splits import Bootstrap, Fold, Limit, Seed, Splitting, Stratify, TestFraction, ValFraction
from worker.training.errors import ConfigError
from worker.training.parameters import Setting

_ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"}


def images(
    turn: Fold | None = None,
    *,
    path: Annotated[str, Setting("folder with a folder of images per class, or with train, val, test of such folders")],
    size: Annotated[int, Setting("height and width in pixels to which each image is cropped and scaled", low=1)] = 32,
    grayscale: Annotated[bool, Setting("one channel of brightness instead of red, green and blue")] = False,
    val_fraction: ValFraction = 0.2,
    test_fraction: TestFraction = 0.2,
    seed: Seed = 0,
    stratify: Stratify = True,
    limit: Limit = None,
    bootstrap: Bootstrap = None,
) -> Dataset:
    """A folder of images by class: PNG, JPEG and what else Pillow reads, standardised channel by channel."""
    root = Path(path)
    if not root.is_dir():
        raise ConfigError("data.path", f"there is no folder {path!r} (looked for {root.absolute()})")
    load = partial(_load, size=size, grayscale=grayscale)
    main = root / "train" if (root / "train").is_dir() else root
    given: dict[SplitName, Examples] = {}
    parts: tuple[SplitName, ...] = ("val", "test", "test_val")
    if main != root:
        given = {name: _examples(root / name, load) for name in parts if (root / name).is_dir()}
    splitting = Splitting(
        0.0 if "val" in given else val_fraction,
        0.0 if "test" in given else test_fraction,
        seed,
        stratify,
        limit,
        bootstrap,
        turn,
    )
    dataset = assemble_arrays(_examples(main, load), given, "classification", splitting)
    # Which folder an image is in is its class: part of the data.
    files = {
        str(file.relative_to(root)): str(file)
        for part in (main, *(root / name for name in given))
        for file in _files(part)
    }
    return replace(dataset, fingerprint=of_files(files))


def _files(folder: Path) -> list[Path]:
    found = (file for file in folder.glob("*/*") if file.suffix.lower() in _ENDINGS)
    return sorted(file for file in found if not file.name.startswith("."))


def _examples(folder: Path, load: Callable[[Path], NDArray[np.uint8]]) -> Examples:
    files = _files(folder)
    if not files:
        raise ConfigError("data.path", f"{str(folder)!r} holds no images in folders of classes, like cat/1.png")
    with ThreadPoolExecutor() as threads:  # decoding leaves Python's lock
        pixels = np.stack(list(threads.map(load, files)))
    return Examples(pixels, np.array([file.parent.name for file in files]))


def _load(file: Path, *, size: int, grayscale: bool) -> NDArray[np.uint8]:
    """The middle square of an image, scaled, as [channels, size, size]."""
    from PIL import Image, ImageOps  # noqa: PLC0415  # of images alone, and slow to load

    try:
        with Image.open(file) as opened:
            image = ImageOps.exif_transpose(opened).convert("L" if grayscale else "RGB")
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ConfigError("data.path", f"{str(file)!r} is no image that can be read: {error}") from error
    pixels: NDArray[Any] = np.asarray(ImageOps.fit(image, (size, size)))
    return pixels[np.newaxis] if grayscale else pixels.transpose(2, 0, 1)
