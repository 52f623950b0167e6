"""Image folder data source: one folder per class, decoded by Pillow to images of one size."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated, cast

import numpy as np
from numpy.typing import NDArray

from worker.training.data.arrays import Examples, assemble_arrays
from worker.training.data.column_roles import Roles
from worker.training.data.csv_file import read_csv
from worker.training.data.dataset import Dataset, SplitName
from worker.training.data.fingerprint import of_files
from worker.training.data.image_file import ENDINGS, read_image
from worker.training.data.preprocessing.arrays import ArrayPreprocessing
from worker.training.data.preprocessing.images import ImagePreprocessing
from worker.training.data.splits import Fold, SplitConstraint, Stratified
from worker.training.data.table_file import read_checked, require_columns
from worker.training.errors import ConfigError, MissingFile
from worker.training.parameters import Setting


def images(
    fold: Fold | None = None,
    *,
    path: Annotated[
        str, Setting("folder with a folder of images per class, or with train, val, test of such folders", names="path")
    ],
    size: Annotated[int, Setting("height and width in pixels to which each image is cropped and scaled", low=1)] = 32,
    grayscale: Annotated[bool, Setting("one channel of brightness instead of red, green and blue")] = False,
    table: Annotated[
        str | None,
        Setting("CSV file with what decides the split: a row for each image, its `file` as below path", names="path"),
    ] = None,
    roles: Roles,
    splitting: Stratified,
) -> Dataset:
    """A folder of images with a subfolder per class: PNG, JPEG and other formats, standardised by channel.

    An image's id is its file's path below the folder.
    """
    root = Path(path)
    if not root.is_dir():
        raise MissingFile("data.path", f"there is no folder {path!r} (looked for {root.absolute()})")
    load = partial(read_image, size=size, grayscale=grayscale)
    main = root / "train" if (root / "train").is_dir() else root
    separate: dict[SplitName, Examples] = {}
    parts: tuple[SplitName, ...] = ("val", "test", "test_val")
    if main != root:
        separate = {name: _examples(root, root / name, load) for name in parts if (root / name).is_dir()}
    examples = _examples(root, main, load)
    if table is not None or roles.columns:
        examples = replace(examples, constraint=_split_constraint(table, roles, examples))
    dataset = assemble_arrays(examples, separate, "classification", splitting.at_fold(fold), where="data.path")
    # The path below `root` contains the class, so the fingerprint includes it.
    files = {
        str(file.relative_to(root)): str(file)
        for part in (main, *(root / name for name in separate))
        for file in _files(part)
    }
    files |= {} if table is None else {"table": table}
    scale = cast("ArrayPreprocessing", dataset.preprocessing)
    fitted = ImagePreprocessing(size, grayscale, scale.means, scale.deviations)
    return replace(dataset, fingerprint=of_files(files), preprocessing=fitted)


def _files(folder: Path) -> list[Path]:
    images = (file for file in folder.glob("*/*") if file.suffix.lower() in ENDINGS)
    return sorted(file for file in images if not file.name.startswith("."))


def _examples(root: Path, folder: Path, load: Callable[[Path], NDArray[np.uint8]]) -> Examples:
    files = _files(folder)
    if not files:
        raise ConfigError("data.path", f"{str(folder)!r} has no images in class folders, such as cat/1.png")
    with_images = {file.parent for file in files}
    for each in sorted(folder.iterdir()):
        if each.is_dir() and not each.name.startswith(".") and each not in with_images:
            raise ConfigError(
                "data.path",
                f"the class folder {str(each)!r} has no images ({', '.join(sorted(ENDINGS))}); put images into it, or "
                "remove it",
            )
    with ThreadPoolExecutor() as threads:  # decoding releases the GIL
        pixels = np.stack(list(threads.map(load, files)))
    names = np.array([file.relative_to(root).as_posix() for file in files])
    return Examples(pixels, np.array([file.parent.name for file in files]), names)


def _split_constraint(path: str | None, roles: Roles, examples: Examples) -> SplitConstraint:
    """Return the constraint on the split of the images from the CSV file at `path`."""
    if path is None:
        setting = next(iter(roles.columns))
        raise ConfigError(
            f"data.{setting}", "a folder of images has no columns; name a CSV file with this column as data.table"
        )
    if not roles.columns:
        raise ConfigError(
            "data.table", "no setting uses a column of this file; name one as data.group, data.time or data.fold"
        )
    rows = read_checked("table", path, partial(read_csv, "utf-8", None))
    require_columns("data.table", ["file"], rows)
    row_of: dict[str, int] = {}
    for index, file in enumerate(rows.column("file").to_pylist()):
        if row_of.setdefault(str(file), index) != index:
            raise ConfigError("data.table", f"{path!r} has two rows for {file!r}; keep one")
    names: list[str] = [] if examples.names is None else examples.names.tolist()
    if missing := [name for name in names if name not in row_of]:
        raise ConfigError("data.table", f"{path!r} has no row for the file {missing[0]!r}; add one")
    rows = rows.take([row_of[name] for name in names])
    roles.require(rows)
    return roles.split_constraint(rows)
