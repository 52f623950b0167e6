"""Access rules that keep foreign web pages out: the hosts, origins and media types that a request may name.

A service without a token trusts everybody who reaches its port. A web page that the user has open can reach it too: by
cross-site forms and text, or by DNS rebinding, where the page's own name suddenly resolves to 127.0.0.1. The browser
sends headers that say where such a request comes from, and these rules check them.
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
    """Limits on the headers and bodies of requests. The defaults are those of `assayer serve`."""

    allowed_hosts: frozenset[str] = frozenset()
    """Names allowed in `Host` besides those of loopback, in lower case and without a port."""
    body_bytes: int = 1024 * 1024
    """The largest body of a request, in bytes. The blob store limits the size of a blob instead."""
    stall_seconds: float = 10.0
    """The longest pause while a body arrives, in seconds."""


def check_request(scope: Scope, headers: Headers, allowed_hosts: frozenset[str], *, has_token: bool) -> None:
    """Check the host and origin of a request.

    `Host` is always checked if the service has no token: DNS rebinding makes a foreign page the same origin as the
    service, but the page has no token to send. With a token, `Host` is checked only if the operator lists hosts.

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
    """Check the media type of a write, even if it has no body.

    A browser asks the service for permission (CORS preflight) before a foreign page may send these media types.

    Raises:
        DomainError: media_type.
    """
    given = headers.get("content-type", "")
    if given.partition(";")[0].strip().lower() != wanted:
        received = f"this request has {given[:100]!r}" if given else "this request has none"
        raise DomainError(
            ErrorCode.MEDIA_TYPE, f"{received} as its Content-Type; send Content-Type: {wanted}, also without a body"
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
    """Return the name in a `Host` header, in lower case and without its port. Empty if the header is invalid."""
    match = _HOST.fullmatch(host)
    return (match["ipv6"] or match["name"]).lower() if match else ""


def _is_own(origin: str, host: str, scheme: str) -> bool:
    """Return whether an origin is the service's own. A browser omits the scheme's default port from both headers."""
    own = {f"{scheme}://{host}".lower()}
    if not is_loopback(_host_name(host)):  # a proxy may terminate TLS without saying so in a header
        own.add(f"https://{host}".lower())
    return origin.lower() in own
