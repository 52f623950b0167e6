"""The typed Python client: the wire's models in and out, errors as exceptions; and the `study` command beside it."""

from service.client.client import Client
from service.client.errors import (
    ApiError,
    ClientError,
    Conflict,
    Invalid,
    InvalidStudy,
    InvalidToken,
    LeaseLost,
    NotFound,
    PermanentFailure,
    SearchFailed,
    ServiceFailure,
    ServiceUnreachable,
    Unauthorized,
)
from service.client.trials import OpenTrial

__all__ = [
    "ApiError",
    "Client",
    "ClientError",
    "Conflict",
    "Invalid",
    "InvalidStudy",
    "InvalidToken",
    "LeaseLost",
    "NotFound",
    "OpenTrial",
    "PermanentFailure",
    "SearchFailed",
    "ServiceFailure",
    "ServiceUnreachable",
    "Unauthorized",
]
