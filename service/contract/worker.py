"""A worker on the wire."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from service.contract.base import DamagedRow, Response
from service.contract.lease import Capabilities


class WorkerView(Response):
    """A worker: its host, capabilities, leases and quarantine."""

    name: str
    host: str
    capabilities: Capabilities
    alive: bool
    num_leases: int
    last_seen_at: datetime
    quarantined_at: datetime | None = None
    quarantine_reason: str | None = None


class WorkerList(Response):
    """Workers, most recently seen first."""

    workers: list[WorkerView]
    damaged: list[DamagedRow] = Field(default=[], description="workers that cannot be read from the database")
