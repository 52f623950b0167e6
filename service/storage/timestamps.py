"""Timestamps: converts between integer UTC microseconds in the database and aware datetimes in the API."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import overload

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

MICROSECONDS = 1_000_000


@overload
def to_datetime(instant: int) -> datetime: ...
@overload
def to_datetime(instant: int | None) -> datetime | None: ...
def to_datetime(instant: int | None) -> datetime | None:
    """Convert UTC microseconds to an aware datetime, exact to the microsecond."""
    return None if instant is None else _EPOCH + timedelta(microseconds=instant)
