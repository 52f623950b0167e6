"""Claim, heartbeat, checkpoint and finish on the wire: how a worker obtains a trial, renews its lease and ends it."""

from __future__ import annotations

from typing import Literal

FaultScope = Literal["host", "study"]
"""Whose trials a host fault concerns: all on the host (a driver, a full disk), or one study's (a missing file)."""
