"""NumPy archives and folders of images and texts: what is read, and what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from worker.training import ConfigError
from worker.training.data import DATA, Dataset

CHANCE = np.random.default_rng(0)


def load(name: str, path: Path, **given: Any) -> Dataset:
    return DATA.create(name, DATA.check(name, {"path": str(path), **given}))


def archive(path: Path, **arrays: Any) -> Path:
    np.savez(path / "data.npz", **arrays)
    return path / "data.npz"


def test_an_archive_of_rows(tmp_path: Path):
    dataset = load("npz", archive(tmp_path, x=CHANCE.normal(5, 3, (50, 4)), y=np.arange(50) % 2))
    assert (dataset.kind, dataset.inputs, dataset.shape) == ("classification", "rows", (4,))
    assert dataset.train.features.mean(0).abs().max() < 1e-5
    assert load("npz", archive(tmp_path, x=CHANCE.normal(size=(50, 4)), y=np.arange(50) * 0.5)).kind == "regression"


def test_an_archive_of_images_keeps_its_bytes_small(tmp_path: Path):
    pixels = CHANCE.integers(0, 256, (50, 3, 6, 5), dtype=np.uint8)
    dataset = load("npz", archive(tmp_path, x=pixels, y=np.arange(50) % 2))
    assert (dataset.inputs, dataset.shape) == ("images", (3, 6, 5))
    assert dataset.train.features.dtype == torch.uint8
    features, _ = dataset.batch(dataset.train, slice(None))
    torch.testing.assert_close(features.mean((0, 2, 3)), torch.zeros(3), atol=1e-5, rtol=0)
    torch.testing.assert_close(features.std((0, 2, 3), correction=0), torch.ones(3))


def test_an_archive_may_bring_its_parts(tmp_path: Path):
    arrays = {f"x_{part}": CHANCE.normal(size=(size, 8, 8)) for part, size in (("train", 30), ("val", 10), ("test", 5))}
    arrays |= {f"y_{part}": np.arange(size) % 2 for part, size in (("train", 30), ("val", 10), ("test", 5))}
    dataset = load("npz", archive(tmp_path, **arrays))
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 30, "val": 10, "test": 5}
    assert dataset.shape == (1, 8, 8)


@pytest.mark.parametrize("source", ["npz", "csv", "images"])
def test_a_part_of_its_own_loses_the_classes_that_do_not_train(tmp_path: Path, source: str):
    labels = {"train": [0] * 12 + [1] * 10 + [2] * 8, "val": [2, 0, 1, 1], "test": [2, 2, 0]}
    settings = {}
    if source == "npz":
        arrays = {f"x_{part}": CHANCE.normal(size=(len(each), 2)) for part, each in labels.items()}
        path = archive(tmp_path, **arrays, **{f"y_{part}": each for part, each in labels.items()})
    elif source == "images":
        path = tmp_path
        for part, each in labels.items():
            for at, label in enumerate(sorted(each)):
                file = tmp_path / part / str(label) / f"{at}.png"
                file.parent.mkdir(parents=True, exist_ok=True)
                Image.new("L", (4, 4), at).save(file)
        labels = {part: sorted(each) for part, each in labels.items()}
    else:
        for part, each in labels.items():
            (tmp_path / part).write_text("x,id,y\n" + "".join(f"{at},{part}{at},{y}\n" for at, y in enumerate(each)))
        path = tmp_path / "train"
        settings = {"train": path, "val": tmp_path / "val", "test": tmp_path / "test", "target": "y", "id": "id"}
    given = {name: str(value) for name, value in settings.items()} or {"path": str(path)}
    dataset = DATA.create(source, DATA.check(source, {**given, "classes": 2}))
    assert dataset.class_names == ("0", "1")
    for name, split in dataset.splits.items():
        kept = {at: label for at, label in enumerate(labels[name]) if label < 2}
        assert dict(sorted(zip(split.ids.tolist(), split.targets.tolist(), strict=True))) == kept
        if source == "csv":
            assert {split.names[at] for at in split.ids.tolist()} == {f"{name}{at}" for at in kept}
    if source == "npz":
        path = archive(tmp_path, **arrays | {"y_train": labels["train"], "y_val": labels["val"], "y_test": [2, 2, 2]})
        with pytest.raises(ConfigError, match=r"data\.classes: the test examples are all of other classes"):
            load("npz", path, classes=2)


@pytest.mark.parametrize(
    ("arrays", "given", "message"),
    [
        ({"x": np.ones((9, 2)), "z": [1] * 9}, {}, r"data\.target: there is no array 'y'"),
        ({"a": np.ones((9, 2)), "y": [1] * 9}, {}, r"data\.features: there is no array 'x'"),
        ({"x": np.ones((9, 2)), "y": [1] * 8}, {}, r"data\.target: 'y' has the shape \[8\] for 9 examples"),
        ({"x": np.ones(9), "y": [1] * 9}, {}, r"data\.features: 'x' is float64 \[9\]; it must hold rows or images"),
        ({"x": np.array([["a"]] * 9), "y": [1] * 9}, {}, r"data\.features: 'x' is <U1 \[9, 1\]; it must hold rows"),
        ({"x": np.full((30, 2), np.nan), "y": [1, 2] * 15}, {}, r"data\.features: array 'x' holds nan at \[0, 0\]"),
        ({"x": np.ones((30, 2)), "y": [np.nan, 2] * 15}, {}, r"data\.target: array 'y' holds nan at \[0\]"),
        ({"x": np.ones((30, 2)), "y": [1] * 30}, {}, r"data\.target: the training examples have only the class 1"),
        (
            {"x_train": np.ones((30, 2)), "y_train": [1, 2] * 15, "x_val": np.ones((4, 3)), "y_val": [1, 2] * 2}, {},
            r"data\.features: the val examples have the shape \[3\], but the training examples have \[2\]",
        ),
        ({"x": np.array([{}] * 9), "y": [1] * 9}, {}, r"data\.path: .* can't be read as a NumPy archive"),
    ],
)  # fmt: skip
def test_an_archive_that_cannot_be_learned_from(tmp_path: Path, arrays: Any, given: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        load("npz", archive(tmp_path, **arrays), **given)


@pytest.mark.parametrize("name", ["npz", "text", "images"])
def test_a_missing_path_is_reported(name: str, tmp_path: Path):
    with pytest.raises(ConfigError, match=r"data\.path: there is no (file|folder) .*absent.* \(looked for /"):
        load(name, tmp_path / "absent")


def test_something_else_than_an_archive(tmp_path: Path):
    (tmp_path / "data.npz").write_text("no archive")
    with pytest.raises(ConfigError, match=r"data\.path: .* can't be read as a NumPy archive"):
        load("npz", tmp_path / "data.npz")


def draw_images(folder: Path, number: int = 10) -> Path:
    """Red and blue images of several sizes and formats."""
    for colour in ("red", "blue"):
        (folder / colour).mkdir(parents=True)
        for index in range(number):
            image = Image.new(("RGB", "P", "L")[index % 3] if index else "RGB", (20 + index, 30 - index))
            if image.mode == "RGB":
                image.paste(colour, (0, 0, *image.size))
            image.save(folder / colour / f"{index}{('.png', '.JPG')[index % 2 and image.mode == 'RGB']}")
    return folder


def test_a_folder_of_images(tmp_path: Path):
    dataset = load("images", draw_images(tmp_path / "all"), size=12)
    assert dataset.class_names == ("blue", "red")
    assert (dataset.shape, dataset.train.features.dtype) == ((3, 12, 12), torch.uint8)
    assert {name: len(split) for name, split in dataset.splits.items()} == {"test": 4, "val": 4, "train": 12}
    assert load("images", tmp_path / "all", size=12, grayscale=True).shape == (1, 12, 12)


def test_a_folder_may_bring_its_parts(tmp_path: Path):
    for part, number in (("train", 8), ("val", 3)):
        draw_images(tmp_path / part, number)
    dataset = load("images", tmp_path, test_fraction=0.25)
    assert {name: len(split) for name, split in dataset.splits.items()} == {"train": 12, "val": 6, "test": 4}


def test_fingerprints_are_of_the_content(tmp_path: Path):
    one = load("images", draw_images(tmp_path / "one"), size=8).fingerprint
    assert one == load("images", draw_images(tmp_path / "two"), size=16, seed=5).fingerprint
    (tmp_path / "two" / "red" / "0.png").rename(tmp_path / "two" / "blue" / "a.png")
    assert one != load("images", tmp_path / "two").fingerprint, "a class was changed"
    (tmp_path / "t.txt").write_bytes(b"x" * 999)
    assert (
        load("text", tmp_path / "t.txt", length=8).fingerprint == load("text", tmp_path / "t.txt", length=9).fingerprint
    )
    rows = archive(tmp_path, x=np.eye(20), y=np.arange(20) % 2)
    assert load("npz", rows).fingerprint == load("npz", rows, seed=2).fingerprint


def test_a_damaged_image_is_named(tmp_path: Path):
    folder = draw_images(tmp_path / "all")
    (folder / "red" / "0.png").write_bytes((folder / "red" / "0.png").read_bytes()[:40])
    with pytest.raises(ConfigError, match=r"data\.path: '.*red/0\.png' can't be read as an image"):
        load("images", folder)


@pytest.mark.parametrize("part", ["", "train/", "val/"])
def test_an_empty_class_folder_is_refused_by_its_name(tmp_path: Path, part: str):
    folder = draw_images(tmp_path / "all" / part)
    if part == "val/":
        draw_images(tmp_path / "all" / "train")
    (folder / ".hidden").mkdir()
    load("images", tmp_path / "all")
    (folder / "green" / "nested").mkdir(parents=True)
    (folder / "green" / "notes.txt").write_text("none yet")
    with pytest.raises(
        ConfigError, match=r"data\.path: the class folder '.*green' has no images \(.*\.png.*\); put im"
    ):
        load("images", tmp_path / "all")


def test_a_folder_without_images(tmp_path: Path):
    (tmp_path / "red").mkdir()
    (tmp_path / "red" / "notes.txt").touch()
    with pytest.raises(ConfigError, match=r"data\.path: .* has no images in class folders"):
        load("images", tmp_path)


def test_a_text_becomes_windows_that_predict_the_next_token(tmp_path: Path):
    path = tmp_path / "t.txt"
    path.write_bytes(bytes(range(100)))
    dataset = load("text", path, length=8)
    assert (dataset.kind, dataset.inputs, dataset.vocabulary, dataset.num_outputs) == ("language", "tokens", 256, 256)
    assert dataset.train.features[0].tolist() == list(range(8))
    assert torch.equal(dataset.train.targets, dataset.train.features + 1)
    assert dataset.train.features.max() < 80 <= dataset.splits["val"].features.min()
    assert dataset.splits["test"].features.min() == 90


def test_characters_that_training_never_saw_count_as_one(tmp_path: Path):
    path = tmp_path / "t.txt"
    path.write_text("하늘 " * 40 + "땅" * 30)
    dataset = load("text", path, length=4, tokens="characters", val_fraction=0, test_fraction=0.2)
    assert dataset.class_names == (" ", "늘", "하", "\N{REPLACEMENT CHARACTER}")
    assert set(dataset.splits["test"].features.flatten().tolist()) == {3}
    assert dataset.train.features[0].tolist() == [2, 1, 0, 2]


@pytest.mark.parametrize(
    ("content", "given", "message"),
    [
        (b"too short", {}, r"data\.length: the train part has 7 tokens, too few for one example of 128"),
        (b"", {"tokens": "characters"}, r"data\.length: the train part has 0 tokens"),
        (b"\xff" * 999, {"tokens": "characters"}, r"data\.tokens: .* is not written in utf-8; use tokens: bytes"),
        (b"x" * 999, {"val_fraction": 0.5, "test_fraction": 0.5}, r"data\.val_fraction: .* must be below 1"),
        (b"x" * 999, {"length": 100}, r"data\.length: the val part has 100 tokens"),
    ],
)
def test_a_text_that_cannot_be_learned_from(tmp_path: Path, content: bytes, given: dict[str, Any], message: str):
    (tmp_path / "t.txt").write_bytes(content)
    with pytest.raises(ConfigError, match=message):
        load("text", tmp_path / "t.txt", **given)
