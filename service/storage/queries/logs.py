"""Queries for the output of attempts: chunks of bytes by their offset in a stream."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from service.storage.tables import log_chunk


def end(connection: sa.Connection, trial_id: str, attempt: int, stream: str) -> int:
    """Return the offset after the last stored byte of a stream."""
    after = log_chunk.c.start_offset + sa.func.length(log_chunk.c.content)
    query = _of(sa.select(after), trial_id, attempt, stream).order_by(log_chunk.c.start_offset.desc()).limit(1)
    return connection.execute(query).scalar_one_or_none() or 0


def chunks(
    connection: sa.Connection, trial_id: str, attempt: int, stream: str, after: int
) -> Sequence[sa.Row[Any, Any]]:
    """Return the rows (start_offset, content) that hold bytes from `after` on, in order."""
    query = sa.select(log_chunk.c.start_offset, log_chunk.c.content).order_by(log_chunk.c.start_offset)
    reaching = log_chunk.c.start_offset + sa.func.length(log_chunk.c.content) > after
    return connection.execute(_of(query, trial_id, attempt, stream).where(reaching)).all()


def _of(query: sa.Select[Any], trial_id: str, attempt: int, stream: str) -> sa.Select[Any]:
    return query.where(log_chunk.c.trial_id == trial_id, log_chunk.c.attempt == attempt, log_chunk.c.stream == stream)
