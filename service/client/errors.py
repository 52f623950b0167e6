"""All exceptions of the client. Each message is a complete sentence.

ClientError
├── InvalidStudy           the study was found invalid before it was sent
├── SearchFailed           a watched or driven study ended or paused without a result
├── InvalidToken           the token cannot be sent in an HTTP header
├── ServiceUnreachable     nothing answers, or something that is not this service; a retry may help
└── ApiError               the service refused the request; `.code` says why
    ├── NotFound           no such study, trial, attempt or worker, or its predictions are not kept
    ├── Invalid            the request, spec or parameters are invalid; `.errors` says where
    ├── Unauthorized       the token is missing or wrong, or the service does not answer to this address
    ├── Conflict           the request contradicts the present state
    │   └── LeaseLost      another attempt has the trial, or this one has ended: drop the trial and continue
    ├── ServiceFailure     the service failed or is busy; a retry may help
    └── PermanentFailure   the service cannot read or write the data of this call; a retry does not help
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from service.contract.problem import ErrorCode, FieldError, Problem


class ClientError(Exception):
    """Base class of all exceptions of this package."""


class InvalidStudy(ClientError):
    """A study file or mapping that is not a valid study. The message has one sentence per mistake."""

    def __init__(self, source: str, errors: Sequence[FieldError]) -> None:
        super().__init__(
            "\n".join(f"{source}: {error.path + ': ' if error.path else ''}{error.message}" for error in errors)
        )
        self.source = source
        self.errors = list(errors)


def invalid_study(source: str | Path, message: str) -> InvalidStudy:
    """Build the error of one mistake in a study, a file or an argument that `source` names."""
    return InvalidStudy(str(source), [FieldError(path="", message=message)])


class SearchFailed(ClientError):
    """A study that this program watches or drives ended or paused without a result. The message says why."""


class InvalidToken(ClientError):
    """A token that cannot be sent in an HTTP header."""


class ServiceUnreachable(ClientError):
    """No service answers at the address."""


class ApiError(ClientError):
    """The service refused a request. `problem` is its RFC 9457 problem document."""

    def __init__(self, problem: Problem) -> None:
        super().__init__("\n".join(f"{error.path}: {error.message}" for error in problem.errors) or problem.detail)
        self.problem = problem
        self.code = problem.code
        self.errors = problem.errors


class NotFound(ApiError):
    """There is no such study, trial, attempt, worker or address."""


class Invalid(ApiError):
    """The request itself is invalid. `errors` names the fields."""


class Unauthorized(ApiError):
    """The token is missing or wrong, or the service does not answer to the host in the address."""


class Conflict(ApiError):
    """The request contradicts the present state, for example a study of that name exists."""


class LeaseLost(Conflict):
    """The attempt no longer has the trial. Drop the trial and continue with another."""


class ServiceFailure(ApiError):
    """The service could not answer now. The request did not cause this."""


class PermanentFailure(ApiError):
    """The service fails on this call every time: a stored row is damaged, or the answer cannot be written as JSON."""


_BY_CODE: dict[ErrorCode, type[ApiError]] = {
    ErrorCode.INVALID_REQUEST: Invalid,
    ErrorCode.INVALID_SPEC: Invalid,
    ErrorCode.INCOMPARABLE_LOSS: Invalid,
    ErrorCode.CONTRARY_DIRECTION: Invalid,
    ErrorCode.INVALID_PARAMETERS: Invalid,
    ErrorCode.PROTOCOL_VERSION: Invalid,
    ErrorCode.UNKNOWN_STUDY: NotFound,
    ErrorCode.UNKNOWN_TRIAL: NotFound,
    ErrorCode.UNKNOWN_ATTEMPT: NotFound,
    ErrorCode.UNKNOWN_WORKER: NotFound,
    ErrorCode.UNKNOWN_PREDICTIONS: NotFound,
    ErrorCode.NOT_FOUND: NotFound,
    ErrorCode.METHOD_NOT_ALLOWED: Invalid,
    ErrorCode.STUDY_EXISTS: Conflict,
    ErrorCode.STUDY_STATE: Conflict,
    ErrorCode.STUDY_CHANGED: Conflict,
    ErrorCode.ALREADY_TRIED: Conflict,
    ErrorCode.REPORT_CONFLICT: Conflict,
    ErrorCode.REPORT_ORDER: Conflict,
    ErrorCode.CLAIM_CONFLICT: Conflict,
    ErrorCode.ENTRY_TAKEN: Conflict,
    ErrorCode.UNKNOWN_BLOB: NotFound,
    ErrorCode.BLOB_MISMATCH: Invalid,
    ErrorCode.BLOB_MISSING: Conflict,
    ErrorCode.STORAGE_FULL: ServiceFailure,
    ErrorCode.DATABASE_FULL: ServiceFailure,
    ErrorCode.DATA_DIFFERS: Conflict,
    ErrorCode.LEASE_SUPERSEDED: LeaseLost,
    ErrorCode.ATTEMPT_ENDED: LeaseLost,
    ErrorCode.UNAUTHORIZED: Unauthorized,
    ErrorCode.TOO_MANY_REQUESTS: Unauthorized,
    ErrorCode.HOST_REFUSED: Unauthorized,
    ErrorCode.ORIGIN_REFUSED: Unauthorized,
    ErrorCode.MEDIA_TYPE: Invalid,
    ErrorCode.BODY_TOO_LARGE: Invalid,
    ErrorCode.BODY_TIMEOUT: ServiceFailure,
    ErrorCode.BUSY: ServiceFailure,
    ErrorCode.UNAVAILABLE: ServiceFailure,
    ErrorCode.DAMAGED_DATA: PermanentFailure,
    ErrorCode.UNSERIALIZABLE: PermanentFailure,
    ErrorCode.INTERNAL: ServiceFailure,
}


def error_of(problem: Problem) -> ApiError:
    """Convert a problem document to its exception."""
    return _BY_CODE[problem.code](problem)
