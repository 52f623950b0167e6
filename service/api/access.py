"""Access rules: which hosts, origins and media types a request may name, so that no foreign web page gets in.

A service without a token trusts everybody who reaches its port. A web page that the user happens to have open reaches
it too: by sending forms and text across sites, and by DNS rebinding, where the page's own name suddenly leads to
127.0.0.1. The browser says in headers where such a request comes from, and these rules read them.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from starlette.datastructures import Headers
from starlette.types import Scope

from service.contract.problem import ErrorCode
from service.domain.errors import DomainError

READS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""

JSON = "application/json"
BINARY = "application/octet-stream"

_HOST = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[^\[\]:@/,\s]+))(?::\d{1,5})?")


@dataclass(frozen=True)
class AccessRules:
    """What a request must name and may weigh; the defaults are those of `service serve`."""

    allowed_hosts: frozenset[str] = frozenset()
    """Names beside loopback's that may stand in `Host`, in lower case and without a port."""
    body_bytes: int = 1024 * 1024
    """The largest body of a request; a blob's is bounded by the blob store instead."""
    stall_seconds: float = 10.0
    """The longest pause in a body."""


def check_request(scope: Scope, headers: Headers, allowed_hosts: frozenset[str], *, has_token: bool) -> None:
    """Check where a request comes from.

    `Host` is checked where there is no token: a rebound name makes a foreign page the same origin as the service, but
    the page has no token to send. With a token `Host` is checked if the operator names hosts.

    Raises:
        DomainError: host_refused, origin_refused.
    """
    host = headers.get("host", "")
    name = _host_name(host)
    if (not has_token or allowed_hosts) and not (name and (is_loopback(name) or name in allowed_hosts)):
        raise DomainError(
            ErrorCode.HOST_REFUSED,
            f"this service does not answer to the host {host[:100]!r}; ask it at 127.0.0.1 or localhost, "
            "or name the host in ASSAYER_ALLOWED_HOSTS",
        )
    is_read = scope["method"] in READS
    origin = headers.get("origin")
    if origin is not None and not (is_read and has_token) and not _is_own(origin, host, scope["scheme"]):
        raise DomainError(
            ErrorCode.ORIGIN_REFUSED,
            f"a page of {origin[:100]!r} may not call the service at {host!r}; only the service's own pages may",
        )
    is_navigation = is_read and headers.get("sec-fetch-mode") == "navigate"
    if headers.get("sec-fetch-site", "none") not in {"none", "same-origin"} and not is_navigation:
        raise DomainError(ErrorCode.ORIGIN_REFUSED, "a page of another site may not call this service")


def check_media_type(headers: Headers, wanted: str) -> None:
    """Check the media type of a write, with a body or without: a foreign page cannot send these without being asked.

    Raises:
        DomainError: media_type.
    """
    given = headers.get("content-type", "")
    if given.partition(";")[0].strip().lower() != wanted:
        told = f"this request has {given[:100]!r}" if given else "this request has none"
        raise DomainError(
            ErrorCode.MEDIA_TYPE, f"{told} as its Content-Type; send Content-Type: {wanted}, also without a body"
        )


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine's loopback."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _host_name(host: str) -> str:
    """The name in a `Host` header, in lower case and without its port; empty if it has none."""
    match = _HOST.fullmatch(host)
    return (match["ipv6"] or match["name"]).lower() if match else ""


def _is_own(origin: str, host: str, scheme: str) -> bool:
    """Whether an origin is the service's own; a browser leaves the scheme's own port out of both."""
    own = {f"{scheme}://{host}".lower()}
    if not is_loopback(_host_name(host)):  # a proxy in front may end TLS, and need not say so
        own.add(f"https://{host}".lower())
    return origin.lower() in own
