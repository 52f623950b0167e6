"""The gate: ASGI middleware around the whole application that refuses invalid requests before their bodies are read.

It is outside FastAPI's own middleware, so that it also sees the answers to unexpected errors. It checks, in this order:
where a request comes from, its token, its media type and the size of its body. It adds security headers to every
answer, which tell a browser what it may do with the answer.
"""

from __future__ import annotations

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from service.api.access import BINARY, JSON, READS, AccessRules, check_media_type, check_request
from service.api.auth import TokenCheck
from service.api.body_limit import TimedBody, read_body
from service.api.problems import problem_response
from service.domain.errors import DomainError

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "X-Frame-Options": "DENY",
    # Pages set their own policy. Answers with data need no permissions.
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
}


class Gate:
    """Passes a request to the application, or answers it with a problem."""

    def __init__(self, app: ASGIApp, prefix: str, token: str | None, rules: AccessRules) -> None:
        self._app = app
        self._api = f"{prefix}/"
        self._open = f"{prefix}/health"
        self._blobs = f"{prefix}/blobs/"
        self._token = TokenCheck(token) if token is not None else None
        self._rules = rules

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "websocket":  # the service has no websockets
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        secured = _secured(send)
        try:
            receive = await self._admit(scope, receive)
        except DomainError as error:
            await problem_response(error.code, error.detail)(scope, receive, secured)
            return
        await self._app(scope, receive, secured)

    async def _admit(self, scope: Scope, receive: Receive) -> Receive:
        """Check a request and return the `Receive` from which the application reads the body."""
        headers = Headers(scope=scope)
        path: str = scope["path"]
        check_request(scope, headers, self._rules.allowed_hosts, has_token=self._token is not None)
        if self._token is not None and f"{path}/".startswith(self._api) and path != self._open:
            await self._token.check(scope, headers)
        if scope["method"] in READS:
            return receive
        is_blob = path.startswith(self._blobs)
        check_media_type(headers, BINARY if is_blob else JSON)
        body = TimedBody(receive, self._rules.stall_seconds)
        return body.receive if is_blob else await read_body(body, headers, self._rules.body_bytes)


def _secured(send: Send) -> Send:
    """Add the security headers to answers that do not set them."""

    async def secured(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in SECURITY_HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return secured
