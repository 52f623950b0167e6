"""The one exception of the rules: a stable code, a sentence for people, and what was wrong with which field."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from service.contract.problem import ErrorCode, FieldError


class DomainError(Exception):
    """Something asked for cannot be done; says what and what to do instead, and knows no HTTP."""

    def __init__(self, code: ErrorCode, detail: str, errors: Iterable[FieldError] = ()) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.errors = list(errors)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Complete an error about an unknown word: the nearest known one, or all when none is near."""
    names = sorted(known)
    near = difflib.get_close_matches(word, names, n=1, cutoff=0.6)
    if near:
        return f"did you mean {near[0]!r}?"
    return f"known: {', '.join(names)}" if names else "none is known"
