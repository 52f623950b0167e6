"""Groups of examples: by class, by column in bins of equal count, and by a category; each with its error and gain."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from service.cli.errors.group_comparison import Comparison, compare
from service.cli.errors.model_errors import ModelErrors
from service.cli.errors.predictions import Floats, Mask
from service.cli.errors.report import Category, ColumnGroup, ErrorGroup
from service.cli.look.wording import short_number

SIGNIFICANCE = 0.05
"""The probability that any of the groups shown is only chance."""

_MIN_EXAMPLES = 10
"""A smaller group is not compared: its error is too uncertain to act on."""

_NUM_BINS, _MIN_IN_BIN, _MAX_VALUES = 5, 20, 30


@dataclass(frozen=True)
class Group:
    """The examples in `mask` [n], by the name of what they have in common."""

    name: str
    mask: Mask
    column: str = ""


def error_group(errors: ModelErrors, group: Group, comparison: Comparison | None, num_compared: int) -> ErrorGroup:
    """Return what the report says of a group.

    Args:
        errors: the errors of all examples.
        group: the group, which is not empty.
        comparison: the group's error and that of the rest; None: there is no rest.
        num_compared: the number of groups that were compared, by which the test is corrected (Bonferroni).
    """
    inside, total = errors.errors[group.mask], float(errors.errors.sum())
    value, gain = errors.fixed(group.mask)
    return ErrorGroup(
        name=group.name,
        num_examples=len(inside),
        num_mistakes=int(inside.sum()) if errors.are_mistakes else None,
        error=float(inside.mean()),
        error_of_rest=None if comparison is None else comparison.rest,
        low=None if comparison is None else comparison.low,
        high=None if comparison is None else comparison.high,
        is_beyond_noise=comparison is not None and comparison.p_value * num_compared < SIGNIFICANCE,
        share_of_error=float(inside.sum()) / total if total else 0.0,
        value_if_fixed=value,
        gain=gain,
    )


def compared(errors: ModelErrors, groups: Sequence[Group]) -> list[ErrorGroup]:
    """Return all groups, each compared with the rest, those that would gain most first."""
    found = [
        error_group(errors, each, compare(errors.errors, each.mask, are_mistakes=errors.are_mistakes), len(groups))
        for each in groups
    ]
    return sorted(found, key=lambda each: (-each.gain, each.name))


def columns_beyond_noise(errors: ModelErrors, groups: Sequence[Group]) -> list[ColumnGroup]:
    """Return the groups of columns whose error differs from the rest by more than noise.

    The surest come first; of equally sure ones the worst.
    """
    different: list[tuple[float, ColumnGroup]] = []
    for group in groups:
        comparison = compare(errors.errors, group.mask, are_mistakes=errors.are_mistakes)
        if comparison is not None and comparison.p_value * len(groups) < SIGNIFICANCE:
            found = error_group(errors, group, comparison, len(groups))
            different.append((comparison.p_value, ColumnGroup(column=group.column, **found.model_dump())))
    return [group for _, group in sorted(different, key=lambda each: (each[0], -each[1].error))]


def by_value(values: Iterable[Any]) -> Iterator[Group]:
    """Yield a group for each value, and one for missing values."""
    texts = np.array(["" if value is None else str(value) for value in values], dtype=object)
    for value in sorted(set(texts.tolist())):
        yield Group(value or "(missing)", texts == value)


def groups_of_columns(columns: Mapping[str, Sequence[Any] | Floats]) -> list[Group]:
    """Return the groups that are large enough to compare: ranges of numbers, and values of categories."""
    found = []
    for name, values in columns.items():
        numbers = numbers_of(values)
        groups = by_value(values) if numbers is None else by_range(numbers)
        if numbers is None and len(Counter(map(str, values))) > max(_MAX_VALUES, len(values) // 2):
            continue  # almost every example has a value of its own: ids, names, texts
        large = [each for each in groups if _MIN_EXAMPLES <= each.mask.sum() <= len(each.mask) - _MIN_EXAMPLES]
        largest = sorted(large, key=lambda each: -int(each.mask.sum()))[:_MAX_VALUES]
        found += [Group(each.name, each.mask, name) for each in largest]
    return found


def numbers_of(values: Sequence[Any] | Floats) -> Floats | None:
    """Return a column's numbers, NaN where one is missing; None: it has few different values, or holds no numbers."""
    found = []
    for value in values:
        try:
            found.append(float("nan") if value is None or value == "" else float(value))
        except (TypeError, ValueError):
            return None
    numbers = np.array(found)
    return numbers if len(np.unique(numbers[~np.isnan(numbers)])) > _NUM_BINS else None


def by_range(numbers: Floats) -> Iterator[Group]:
    """Yield bins of about equal count, and a group of missing values.

    Args:
        numbers: [n], NaN where a value is missing.
    """
    present = ~np.isnan(numbers)
    num_bins = max(2, min(_NUM_BINS, int(present.sum()) // _MIN_IN_BIN))
    edges = np.unique(np.quantile(numbers[present], np.linspace(0, 1, num_bins + 1)))
    for place, (low, high) in enumerate(pairwise(edges.tolist())):
        is_last = place == len(edges) - 2
        mask = (numbers >= low) & ((numbers <= high) if is_last else (numbers < high))
        words = (
            f"below {short_number(high)}" if place == 0 and not is_last
            else f"{short_number(low)} or more" if is_last
            else f"{short_number(low)} to {short_number(high)}"
        )  # fmt: skip
        if mask.any():
            yield Group(words, mask)
    if not present.all():
        yield Group("(missing)", ~present)


def category(errors: ModelErrors, name: str, values: Sequence[Any]) -> Category:
    """Return the groups of a category, all of them, whatever their size.

    Args:
        errors: the errors of all examples.
        name: the category's column or file.
        values: [n]; None or an empty text: the example has no category.
    """
    numbers = numbers_of(values)
    groups = [each for each in (by_value(values) if numbers is None else by_range(numbers)) if each.name != "(missing)"]
    num_without = sum(value is None or value == "" for value in values)
    return Category(name=name, groups=compared(errors, groups), num_without=num_without)
