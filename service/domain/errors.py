"""The one exception of the rules: a stable code, a sentence for people, and what was wrong with which field."""

from __future__ import annotations

from collections.abc import Iterable

from service.contract.problem import ErrorCode, FieldError


class DomainError(Exception):
    """Something asked for cannot be done; says what and what to do instead, and knows no HTTP."""

    def __init__(self, code: ErrorCode, detail: str, errors: Iterable[FieldError] = ()) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.errors = list(errors)
