"""Who may speak to the API: everybody on loopback, whoever has the token elsewhere."""

from __future__ import annotations

import hmac
from typing import Annotated

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from service.contract.problem import ErrorCode
from service.domain.errors import DomainError

_bearer = HTTPBearer(auto_error=False, description="The service's ASSAYER_TOKEN; not needed where it has none")


def authorize(request: Request, credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)]) -> None:
    """Let a request pass if the service has no token, or the request carries it.

    Raises:
        DomainError: unauthorized.
    """
    token: str | None = request.app.state.token
    if token is None:
        return
    if credentials is None:
        raise DomainError(
            ErrorCode.UNAUTHORIZED, "this service wants a token; set ASSAYER_TOKEN, sent as Authorization: Bearer TOKEN"
        )
    if not hmac.compare_digest(credentials.credentials.encode(), token.encode()):
        raise DomainError(ErrorCode.UNAUTHORIZED, "the token is not this service's; check ASSAYER_TOKEN on both sides")
