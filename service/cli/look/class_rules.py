"""Rules about the classes of a target: rare ones, and one that dominates. Tables and images share them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from service.cli.look.report import Finding
from service.cli.look.wording import named, percent

_UNBALANCED, _SMALLEST_CLASS, _SMALL_CLASS = 0.8, 5, 20


def class_findings(target: str, counts: Counter[str], scale: float = 1.0) -> Iterator[Finding]:
    """Report classes that are rare, and one that dominates.

    Args:
        target: the target's name.
        counts: class -> examples.
        scale: the number of all examples per counted example.
    """
    if len(counts) < 2:
        return
    smallest = [label for label, count in counts.items() if count * scale < _SMALLEST_CLASS]
    small = [label for label, count in counts.items() if _SMALLEST_CLASS <= count * scale < _SMALL_CLASS]
    if smallest:
        yield _rare(target, smallest, counts, _SMALLEST_CLASS)
    if small:
        yield _rare(target, small, counts, _SMALL_CLASS)
    label, most = counts.most_common(1)[0]
    share = most / counts.total()
    if share > _UNBALANCED:
        yield Finding(
            rule="imbalance",
            level="warning",
            columns=[target],
            figure=share,
            message=f"{percent(share)} of the examples have the target `{target}` {label!r}, so always saying it has "
            f"an accuracy of {share:.3g}",
            remedy="judge by metrics: [balanced_accuracy] with objective.metric: val/balanced_accuracy, and try "
            "loss.class_weights",
        )


def _rare(target: str, names: list[str], counts: Counter[str], limit: int) -> Finding:
    fewest = min(counts[name] for name in names)
    those = f"class {named(names)} of" if len(names) == 1 else f"{len(names):,} classes ({named(names)}) of"
    is_refused = limit == _SMALLEST_CLASS
    why = (
        "some part of the split may have none"
        if is_refused
        else "its validation scores rest on a handful of examples; folds: 5 uses each of them once"
    )
    return Finding(
        rule="rare_class",
        level="error" if is_refused else "warning",
        columns=[target],
        figure=fewest,
        message=f"{those} the target `{target}` {'has' if len(names) == 1 else 'have'} fewer than {limit} examples "
        f"(the fewest: {fewest})",
        remedy=f"collect more of it, merge it with another class, or remove it: {why}",
    )
