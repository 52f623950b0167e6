"""The one exception of the rules: a stable code, a sentence for people, and what was wrong with which field."""

from __future__ import annotations

from collections.abc import Iterable

from service.contract.problem import ErrorCode, FieldError

_REASON_CHARACTERS = 200


class DomainError(Exception):
    """Something asked for cannot be done; says what and what to do instead, and knows no HTTP."""

    def __init__(self, code: ErrorCode, detail: str, errors: Iterable[FieldError] = ()) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.errors = list(errors)


class UnserializableError(ValueError):
    """What a request would store or answer is no JSON that a client could read; says what, and that nothing was stored.

    It is no DomainError: where a study's strategy made the value, that study is paused.
    """

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(
            f"{what} cannot be written as JSON: {' '.join(reason.split())[:_REASON_CHARACTERS]}; nothing was stored, "
            "and repeating the request does not help: please report it with the service's log"
        )


class DamagedRowError(ValueError):
    """A stored row cannot be read; says which one, why, and what to do.

    It is no DomainError: where a search depends on the row, its study is paused.
    """

    def __init__(self, what: str, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{what} is damaged in the database: {reason}; `service fsck` lists all damage")
