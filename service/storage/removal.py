"""Removal of a deleted study's rows in batches, so that other writers do not wait long."""

from __future__ import annotations

import sqlalchemy as sa

from service.storage import tables

_NUM_TRIALS = 100
"""Number of trials whose rows are removed together."""

OF_TRIALS = (
    tables.trial_diagnosis,
    tables.verdict,
    tables.report,
    tables.log_chunk,
    tables.checkpoint,
    tables.artifact,
    tables.claim,
    tables.lease,
    tables.attempt,
)
"""Tables with rows of a trial, each before the tables that it refers to."""

OF_STUDIES = (
    tables.study_diagnosis,
    tables.enqueued_trial,
    tables.journal,
    tables.stage,
    tables.prior_trial,
    tables.study_host_exclusion,
    tables.study_spec,
)
"""Tables with rows of a study that belong to none of its trials."""

_WEIGHTS = {tables.log_chunk: 50}
"""How many rows of another table one row counts for: a log chunk is up to 64 KiB."""


def remove_rows(connection: sa.Connection, study_id: str, num_rows: int) -> bool:
    """Remove about `num_rows` rows of a study, the study's own row last; return whether rows may be left."""
    left = num_rows
    while left > 0:
        of_study = sa.select(tables.trial.c.id).where(tables.trial.c.study_id == study_id)
        trial_ids = connection.execute(of_study.order_by(tables.trial.c.id).limit(_NUM_TRIALS)).scalars().all()
        if not trial_ids:
            break
        for table in OF_TRIALS:
            left = _remove(connection, table, table.c.trial_id.in_(trial_ids), left)
        left = _remove(connection, tables.trial, tables.trial.c.id.in_(trial_ids), left)
    for table in OF_STUDIES:
        left = _remove(connection, table, table.c.study_id == study_id, left)
    if left > 0:
        connection.execute(tables.study.delete().where(tables.study.c.id == study_id))
    return left <= 0


def _remove(connection: sa.Connection, table: sa.Table, own: sa.ColumnElement[bool], left: int) -> int:
    """Remove up to `left` rows; return how many more may be removed in this transaction."""
    if left <= 0:
        return left
    weight = _WEIGHTS.get(table, 1)
    # The next transaction removes the rest: a result of 0 means that there may be more rows.
    most = max(1, left // weight)
    keys = list(table.primary_key)
    some = sa.select(*keys).where(own).limit(most)
    num_removed = connection.execute(table.delete().where(sa.tuple_(*keys).in_(some))).rowcount
    return 0 if num_removed >= most else left - num_removed * weight
