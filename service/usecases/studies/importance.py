"""Parameter importance from a study's history, computed at most once every few seconds per study."""

from __future__ import annotations

from dataclasses import dataclass

from service.clock import monotonic
from service.contract.importance import Importance
from service.contract.study import StudySpec
from service.domain.history import History
from service.search.importance import importance
from service.storage.queries import studies, tallies
from service.storage.tables import Connection
from service.usecases.context import Context
from service.usecases.importance_cache import Computed
from service.usecases.studies.study_lookup import find_study


@dataclass(frozen=True)
class _Question:
    """Input of a new importance computation."""

    study_id: str
    epoch: int
    spec_version: int
    spec: StudySpec
    history: History


async def study_importance(context: Context, name: str) -> Importance:
    """Return which parameters separate the study's best trials from the others.

    The result names its revision. For an active study it may be some seconds old (FRESH_SECONDS), because it takes a
    tenth of a second to compute at 10,000 trials. For any other study it is of the current revision.
    """

    def read(connection: Connection) -> Importance | _Question:
        study, epoch = find_study(connection, name), tallies.epoch(connection)
        known = context.importances.find(epoch, study, monotonic())
        if known is not None:
            return known
        spec = studies.spec(connection, study.id, study.spec_version)
        history = context.histories.latest(connection, study.id, spec.primary_objective.metric)
        return _Question(study.id, epoch, study.spec_version, spec, history)

    found = await context.database.read_for_viewer(read)
    if isinstance(found, Importance):
        return found
    answer = await context.database.run_for_viewer(lambda: importance(found.history, found.spec))
    context.importances.keep(found.study_id, Computed(found.epoch, found.spec_version, answer, monotonic()))
    return answer
