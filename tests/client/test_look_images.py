"""`study look` finds planted faults in folders of images, archives and text files, and none in healthy ones."""

from __future__ import annotations

import base64
import io
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn import datasets

from service.cli.inspect_data import InspectOptions
from service.cli.look import image_folder, images, text_file
from service.cli.look.image_facts import ImageFacts
from service.cli.look.look import look
from service.cli.look.png import data_uri
from service.cli.look.report import Finding, Report
from service.cli.main import main
from service.cli.render.look_html import html_page

PETS = Path("pets")
DIGITS = datasets.load_digits()


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def pixels(seed: int, height: int = 40, width: int = 40) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (height, width, 3), dtype=np.uint8)


def save(name: str, content: np.ndarray, root: Path = PETS) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(content).save(path)
    return path


def pets(root: Path = PETS, first: int = 0, num: int = 60) -> None:
    for at in range(num):
        save(f"{('cat', 'dog')[at % 2]}/{at}.png", pixels(first + at, 40 + (at // 2) % 3, 44), root)


def found(report: Report, rule: str) -> list[Finding]:
    return [finding for finding in report.findings if finding.rule == rule]


def broken() -> None:
    path = save("cat/broken.png", pixels(500))
    path.write_bytes(path.read_bytes()[:300])
    (PETS / "dog" / "page.jpg").write_text("<html>not found</html>")


def in_two_classes() -> None:
    save("cat/a.png", pixels(1))
    save("dog/b.bmp", pixels(1))


def in_two_parts() -> None:
    for part, first in (("train", 0), ("val", 1000)):
        pets(PETS / part, first)
    save("train/cat/a.png", pixels(7))
    save("val/cat/b.png", pixels(7))


def written_twice() -> None:
    save("cat/a.png", pixels(1))
    save("cat/again.bmp", pixels(1))


def different_formats() -> None:
    for at in range(60):
        save(f"fox/{at}.jpg", pixels(2000 + at, 40 + at % 3, 44))


def larger() -> None:
    for at in range(60):
        save(f"fox/{at}.png", pixels(2000 + at, 60, 60))


def gray() -> None:
    for path in PETS.rglob("*.png"):
        Image.open(path).convert("L").save(path)


def small() -> None:
    for path in PETS.rglob("*.png"):
        Image.open(path).resize((12, 12)).save(path)


def transparent() -> None:
    Image.new("RGBA", (40, 40), (9, 9, 99, 0)).save(PETS / "cat" / "glass.png")


FAULTS: dict[str, tuple[Callable[[], object], str, str, str]] = {
    "broken files": (broken, "broken_images", "error", "2 files cannot be read"),
    "one picture in two classes": (in_two_classes, "conflicting_images", "warning", "1 image is in two classes"),
    "one picture in two parts": (in_two_parts, "split_duplicates", "warning", "cat/b.png"),
    "one picture twice": (written_twice, "duplicate_images", "warning", "cat/again.bmp"),
    "a class in another format": (different_formats, "telling_property", "warning", "file format"),
    "a class in another size": (larger, "telling_property", "warning", "width"),
    "blank": (lambda: save("dog/white.png", np.full((40, 40, 3), 255, np.uint8)), "blank_images", "warning", "white"),
    "an empty folder": ((PETS / "cow").mkdir, "empty_class", "warning", "`cow`"),
    "a class of three": (
        lambda: [save(f"cow/{at}.png", pixels(900 + at)) for at in range(3)],
        "rare_class",
        "error",
        "`cow`",
    ),
    "one class dominates": (
        lambda: [save(f"cat/more{at}.png", pixels(900 + at)) for at in range(150)],
        "imbalance",
        "warning",
        "86 %",
    ),
    "Cat and cat": (
        lambda: [save(f"Cat/{at}.png", pixels(900 + at)) for at in range(30)],
        "spelling",
        "warning",
        "`Cat`, `cat`",
    ),
    "all grey": (gray, "gray_images", "note", "data.grayscale: true"),
    "small": (small, "small_images", "note", "data.size: 12"),
    "long": (
        lambda: [save(f"cat/long{at}.png", pixels(900 + at, 40, 90)) for at in range(40)],
        "long_images",
        "note",
        "central square",
    ),
    "transparent": (transparent, "transparent_images", "note", "glass.png"),
    "other files": (lambda: (PETS / "cat" / "notes.txt").write_text("x"), "other_files", "note", "1 file"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_planted_fault_is_found_by_its_rule(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    plant, rule, level, words = FAULTS[fault]
    if fault != "one picture in two parts":
        pets()
        assert look("pets", InspectOptions()).findings == [], "nothing is wrong before"
    plant()
    finders = []

    def noted(function: Callable[[ImageFacts], Iterator[Finding]], facts: ImageFacts) -> Iterator[Finding]:
        findings = list(function(facts))
        if any(each.rule == rule for each in findings):
            finders.append(function)
        return iter(findings)

    monkeypatch.setattr(images, "IMAGE_RULES", tuple(partial(noted, function) for function in images.IMAGE_RULES))
    finding = found(look("pets", InspectOptions()), rule)[0]
    assert finding.level == level
    assert words in finding.sentence
    assert len(finders) == 1, "one rule finds it"


def test_one_class_is_nothing_to_learn() -> None:
    for at in range(10):
        save(f"cat/{at}.png", pixels(at))
    assert found(look("pets", InspectOptions()), "one_class")[0].level == "error"


def test_the_report_of_a_folder_counts_sizes_channels_and_classes(capsys: pytest.CaptureFixture[str]) -> None:
    pets()
    assert main(["look", "pets", "--json"]) == 0
    page = json.loads(capsys.readouterr().out)
    assert page["images"]["channels"] == [{"value": "RGB", "count": 60}]
    assert page["images"]["formats"] == [{"value": "PNG", "count": 60}]
    assert [each["count"] for each in page["images"]["sizes"]] == [20, 20, 20]
    assert page["target"]["classes"] == [{"value": "cat", "count": 30}, {"value": "dog", "count": 30}]
    assert page["data"] == {"name": "images", "path": "pets"}
    assert main(["look", "pets"]) == 0
    text = capsys.readouterr().out
    assert text.startswith("pets: 60 images, target class (classification)\n")
    assert "data: {name: images, path: pets}" in text


def test_examples_are_small_pictures_in_the_page() -> None:
    pets()
    save("cat/large.png", np.full((3000, 2000, 3), 77, np.uint8))
    report = look("pets", InspectOptions())
    assert {"the largest", "the darkest"} <= {why for example in report.examples for why in example.why.split(", ")}
    for example in report.examples:
        assert example.image is not None
        head, _, content = example.image.partition(",")
        assert head == "data:image/png;base64"
        with Image.open(io.BytesIO(base64.b64decode(content))) as picture:
            assert max(picture.size) <= 96
    page = html_page(report)
    assert page.count('<img src="data:image/png;base64,') == len(report.examples) <= 16
    assert len(page) < 1_000_000


@pytest.mark.parametrize("shape", [(8, 8), (7, 9, 3), (300, 20, 3), (5, 5, 1), (6, 4, 2), (1, 1)])
@pytest.mark.parametrize("kind", ["uint8", "float32"])
def test_pictures_are_encoded_as_pillow_reads_them(shape: tuple[int, ...], kind: str) -> None:
    content = np.random.default_rng(0).integers(0, 255, shape).astype(kind)
    with Image.open(io.BytesIO(base64.b64decode(data_uri(content).partition(",")[2]))) as picture:
        decoded = np.asarray(picture)
    step = -(-max(shape[:2]) // 96)
    shown = content[::step, ::step]
    shown = shown[:, :, 0] if shown.ndim == 3 and shape[2] < 3 else shown
    assert decoded.shape == shown.shape
    if kind == "uint8":
        assert (decoded == shown).all()


def test_many_images_are_sampled_and_the_page_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    pets()
    monkeypatch.setattr(image_folder.read_folder, "__defaults__", (20,))
    report = look("pets", InspectOptions())
    assert (report.num_examples, report.num_sampled) == (60, 20)
    assert report.notes[0].startswith("Statistics are of 20 of 60 images")
    assert report.target is not None
    assert sum(each.count for each in report.target.classes) == 60, "classes are counted in all files"


def test_without_pillow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    pets()
    monkeypatch.setitem(sys.modules, "PIL.Image", None)
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert main(["look", "pets"]) == 1
    assert capsys.readouterr().err == (
        "pets: needs Pillow to be read; pip install 'assayer[worker]', or pip install pillow\n"
    )


def archive(**arrays: np.ndarray) -> str:
    np.savez("data.npz", **arrays)
    return "data.npz"


def test_rows_of_an_archive_are_a_table() -> None:
    x, y = datasets.load_wine(return_X_y=True)
    report = look(archive(x=x, y=y), InspectOptions())
    assert report.findings == []
    assert (report.kind, report.num_examples, len(report.columns)) == ("table", 178, 13)
    assert report.columns[6].name == "x[:, 6]"
    bad = np.column_stack([x, np.random.default_rng(0).permutation(len(x)), y * 3.0])
    report = look(archive(x=bad, y=y), InspectOptions())
    assert {finding.rule: finding.columns for finding in report.findings} == {
        "leak": ["x[:, 14]"],
        "identifier": ["x[:, 13]"],
    }
    assert "No setting leaves out a column of an archive" in report.notes[-1]


def test_images_of_an_archive_are_images() -> None:
    x = DIGITS.images.astype(np.uint8)
    report = look(archive(x=x, y=DIGITS.target), InspectOptions())
    assert (report.kind, report.num_examples) == ("images", 1797)
    assert report.findings == []
    assert report.images is not None
    assert report.images.sizes[0].value == "8 × 8"  # noqa: RUF001
    assert len(report.target.classes if report.target else []) == 10
    x[5], x[9] = 7, x[8]
    rules = [finding.rule for finding in look(archive(x=x[:, None], y=DIGITS.target), InspectOptions()).findings]
    assert sorted(rules) == ["blank_images", "conflicting_images"]


def test_examples_in_two_parts_of_an_archive_are_found() -> None:
    x, y = datasets.load_wine(return_X_y=True)
    parts = {"x_train": x[:120], "y_train": y[:120], "x_val": x[110:], "y_val": y[110:]}
    order = np.random.default_rng(0).permutation(120)
    parts |= {"x_train": parts["x_train"][order], "y_train": parts["y_train"][order]}
    (finding,) = found(look(archive(**parts), InspectOptions()), "split_duplicates")
    assert finding.figure == 10
    assert "x_val" in finding.sentence


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"x": np.zeros((5, 2))}, "there is no array 'y'"),
        ({"x": np.zeros((5, 2)), "y": np.zeros(4)}, "5 examples and 4 targets"),
        ({"x": np.array(["a", "b"]), "y": np.zeros(2)}, "not rows or images"),
    ],
)
def test_an_archive_without_examples_is_one_sentence(
    arrays: dict[str, np.ndarray], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["look", archive(**arrays)]) == 1
    told = capsys.readouterr().err
    assert said in told
    assert told.count("\n") == 1


def test_a_damaged_archive_is_one_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    path = Path(archive(x=np.zeros((50, 2)), y=np.zeros(50)))
    for content in (
        path.read_bytes()[:-40],
        b"PK\x03\x04",
        b"",
        path.read_bytes()[:80] + b"x" * 30 + path.read_bytes()[110:],
    ):
        Path("bad.npz").write_bytes(content)
        assert main(["look", "bad.npz"]) == 1
        assert capsys.readouterr().err.count("\n") == 1
    np.savez("objects.npz", x=np.array([object()], dtype=object), y=np.zeros(1))
    assert main(["look", "objects.npz"]) == 1
    assert "without objects" in capsys.readouterr().err


def test_a_text_is_described_and_its_faults_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    words = np.random.default_rng(0)
    lines = [" ".join(f"word{number}" for number in words.integers(0, 200, 12)) for _ in range(300)]
    Path("book.txt").write_text("\n".join(lines))
    report = look("book.txt", InspectOptions())
    assert report.findings == []
    assert report.columns[0].texts is not None
    assert report.columns[0].texts.vocabulary == 200
    Path("book.txt").write_text("\n".join(lines[:100] * 3))
    assert [finding.rule for finding in look("book.txt", InspectOptions()).findings] == ["repeated_lines"]
    Path("book.txt").write_text("\n".join(f"{line} é" for line in lines), encoding="latin-1")
    assert [finding.rule for finding in look("book.txt", InspectOptions()).findings] == ["encoding"]
    Path("book.txt").write_text("short")
    assert [finding.rule for finding in look("book.txt", InspectOptions()).findings] == ["short_text"]
    Path("book.txt").write_text("\n".join(lines))
    monkeypatch.setattr(text_file.report_text, "__defaults__", (5000,))
    assert "only its first" in look("book.txt", InspectOptions()).notes[0]


def test_a_binary_file_is_no_text(capsys: pytest.CaptureFixture[str]) -> None:
    Path("book.txt").write_bytes(b"\x7fELF\0\0\0")
    assert main(["look", "book.txt"]) == 1
    assert capsys.readouterr().err == "book.txt: is not a text file: it holds binary data\n"
