"""Everything the client raises, on one screen; each error says itself in a sentence.

ClientError
├── InvalidStudy           the study was found wrong before it was sent
├── SearchFailed           a study that is watched or driven has ended or paused without a result
├── InvalidToken           the token cannot be sent in an HTTP header
├── ServiceUnreachable     nobody answers, or not as this service; trying again may help
└── ApiError               the service refused; `.code` says why
    ├── NotFound           no such study, trial, attempt or worker, no predictions kept
    ├── Invalid            the request, spec or parameters are wrong; `.errors` says where
    ├── Unauthorized       the token is missing or wrong, or the service does not answer to this address
    ├── Conflict           what stands in the database forbids it
    │   └── LeaseLost      another attempt has the trial, or this one has ended: drop the trial, go on
    ├── ServiceFailure     the service failed or is busy; trying again may help
    └── PermanentFailure   the service cannot read or write the data of this call; trying again does not help
"""

from __future__ import annotations

from collections.abc import Sequence

from service.contract.problem import ErrorCode, FieldError, Problem


class ClientError(Exception):
    """Base of everything this package raises."""


class InvalidStudy(ClientError):
    """A study file or mapping that cannot be a study: one sentence per mistake."""

    def __init__(self, source: str, errors: Sequence[FieldError]) -> None:
        super().__init__(
            "\n".join(f"{source}: {error.path + ': ' if error.path else ''}{error.message}" for error in errors)
        )
        self.source = source
        self.errors = list(errors)


class SearchFailed(ClientError):
    """A study that is watched or driven by this program has ended or paused without a result; says why."""


class InvalidToken(ClientError):
    """A token that cannot be sent in an HTTP header."""


class ServiceUnreachable(ClientError):
    """No service answers at the address."""


class ApiError(ClientError):
    """The service refused a request, with the problem it named (RFC 9457)."""

    def __init__(self, problem: Problem) -> None:
        super().__init__("\n".join(f"{error.path}: {error.message}" for error in problem.errors) or problem.detail)
        self.problem = problem
        self.code = problem.code
        self.errors = problem.errors


class NotFound(ApiError):
    """There is no such study, trial, attempt, worker or address."""


class Invalid(ApiError):
    """The request itself is wrong; `errors` names the fields."""


class Unauthorized(ApiError):
    """The service did not get the right token, or does not answer to the host that the address names."""


class Conflict(ApiError):
    """The request contradicts what already happened."""


class LeaseLost(Conflict):
    """The attempt no longer has the trial: drop the trial and go on with another."""


class ServiceFailure(ApiError):
    """The service could not answer now, through no fault of the request."""


class PermanentFailure(ApiError):
    """The service fails on this call every time: a stored row is damaged, or the answer cannot be written as JSON."""


_BY_CODE: dict[ErrorCode, type[ApiError]] = {
    ErrorCode.INVALID_REQUEST: Invalid,
    ErrorCode.INVALID_SPEC: Invalid,
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
    """Turn a problem document back into the exception it stands for."""
    return _BY_CODE[problem.code](problem)
