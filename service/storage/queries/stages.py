"""Stages of a coarse-to-fine study: the boxes that were decided, and the one that waits for a person."""

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
    """All stages that are stored, the first one first."""
    return connection.execute(_OF_STUDY, {"study": study_id}).all()


def decided(connection: sa.Connection, study_id: str, since: int) -> Sequence[sa.Row[Any]]:
    """Stages whose box was decided for good after a revision."""
    return connection.execute(_DECIDED, {"study": study_id, "since": since}).all()


def proposed(connection: sa.Connection, study_id: str) -> sa.Row[Any] | None:
    """The stage whose box waits for a person; no more than one does."""
    return connection.execute(_PROPOSED, {"study": study_id}).one_or_none()
