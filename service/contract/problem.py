"""Errors on the wire: stable error codes, and the RFC 9457 problem document that carries them."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import BeforeValidator

from service.contract.base import Response


class ErrorCode(StrEnum):
    """Stable error codes. docs/errors.md lists each with its remedy."""

    INVALID_REQUEST = "invalid_request"
    INVALID_SPEC = "invalid_spec"
    INCOMPARABLE_LOSS = "incomparable_loss"
    CONTRARY_DIRECTION = "contrary_direction"
    INVALID_PARAMETERS = "invalid_parameters"
    UNKNOWN_STUDY = "unknown_study"
    UNKNOWN_TRIAL = "unknown_trial"
    UNKNOWN_ATTEMPT = "unknown_attempt"
    UNKNOWN_WORKER = "unknown_worker"
    UNKNOWN_PREDICTIONS = "unknown_predictions"
    STUDY_EXISTS = "study_exists"
    STUDY_STATE = "study_state"
    STUDY_CHANGED = "study_changed"
    ALREADY_TRIED = "already_tried"
    LEASE_SUPERSEDED = "lease_superseded"
    ATTEMPT_ENDED = "attempt_ended"
    REPORT_CONFLICT = "report_conflict"
    REPORT_ORDER = "report_order"
    CLAIM_CONFLICT = "claim_conflict"
    UNKNOWN_BLOB = "unknown_blob"
    BLOB_MISMATCH = "blob_mismatch"
    BLOB_MISSING = "blob_missing"
    STORAGE_FULL = "storage_full"
    DATABASE_FULL = "database_full"
    ENTRY_TAKEN = "entry_taken"
    DATA_DIFFERS = "data_differs"
    PROTOCOL_VERSION = "protocol_version"
    UNAUTHORIZED = "unauthorized"
    TOO_MANY_REQUESTS = "too_many_requests"
    HOST_REFUSED = "host_refused"
    ORIGIN_REFUSED = "origin_refused"
    MEDIA_TYPE = "media_type"
    BODY_TOO_LARGE = "body_too_large"
    BODY_TIMEOUT = "body_timeout"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    BUSY = "busy"
    UNAVAILABLE = "unavailable"
    DAMAGED_DATA = "damaged_data"
    UNSERIALIZABLE = "unserializable"
    INTERNAL = "internal"


MAX_PATH_PART = 80
"""The largest number of characters reported of a key, as a key may be as long as a body."""


def _cut(path: str) -> str:
    parts = path.split(".") if len(path) > MAX_PATH_PART else [path]
    return ".".join(part if len(part) <= MAX_PATH_PART else f"{part[: MAX_PATH_PART - 1]}…" for part in parts)


class FieldError(Response):
    """An error in one field: its dotted path, what is wrong and what to write instead."""

    path: Annotated[str, BeforeValidator(_cut)]
    message: str


class Problem(Response):
    """An RFC 9457 problem document."""

    type: str
    title: str
    status: int
    detail: str
    code: ErrorCode
    errors: list[FieldError] = []
