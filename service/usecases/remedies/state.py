"""The state of a study that the actions of its remedies depend on."""

from __future__ import annotations

from dataclasses import dataclass

from service.analysis.remedies.subject import StudyForRemedies
from service.contract.study import StudySpec
from service.domain.budget import BudgetUsage
from service.domain.spec_changes import next_name
from service.storage.queries import budget_usage, checkpoints, studies, trials
from service.storage.tables import Connection, Row
from service.usecases.blobs import is_stored
from service.usecases.catalogue import merged_catalogue
from service.usecases.context import Context


@dataclass(frozen=True)
class RemedyState:
    """One snapshot of a study.

    Attributes:
        study: its row.
        spec: its present spec.
        facts: what the proposals of actions depend on.
        used: how much of its budgets is used.
        stages_made: each coarse-to-fine stage that has trials, with the spec by which they were made.
    """

    study: Row
    spec: StudySpec
    facts: StudyForRemedies
    used: BudgetUsage
    stages_made: list[tuple[int, StudySpec]]


def read_state(connection: Connection, context: Context, study: Row) -> RemedyState:
    """Read the state of a study on one snapshot."""
    spec = studies.spec(connection, study.id, study.spec_version)

    def has_checkpoint(number: int) -> bool:
        row = trials.by_number(connection, study.id, number)
        saved = [] if row is None else checkpoints.whole(checkpoints.canonical(connection, row.id))
        return any(is_stored(context, each) for each in saved)

    return RemedyState(
        study=study,
        spec=spec,
        facts=StudyForRemedies(
            spec=spec,
            catalogue=merged_catalogue(connection, context),
            history=context.histories.latest(connection, study.id, spec.primary_objective.metric),
            enqueued=studies.enqueued(connection, study.id),
            follow_up_name=next_name(spec.name, studies.names_in(connection, study.project)),
            has_checkpoint=has_checkpoint,
        ),
        used=budget_usage.budget_usage(connection, study, spec, context.database.dialect.now(connection)),
        stages_made=[
            (stage, studies.spec(connection, study.id, version))
            for stage, version in trials.stages_made(connection, study.id)
        ],
    )
