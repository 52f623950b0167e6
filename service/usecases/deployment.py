"""The deployment: a single row that identifies the installation that a database belongs to."""

from __future__ import annotations

from service.storage import tables
from service.storage.queries.leases import deployment
from service.storage.tables import Row
from service.storage.unit_of_work import UnitOfWork


def ensure_deployment(unit_of_work: UnitOfWork) -> Row:
    """Return the deployment's row; the first caller creates it."""
    if (row := deployment(unit_of_work.connection)) is not None:
        return row
    deployment_id, now = unit_of_work.new_id(), unit_of_work.now()
    unit_of_work.insert(tables.deployment, id=1, deployment_id=deployment_id, epoch=1, created_at=now)
    return ensure_deployment(unit_of_work)
