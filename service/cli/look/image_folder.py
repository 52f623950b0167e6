"""Reads the images of a folder with a folder per class, as the training core finds them, with Pillow."""

from __future__ import annotations

import random
import warnings
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from service.cli.inspect_data import IMAGE_ENDINGS
from service.cli.look.image_facts import ImageFacts, ImageRecord, digest_of
from service.client.errors import invalid_study

MAX_IMAGES = 4_000
"""The most images that are decoded; of more, a random sample is."""

_PARTS = ("train", "val", "test", "test_val")
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
"""The formats that the training core reads, whatever a file's name says."""

_MAX_PIXELS = 80_000_000
_IMAGES_PER_NOTICE = 64


def read_folder(source: str, seed: int, notice: Callable[[float], None], max_images: int = MAX_IMAGES) -> ImageFacts:
    """Decode the images of a folder, or a sample of them.

    Raises:
        InvalidStudy: the folder has no images in folders of classes, or Pillow is not installed.
    """
    root = Path(source)
    try:
        import PIL.Image  # noqa: F401, PLC0415 - only images need it
    except ImportError:
        raise invalid_study(
            source, "needs Pillow to be read; pip install 'assayer[worker]', or pip install pillow"
        ) from None
    listing = _list_files(root)
    files = listing.images
    if not files:
        raise invalid_study(source, "holds no images in folders of classes, like cat/1.png")
    num_images = len(files)
    if num_images > max_images:
        chance = random.Random(seed)  # noqa: S311 - a sample, no secret
        files = [files[place] for place in sorted(chance.sample(range(num_images), max_images))]
    records, broken = [], {}
    with ThreadPoolExecutor(2) as threads:  # decoding releases the GIL
        for place, (file, read) in enumerate(
            zip(files, threads.map(lambda each: _record(root, *each), files), strict=True)
        ):
            if isinstance(read, ImageRecord):
                records.append(read)
            else:
                broken[file[1].relative_to(root).as_posix()] = read
            if place % _IMAGES_PER_NOTICE == 0:
                notice(place / len(files))
    return ImageFacts(
        source, num_images, records, broken, listing.counts, listing.empty_folders, listing.num_other_files
    )


@dataclass
class _Listing:
    images: list[tuple[str, Path]] = field(default_factory=list)
    """Part and path of each image."""
    counts: Counter[str] = field(default_factory=Counter)
    empty_folders: list[str] = field(default_factory=list)
    num_other_files: int = 0


def _list_files(root: Path) -> _Listing:
    """List the images in the folders of classes, as the training core finds them."""
    listing = _Listing()
    parts = [name for name in _PARTS if (root / name).is_dir()] if (root / "train").is_dir() else [""]
    for part in parts:
        for folder in sorted(each for each in (root / part).iterdir() if each.is_dir() and each.name[0] != "."):
            inside = sorted(each for each in folder.iterdir() if each.name[0] != "." and each.is_file())
            images = [each for each in inside if each.suffix.lower() in IMAGE_ENDINGS]
            listing.num_other_files += len(inside) - len(images)
            listing.images += [(part or "train", image) for image in images]
            if not images:
                listing.empty_folders.append(folder.relative_to(root).as_posix())
            elif part in ("", "train"):
                listing.counts[folder.name] += len(images)
    return listing


def pixels_of(file: Path) -> NDArray[Any]:
    """Return an image's pixels as RGB bytes [height, width, 3], reduced to about 96 pixels a side."""
    from PIL import Image, ImageOps  # noqa: PLC0415

    with Image.open(file, formats=_FORMATS) as opened:
        opened.draft("RGB", (192, 192))
        image = ImageOps.exif_transpose(opened).convert("RGB")
    image.thumbnail((96, 96))
    return np.asarray(image)


def _record(root: Path, part: str, file: Path) -> ImageRecord | str:
    """Return what is known of an image, or why it cannot be read."""
    from PIL import Image, ImageOps, UnidentifiedImageError  # noqa: PLC0415

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of much that it reads well
            with Image.open(file, formats=_FORMATS) as opened:
                if opened.width * opened.height > _MAX_PIXELS:
                    return f"{opened.width} by {opened.height} pixels are too many"
                mode, kind = opened.mode, opened.format or ""
                image = ImageOps.exif_transpose(opened).convert("RGB")
    except UnidentifiedImageError:
        return "no image of a known format"
    except Exception as error:  # decoders raise anything for damaged files
        return str(error).split("\n")[0][:100] or type(error).__name__
    pixels = np.asarray(image)
    return ImageRecord(
        name=file.relative_to(root).as_posix(),
        part=part,
        label=file.parent.name,
        width=image.width,
        height=image.height,
        channels=mode,
        format=kind,
        num_bytes=file.stat().st_size,
        brightness=float(pixels.mean()),
        contrast=float(pixels.std()),
        is_gray=bool((pixels == pixels[:, :, :1]).all()),
        digest=digest_of(pixels),
    )
