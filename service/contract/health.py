"""The service's sign of life on the wire."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from service.contract.base import Response


class Health(Response):
    """The service answers, and so does its database."""

    status: Literal["ok"]
    version: str
    protocol: int
    database: str
    now: datetime
    """By the database's clock, the only one that leases and budgets know."""
