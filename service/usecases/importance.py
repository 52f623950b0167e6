"""Importance: which parameters of a study mattered, by its history as of now; nothing is changed."""

from __future__ import annotations

import asyncio

from service.contract.importance import Importance
from service.contract.study import StudySpec
from service.domain.history import History
from service.search.importance import importance
from service.storage.queries import studies
from service.storage.tables import Connection
from service.usecases.context import Context
from service.usecases.studies import find


async def study_importance(context: Context, name: str) -> Importance:
    """Which parameters tell the study's best trials from the others.

    Not kept: histories are, by revision, and from one the answer takes a tenth of a second at 10,000 trials.
    """

    def read(connection: Connection) -> tuple[StudySpec, History]:
        study = find(connection, name)
        spec = studies.spec(connection, study.id, study.spec_version)
        return spec, context.histories.latest(connection, study.id, spec.watched.metric)

    spec, history = await context.database.read(read)
    return await asyncio.to_thread(importance, history, spec)
