"""Rules about images: broken or repeated files, classes, sizes, and properties that give the class away."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator

import numpy as np

from service.cli.look.class_rules import class_findings
from service.cli.look.image_facts import ImageFacts, ImageRecord
from service.cli.look.one_column_rule import prediction_score
from service.cli.look.report import Finding, Level
from service.cli.look.statistics import Codes, Values, codes_of
from service.cli.look.wording import counted, named, percent

CLASS = "class"
"""The name of the target: the folder that an image is in, or its label."""

_TELLING, _CERTAIN, _MOST_CLASSES = 0.5, 0.9, 20
_BLANK, _SMALL_SIDE, _LONG, _OFTEN = 2.0, 32, 1.5, 0.25


def broken(facts: ImageFacts) -> Iterator[Finding]:
    """Files that cannot be read."""
    if facts.broken:
        names = list(facts.broken)
        num = len(names)
        yield _finding(
            "broken_images",
            "error",
            num,
            message=f"{counted(num, 'file')} cannot be read as {'an image' if num == 1 else 'images'}: {named(names)} "
            f"({facts.broken[names[0]]})",
            remedy="remove or replace them: training stops at the first of them",
            about=names,
        )


def copies(facts: ImageFacts) -> Iterator[Finding]:
    """Images with equal pixels: in two parts, of two classes, or just twice."""
    groups: dict[bytes, list[ImageRecord]] = defaultdict(list)
    for record in facts.records:
        groups[record.digest].append(record)
    repeated = [group for group in groups.values() if len(group) > 1]
    between = [group for group in repeated if len({record.part for record in group}) > 1]
    conflicting = [group for group in repeated if len({record.label for record in group}) > 1]
    same = [group for group in repeated if group not in between and group not in conflicting]
    if between:
        yield _copies(
            "split_duplicates",
            between,
            "in two parts at once",
            "remove them from the training part: a score on examples that were trained on is too good",
        )
    if conflicting and facts.numbers is None:
        yield _copies(
            "conflicting_images",
            conflicting,
            "in two classes at once",
            "find out which is right and remove the others: no model can be right on both",
        )
    if same:
        yield _copies(
            "duplicate_images",
            same,
            "equal to another one, pixel by pixel",
            "remove them: a copy in the training part and in the validation part makes the score too good",
        )


def _copies(rule: str, groups: list[list[ImageRecord]], words: str, remedy: str) -> Finding:
    num = sum(len(group) - 1 for group in groups)
    first = [record.name for record in groups[0]]
    message = f"{counted(num, 'image is', 'images are')} {words}, such as {named(first)}"
    return _finding(
        rule,
        "warning",
        num,
        message=message,
        remedy=remedy,
        about=[record.name for group in groups for record in group],
    )


def classes(facts: ImageFacts) -> Iterator[Finding]:
    """Rare and dominating classes, empty folders, and folders that differ in case only."""
    if facts.numbers is not None:
        return
    yield from class_findings(CLASS, facts.counts)
    if len(facts.counts) == 1:
        only = next(iter(facts.counts))
        remedy = "put the images of each class into a folder of its own"
        yield _finding(
            "one_class", "error", 1, message=f"all images are of one class, `{only}`", remedy=remedy, about=[only]
        )
    if facts.empty_folders:
        num = len(facts.empty_folders)
        yield _finding(
            "empty_class",
            "warning",
            num,
            message=f"{counted(num, 'folder has', 'folders have')} no image ({named(facts.empty_folders)})",
            remedy="fill or remove them: the model does not know a class without examples",
            about=facts.empty_folders,
        )
    variants: dict[str, list[str]] = defaultdict(list)
    for label in sorted(facts.counts):
        variants[" ".join(label.lower().split())].append(label)
    for doubled in variants.values():
        if len(doubled) > 1:
            yield _finding(
                "spelling",
                "warning",
                len(doubled),
                message=f"{counted(len(doubled), 'class', 'classes')} differ in case or spaces only: {named(doubled)}",
                remedy="merge their folders: the model takes them for different classes",
                about=doubled,
            )


def telling(facts: ImageFacts) -> Iterator[Finding]:
    """Properties of the files, not of what they show, that predict the class."""
    if facts.numbers is not None or len(facts.counts) < 2:
        return
    records = facts.records
    labels = codes_of([record.label for record in records])
    names = list(dict.fromkeys(record.label for record in records))
    properties: dict[str, Values] = {
        "width": np.array([float(record.width) for record in records]),
        "height": np.array([float(record.height) for record in records]),
        "file format": codes_of([record.format for record in records]),
        "mode (channels)": codes_of([record.channels for record in records]),
        "file size": np.array([float(record.num_bytes) for record in records]),
        "brightness": np.array([record.brightness for record in records]),
    }
    for name, values in properties.items():
        what, score = _best_score(values, labels, names)
        limit = _TELLING if what == "its class" and name not in ("brightness", "file size") else _CERTAIN
        if score < limit:
            continue
        yield _finding(
            "telling_property",
            "warning",
            score,
            message=f"the {name} of an image alone tells {what}: a rule of it removes {percent(score)} of the error of "
            "a constant guess, on the half of the images that it was not learned on",
            remedy="check that the classes do not come from different sources; save all images alike, or the model "
            "learns how they were saved",
            about=[name],
        )


def _best_score(values: Values, labels: Codes, names: list[str]) -> tuple[str, float]:
    """Return what the values predict best, all classes or one of them against the rest, and the score."""
    scores = {"its class": prediction_score(values, labels) or 0.0}
    if 2 < len(names) <= _MOST_CLASSES:
        for code, name in enumerate(names):
            scores[f"class `{name}` from the others"] = (
                prediction_score(values, (labels == code).astype(np.int64)) or 0.0
            )
    if scores["its class"] >= _TELLING:
        return "its class", scores["its class"]
    best = max(scores, key=lambda each: scores[each])
    return best, scores[best]


def blank(facts: ImageFacts) -> Iterator[Finding]:
    """Images of one colour."""
    names = [record.name for record in facts.records if record.contrast < _BLANK]
    if names:
        yield _finding(
            "blank_images",
            "warning",
            len(names),
            message=f"{counted(len(names), 'image is', 'images are')} of one colour ({named(names)})",
            remedy="remove them, unless they belong to a class of their own",
            about=names,
        )


def sizes(facts: ImageFacts) -> Iterator[Finding]:
    """Images that are scaled up, or lose much by the crop to a square."""
    if not facts.is_folder or not facts.records:
        return
    sides = np.array([min(record.width, record.height) for record in facts.records])
    small = float((sides < _SMALL_SIDE).mean())
    if small > _OFTEN:
        yield _finding(
            "small_images",
            "note",
            small,
            message=f"{percent(small)} of the images are smaller than {_SMALL_SIDE} pixels (half of them below "
            f"{np.median(sides):.0f}), and would be scaled up to data.size: {_SMALL_SIDE}",
            remedy=f"write data.size: {max(1, int(np.median(sides)))}",
        )
    ratios = np.array([max(record.width, record.height) / min(record.width, record.height) for record in facts.records])
    long = float((ratios > _LONG).mean())
    if long > _OFTEN:
        yield _finding(
            "long_images",
            "note",
            long,
            message=f"{percent(long)} of the images are more than {_LONG} times as long as wide, and only their "
            "central square is used",
            remedy="crop or pad them if what matters lies at the edges",
        )


def colours(facts: ImageFacts) -> Iterator[Finding]:
    """Grey pictures, and transparent ones."""
    if not facts.is_folder or not facts.records:
        return
    if all(record.is_gray for record in facts.records):
        yield _finding(
            "gray_images",
            "note",
            1,
            message=f"all {len(facts.records):,} images are grey",
            remedy="write data.grayscale: true: one channel instead of three equal ones",
        )
    see_through = [record.name for record in facts.records if record.channels in ("RGBA", "LA", "PA")]
    if see_through:
        yield _finding(
            "transparent_images",
            "note",
            len(see_through),
            message=f"{counted(len(see_through), 'image has', 'images have')} transparency ({named(see_through)}), "
            "which is dropped",
            remedy="put them on a background: what lies under transparent pixels becomes visible",
            about=see_through,
        )


def other_files(facts: ImageFacts) -> Iterator[Finding]:
    """Files in the folders of classes that are no images by their ending."""
    if facts.num_other_files:
        num = facts.num_other_files
        yield _finding(
            "other_files",
            "note",
            num,
            message=f"{counted(num, 'file', 'files')} in the folders of classes {'is' if num == 1 else 'are'} no image "
            "by its ending, and left out",
            remedy="check that they are not images under another name",
        )


def _finding(
    rule: str, level: Level, figure: float, *, message: str, remedy: str, about: list[str] | None = None
) -> Finding:
    return Finding(rule=rule, level=level, columns=about or [], figure=figure, message=message, remedy=remedy)


IMAGE_RULES: tuple[Callable[[ImageFacts], Iterator[Finding]], ...] = (
    broken,
    copies,
    classes,
    telling,
    blank,
    sizes,
    colours,
    other_files,
)
