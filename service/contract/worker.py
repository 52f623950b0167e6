"""A worker on the wire."""

from __future__ import annotations

from datetime import datetime

from pydantic import Field

from service.contract.base import DamagedRow, Response
from service.contract.capabilities import Capabilities


class HostExclusion(Response):
    """A host that gets no trials of one study until `study readmit HOST`; it goes on with other studies."""

    study: str
    host: str = Field(description="host name that its workers send, or the worker's name if they send none")
    reason: str
    excluded_at: datetime


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
    exclusions: list[HostExclusion] = Field(default=[], description="the studies whose trials its host does not get")


class WorkerList(Response):
    """Workers, most recently seen first."""

    workers: list[WorkerView]
    damaged: list[DamagedRow] = Field(default=[], description="workers that cannot be read from the database")
