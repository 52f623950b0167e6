"""Makes the report of images: of a folder, or of an archive."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from service.cli.look import png, statistics
from service.cli.look.image_facts import ImageFacts, ImageRecord
from service.cli.look.image_rules import CLASS, IMAGE_RULES
from service.cli.look.report import Count, Example, Images, Numbers, Report, Target, sort_findings
from service.cli.look.statistics import Floats

_NUM_RANDOM, _NUM_SHOWN = 8, 12


def report_images(facts: ImageFacts, data: dict[str, Any], pixels: Callable[[ImageRecord], Any], seed: int) -> Report:
    """Analyse images.

    Args:
        facts: the images.
        data: the `data` section for the study file.
        pixels: returns a record's pixels [height, width] or [height, width, channels], to show them.
        seed: decides the examples.
    """
    notes = []
    num_seen = len(facts.records) + len(facts.broken)
    if num_seen < facts.num_images:
        notes.append(
            f"Statistics are of {num_seen:,} of {facts.num_images:,} images, drawn at random by seed {seed}; repeated "
            "and broken images are counted among these."
        )
    return Report(
        source=facts.source,
        kind="images",
        num_examples=facts.num_images,
        num_sampled=num_seen,
        notes=notes,
        findings=sort_findings([finding for rule in IMAGE_RULES for finding in rule(facts)]),
        target=_target(facts),
        num_duplicates=len(facts.records) - len({record.digest for record in facts.records}),
        images=_images(facts),
        examples=_examples(facts, pixels, seed),
        data=data,
    )


def _target(facts: ImageFacts) -> Target:
    if facts.numbers is not None:
        return Target(
            name="target", kind="regression", num_missing=0, numbers=statistics.summarise(np.array(facts.numbers))
        )
    return Target(name=CLASS, kind="classification", num_missing=0, classes=_counts(facts.counts))


def _images(facts: ImageFacts) -> Images | None:
    records = facts.records
    widths = _numbers([record.width for record in records])
    heights = _numbers([record.height for record in records])
    brightness = _numbers([record.brightness for record in records])
    if widths is None or heights is None or brightness is None:
        return None
    return Images(
        num_images=facts.num_images,
        num_decoded=len(records),
        num_broken=len(facts.broken),
        num_duplicates=len(records) - len({record.digest for record in records}),
        sizes=_counts(Counter(f"{record.width} × {record.height}" for record in records))[:_NUM_SHOWN],  # noqa: RUF001
        channels=_counts(Counter(record.channels for record in records)),
        formats=_counts(Counter(record.format for record in records)),
        widths=widths,
        heights=heights,
        brightness=brightness,
    )


def _numbers(values: list[Any]) -> Numbers | None:
    return statistics.summarise(np.array(values, dtype=np.float64))


def _counts(counts: Counter[str]) -> list[Count]:
    ordered = sorted(counts, key=lambda value: (-counts[value], value))
    return [Count(value=value, count=counts[value]) for value in ordered]


def _examples(facts: ImageFacts, pixels: Callable[[ImageRecord], Any], seed: int) -> list[Example]:
    """Return random images and those at the ends: largest, smallest, brightest, darkest, and of the rarest class."""
    records = facts.records
    if not records:
        return []
    chance = random.Random(seed)  # noqa: S311 - a choice of examples, no secret
    chosen = dict.fromkeys(sorted(chance.sample(range(len(records)), min(_NUM_RANDOM, len(records)))), "")
    areas: Floats = np.array([float(record.width * record.height) for record in records])
    brightness = np.array([record.brightness for record in records])
    ends = [(int(brightness.argmax()), "the brightest"), (int(brightness.argmin()), "the darkest")]
    if np.ptp(areas):
        ends += [(int(areas.argmax()), "the largest"), (int(areas.argmin()), "the smallest")]
    if facts.numbers is None and len(facts.counts) > 1:
        rarest = min(facts.counts, key=lambda label: (facts.counts[label], label))
        places = [place for place, record in enumerate(records) if record.label == rarest]
        ends += [(places[0], f"of the rarest class ({facts.counts[rarest]:,} images)")] if places else []
    for place, why in ends:
        chosen[place] = ", ".join(each for each in (chosen.get(place), why) if each)
    return [
        Example(
            index=place,
            values={"file": records[place].name, "class": records[place].label, "size": _size(records[place])},
            why=why,
            image=png.data_uri(pixels(records[place])),
        )
        for place, why in chosen.items()
    ]


def _size(record: ImageRecord) -> str:
    return f"{record.width} × {record.height}"  # noqa: RUF001
