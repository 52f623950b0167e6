"""Exceptions of the domain: refused requests, values that JSON cannot hold, and damaged database rows."""

from __future__ import annotations

from collections.abc import Iterable

from service.contract.problem import ErrorCode, FieldError

_REASON_CHARACTERS = 200


class DomainError(Exception):
    """A request that the domain rules refuse, with the reason and the remedy.

    It names no HTTP status; the API maps the code to one.

    Args:
        code: stable error code.
        detail: one sentence for people.
        errors: which fields are wrong, and how.
    """

    def __init__(self, code: ErrorCode, detail: str, errors: Iterable[FieldError] = ()) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.errors = list(errors)


class UnserializableError(ValueError):
    """A value that a request would store or return cannot be written as JSON that clients can read.

    The message names the value and says that nothing was stored. This is not a `DomainError`, because the service
    pauses a study whose sampler, pruner or scheduler produced the value.
    """

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(
            f"{what} cannot be written as JSON: {' '.join(reason.split())[:_REASON_CHARACTERS]}; nothing was stored, "
            "and repeating the request does not help: please report it with the service's log"
        )


class DamagedRowError(ValueError):
    """A stored row that cannot be read; the message names the row, the reason and the remedy.

    This is not a `DomainError`, because the service pauses a study whose search depends on the row.
    """

    def __init__(self, what: str, reason: str) -> None:
        self.reason = reason
        super().__init__(f"{what} is damaged in the database: {reason}; `assayer fsck` lists all damage")
