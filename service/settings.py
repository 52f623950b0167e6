"""What the service can be told by its environment, read once and passed down as values."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

DEFAULT_DATABASE = "assayer.db"
DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8420
MAX_SUGGEST_SECONDS = 25


class SettingsError(Exception):
    """A setting that cannot be used; names it and says what to write."""


@dataclass(frozen=True)
class Settings:
    """Everything that is configured; docs/settings.md says each with its default."""

    database: str = DEFAULT_DATABASE
    """ASSAYER_DATABASE: a path (SQLite) or a URL of Postgres."""
    blobs: str | None = None
    """ASSAYER_BLOBS: the folder for uploaded checkpoints; none: beside the SQLite file, here for Postgres."""
    blobs_gib: float | None = None
    """ASSAYER_BLOBS_GIB: how much all uploaded checkpoints together may take; none: as much as the disk holds."""
    token: str | None = None
    """ASSAYER_TOKEN: what clients and workers must send; required unless only loopback is bound."""
    host: str = DEFAULT_HOST
    """ASSAYER_HOST: the address to bind."""
    port: int = DEFAULT_PORT
    """ASSAYER_PORT: the port to bind; 0 takes a free one."""
    lease_seconds: float = 60.0
    """ASSAYER_LEASE_SECONDS: how long a silent worker keeps its trial."""
    heartbeat_seconds: float = 10.0
    """ASSAYER_HEARTBEAT_SECONDS: how often workers give a sign of life."""
    reaper_seconds: float = 5.0
    """ASSAYER_REAPER_SECONDS: how often expired leases are looked for."""
    suggest_seconds: float = 20.0
    """ASSAYER_SUGGEST_SECONDS: how long a sampler may compute one suggestion before claims go on to the next study."""
    log_level: str = "info"
    """ASSAYER_LOG_LEVEL: debug, info, warning or error."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read ASSAYER_* variables.

        Raises:
            SettingsError: a number is none, or the times do not fit together.
        """
        heartbeat = _number(environment, "ASSAYER_HEARTBEAT_SECONDS", cls.heartbeat_seconds)
        lease = _number(environment, "ASSAYER_LEASE_SECONDS", cls.lease_seconds)
        if lease < 2 * heartbeat:
            raise SettingsError(
                f"ASSAYER_LEASE_SECONDS ({lease:g}) must be at least twice ASSAYER_HEARTBEAT_SECONDS ({heartbeat:g}), "
                "or one lost heartbeat loses a trial"
            )
        suggest = _number(environment, "ASSAYER_SUGGEST_SECONDS", cls.suggest_seconds)
        if not 0 < suggest <= MAX_SUGGEST_SECONDS:
            raise SettingsError(
                f"ASSAYER_SUGGEST_SECONDS ({suggest:g}) must be above 0 and at most {MAX_SUGGEST_SECONDS}, as clients "
                "wait 30 s for the answer to a claim"
            )
        return cls(
            database=environment.get("ASSAYER_DATABASE") or cls.database,
            blobs=environment.get("ASSAYER_BLOBS") or None,
            blobs_gib=_number(environment, "ASSAYER_BLOBS_GIB", 0.0) or None,
            token=environment.get("ASSAYER_TOKEN") or None,
            host=environment.get("ASSAYER_HOST") or cls.host,
            port=int(_number(environment, "ASSAYER_PORT", cls.port)),
            lease_seconds=lease,
            heartbeat_seconds=heartbeat,
            reaper_seconds=_number(environment, "ASSAYER_REAPER_SECONDS", cls.reaper_seconds),
            suggest_seconds=suggest,
            log_level=environment.get("ASSAYER_LOG_LEVEL") or cls.log_level,
        )


def _number(environment: Mapping[str, str], name: str, default: float) -> float:
    given = environment.get(name)
    if not given:
        return default
    try:
        number = float(given)
    except ValueError:
        raise SettingsError(f"{name} must be a number, got {given!r}") from None
    if number < 0:
        raise SettingsError(f"{name} must not be negative, got {given}")
    return number
