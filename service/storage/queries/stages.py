"""Queries for the stages of a coarse-to-fine study: the decided boxes, and the one that waits for a review."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from service.contract.stage import Review
from service.storage.tables import stage

_OF_STUDY = sa.select(stage).where(stage.c.study_id == sa.bindparam("study")).order_by(stage.c.number)
_PROPOSED = _OF_STUDY.where(stage.c.review == Review.PROPOSED)
_DECIDED = _OF_STUDY.where(
    stage.c.revision > sa.bindparam("since"), sa.func.coalesce(stage.c.review, "") != Review.PROPOSED
)


def of_study(connection: sa.Connection, study_id: str) -> Sequence[sa.Row[Any]]:
    """Return all stored stages, by number."""
    return connection.execute(_OF_STUDY, {"study": study_id}).all()


def decided(connection: sa.Connection, study_id: str, since: int) -> Sequence[sa.Row[Any]]:
    """Return the stages whose box was decided after a revision."""
    return connection.execute(_DECIDED, {"study": study_id, "since": since}).all()


def proposed(connection: sa.Connection, study_id: str) -> sa.Row[Any] | None:
    """Return the stage whose box waits for a review; there is at most one."""
    return connection.execute(_PROPOSED, {"study": study_id}).one_or_none()
