"""The answer of the health check on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from service.contract.base import Response


class Health(Response):
    """The service is up and its database answers."""

    status: Literal["ok"]
    version: str
    protocol: int
    database: str
    now: datetime
    """The time of the database's clock. Leases and budgets use this clock only."""
