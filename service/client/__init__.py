"""The typed Python client of the service, and the `study` command.

The client sends and returns the models of `service.contract`, and raises errors as exceptions.
"""

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
from service.client.open_trial import OpenTrial

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
