"""The service's settings, read once from environment variables and passed on as values."""

from __future__ import annotations

import ipaddress
import math
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from service.contract.token import check_token

DEFAULT_DATABASE = "assayer.db"
DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8420
MAX_SUGGEST_SECONDS = 25


class SettingsError(Exception):
    """A setting that cannot be used. The message names it and says what to write."""


class InvalidSetting(SettingsError):
    """A value that no service could use, such as port 99999."""


@dataclass(frozen=True)
class Settings:
    """All settings of the service. docs/settings.md describes each with its default."""

    database: str = field(default=DEFAULT_DATABASE, repr=False)
    """ASSAYER_DATABASE: a path (SQLite) or a Postgres URL."""
    blobs: str | None = None
    """ASSAYER_BLOBS: folder of uploaded checkpoints.

    None: beside the SQLite file, or in the working directory for Postgres.
    """
    blobs_gib: float | None = None
    """ASSAYER_BLOBS_GIB: the largest total size of all uploaded checkpoints. None: as much as the disk holds."""
    token: str | None = field(default=None, repr=False)
    """ASSAYER_TOKEN: the token that clients and workers must send. Required unless the host is loopback."""
    host: str = DEFAULT_HOST
    """ASSAYER_HOST: the address to bind."""
    port: int = DEFAULT_PORT
    """ASSAYER_PORT: the port to bind. 0 chooses a free one."""
    allowed_hosts: str | None = None
    """ASSAYER_ALLOWED_HOSTS: host names, separated by commas, that requests may name besides loopback's.

    None: loopback only, or any host if there is a token.
    """
    body_kib: float = 1024.0
    """ASSAYER_BODY_KIB: the largest body of a request. ASSAYER_BLOBS_GIB limits blobs instead."""
    connections_per_client: float = 512.0
    """ASSAYER_CONNECTIONS_PER_CLIENT: the largest number of open connections of one client address."""
    keep_alive_seconds: float = 75.0
    """ASSAYER_KEEP_ALIVE_SECONDS: how long an idle connection stays open.

    Raised to twice the heartbeat if it is less.
    """
    stall_seconds: float = 10.0
    """ASSAYER_STALL_SECONDS: the longest pause in a request.

    A client may pause three times as long in reading its answer.
    """
    lease_seconds: float = 60.0
    """ASSAYER_LEASE_SECONDS: how long a worker without heartbeats keeps its trial."""
    heartbeat_seconds: float = 10.0
    """ASSAYER_HEARTBEAT_SECONDS: the interval of workers' heartbeats."""
    reaper_seconds: float = 5.0
    """ASSAYER_REAPER_SECONDS: the interval at which the service looks for expired leases."""
    suggest_seconds: float = 20.0
    """ASSAYER_SUGGEST_SECONDS: how long a sampler may compute one suggestion, and a pruner one verdict."""
    log_level: str = "info"
    """ASSAYER_LOG_LEVEL: debug, info, warning or error."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """Read the ASSAYER_* variables.

        Raises:
            SettingsError: a value is not a number, the times contradict each other, or a header cannot carry the token.
        """
        token = environment.get("ASSAYER_TOKEN") or None
        if token is not None:
            try:
                check_token(token)
            except ValueError as error:
                raise SettingsError(str(error)) from None
        heartbeat = _number(environment, "ASSAYER_HEARTBEAT_SECONDS", cls.heartbeat_seconds)
        lease = _number(environment, "ASSAYER_LEASE_SECONDS", cls.lease_seconds)
        if lease < 2 * heartbeat:
            raise InvalidSetting(
                f"ASSAYER_LEASE_SECONDS ({lease:g}) must be at least twice ASSAYER_HEARTBEAT_SECONDS ({heartbeat:g}), "
                "or one lost heartbeat loses a trial"
            )
        suggest = _number(environment, "ASSAYER_SUGGEST_SECONDS", cls.suggest_seconds)
        if not 0 < suggest <= MAX_SUGGEST_SECONDS:
            raise InvalidSetting(
                f"ASSAYER_SUGGEST_SECONDS ({suggest:g}) must be above 0 and at most {MAX_SUGGEST_SECONDS}, as clients "
                "wait 30 s for the answer to a claim"
            )
        stall = _number(environment, "ASSAYER_STALL_SECONDS", cls.stall_seconds)
        if stall <= 0:
            raise InvalidSetting("ASSAYER_STALL_SECONDS must be above 0, or every request would time out")
        settings = cls(
            database=environment.get("ASSAYER_DATABASE") or cls.database,
            blobs=environment.get("ASSAYER_BLOBS") or None,
            blobs_gib=_number(environment, "ASSAYER_BLOBS_GIB", 0.0) or None,
            token=token,
            host=environment.get("ASSAYER_HOST") or cls.host,
            port=check_port(environment.get("ASSAYER_PORT") or cls.port, "ASSAYER_PORT"),
            allowed_hosts=environment.get("ASSAYER_ALLOWED_HOSTS") or None,
            body_kib=_number(environment, "ASSAYER_BODY_KIB", cls.body_kib),
            connections_per_client=_number(environment, "ASSAYER_CONNECTIONS_PER_CLIENT", cls.connections_per_client),
            keep_alive_seconds=max(
                2 * heartbeat, _number(environment, "ASSAYER_KEEP_ALIVE_SECONDS", cls.keep_alive_seconds)
            ),
            stall_seconds=stall,
            lease_seconds=lease,
            heartbeat_seconds=heartbeat,
            reaper_seconds=_number(environment, "ASSAYER_REAPER_SECONDS", cls.reaper_seconds),
            suggest_seconds=suggest,
            log_level=environment.get("ASSAYER_LOG_LEVEL") or cls.log_level,
        )
        settings.host_names()
        return settings

    def host_names(self) -> frozenset[str]:
        """Return the names in `allowed_hosts`.

        Raises:
            InvalidSetting: a name is a URL or has a port.
        """
        names = [name.strip().lower() for name in (self.allowed_hosts or "").split(",") if name.strip()]
        for name in names:
            if not re.fullmatch(r"[a-z0-9_.-]+", name) and not _is_ipv6(name):
                raise InvalidSetting(
                    f"ASSAYER_ALLOWED_HOSTS: {name!r} is not a host's name; write names without scheme and port, "
                    "separated by commas, such as assayer.example.org"
                )
        return frozenset(name.strip("[]") for name in names)


def _is_ipv6(name: str) -> bool:
    try:
        return ipaddress.ip_address(name.strip("[]")).version == 6
    except ValueError:
        return False


def check_port(given: int | str, name: str) -> int:
    """Return a port as a number.

    Args:
        given: the port to check.
        name: the setting or flag that gave it, for the error message.

    Raises:
        InvalidSetting: it is not a port.
    """
    try:
        port = int(given)
    except ValueError:
        port = -1
    if not 0 <= port <= 65_535:
        raise InvalidSetting(f"{name} must be a whole number from 0 to 65535, got {str(given)[:100]!r}")
    return port


def _number(environment: Mapping[str, str], name: str, default: float) -> float:
    given = environment.get(name)
    if not given:
        return default
    try:
        number = float(given)
    except ValueError:
        raise InvalidSetting(f"{name} must be a number, got {given!r}") from None
    if not 0 <= number < math.inf:
        raise InvalidSetting(f"{name} must not be negative, and must be finite, got {given}")
    return number
