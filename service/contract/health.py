"""The service's sign of life on the wire."""

from __future__ import annotations

from typing import Literal

from service.contract.base import Response


class Health(Response):
    """The service answers, and so does its database."""

    status: Literal["ok"]
    version: str
    protocol: int
    database: str
