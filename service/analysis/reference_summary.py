"""Comparison of an objective value with references: official, published and human values, and baselines."""

from __future__ import annotations

from collections.abc import Sequence

from service.contract.base import Direction
from service.contract.preflight import NOT_COMPLETED
from service.contract.study import Reference, ReferenceKind, ReferenceValue

_ORDER: tuple[ReferenceKind, ...] = ("official", "published", "human", "baseline")


def ordered_references(given: Reference | None, measured: Sequence[ReferenceValue]) -> list[ReferenceValue]:
    """Return all references of a study in the order in which to compare a result with them.

    An official implementation says most, because it is known to be right; a simple baseline says least (Full Stack Deep
    Learning).

    Args:
        given: the values that the spec gives.
        measured: the baselines that the preflight measured.
    """
    values = {} if given is None else given.model_dump()
    of_spec = [
        ReferenceValue(name=kind, kind=kind, value=value) for kind in _ORDER if (value := values.get(kind)) is not None
    ]
    return [*of_spec, *measured]


def reference_summary(value: float, references: Sequence[ReferenceValue], direction: Direction) -> str | None:
    """Describe which references `value` reaches and by how much it misses the others.

    Returns:
        For example "reaches published 0.98, baseline 0.1; 0.0067 short of human 0.99"; None if there are no references.
    """
    sign = 1.0 if direction == "maximize" else -1.0
    known = [(_words(each), sign * (each.value - value)) for each in references]
    reached = [words for words, short in known if short <= 0]
    missed = [f"{short:.2g} short of {words}" for words, short in known if short > 0]
    parts = [f"reaches {', '.join(reached)}"] if reached else []
    return "; ".join([*parts, ", ".join(missed)] if missed else parts) or None


def _words(reference: ReferenceValue) -> str:
    """Return the name and the value of a reference, and whether the fit of a baseline was ended early."""
    is_partial = reference.note is not None and reference.note.startswith(NOT_COMPLETED)
    return f"{reference.name.replace('_', ' ')} {reference.value:.4g}{f' ({NOT_COMPLETED})' if is_partial else ''}"
