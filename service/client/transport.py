"""The HTTP connection pool to the service: sends and receives models, and raises this package's exceptions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Self, TypeVar

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from service.client.errors import InvalidToken, ServiceUnreachable, error_of
from service.contract.problem import Problem
from service.contract.token import check_token

DEFAULT_SERVER = "http://127.0.0.1:8420"
PREFIX = "/api/v1"
TIMEOUT = httpx.Timeout(30.0, connect=5.0)
# Connections stay open between two heartbeats, and end before the service closes them (75 s after the last use).
LIMITS = httpx.Limits(max_connections=100, max_keepalive_connections=20, keepalive_expiry=60.0)
# The service sends a comment every 15 s on a stream. Silence for twice as long means that the service is gone.
STREAM_TIMEOUT = httpx.Timeout(30.0, connect=5.0)

_LAST_PORT = 65_535

Answer = TypeVar("Answer")


class Transport:
    """Sends requests to one server. Threads may share it."""

    def __init__(self, server: str | None = None, token: str | None = None) -> None:
        self.server = (server or os.environ.get("ASSAYER_SERVER") or DEFAULT_SERVER).rstrip("/")
        token = token or os.environ.get("ASSAYER_TOKEN")
        if token:
            try:
                check_token(token)
            except ValueError as error:
                raise InvalidToken(str(error)) from None
        try:
            url = httpx.URL(self.server)
            is_address = url.scheme in ("http", "https") and bool(url.host)
            if not is_address or not 1 <= (url.port or 1) <= _LAST_PORT:
                raise httpx.InvalidURL("no host, or no such port")
        except httpx.InvalidURL:
            raise ServiceUnreachable(
                f"{self.server!r} is not a server's address; write one like {DEFAULT_SERVER}"
            ) from None
        self._http = httpx.Client(
            base_url=self.server + PREFIX,
            timeout=TIMEOUT,
            limits=LIMITS,
            headers={"Authorization": f"Bearer {token}"} if token else {},
            # Don't use a proxy, which is set for the internet, between two processes of one machine.
            trust_env=url.host not in ("127.0.0.1", "localhost", "::1"),
        )

    @property
    def closed(self) -> bool:
        """Whether the connections are closed, so that no call can be sent."""
        return self._http.is_closed

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def call(
        self,
        method: str,
        path: str,
        answer: TypeAdapter[Answer],
        body: BaseModel | None = None,
        params: dict[str, Any] | None = None,
    ) -> Answer:
        """Send a request and return the parsed answer.

        Args:
            method: the HTTP method.
            path: path of the endpoint below PREFIX.
            answer: the type of the answer.
            body: the model to send as JSON. None: no body.
            params: the query's parameters.

        Raises:
            ServiceUnreachable: nothing answered in time, or something that is not this service.
            ApiError: the service refused the request.
        """
        if self.closed:
            raise ServiceUnreachable("this client was closed; make a new one")
        content = None if body is None else body.model_dump_json()
        # The service requires this header for every write, even without a body.
        headers = {} if method == "GET" else {"Content-Type": "application/json"}
        with self._errors():
            response = self._http.request(method, path, content=content, params=params, headers=headers)
        self._check(response)
        try:
            return answer.validate_json(response.content)
        except ValidationError:
            raise self._not_assayer(response) from None

    def exists(self, path: str) -> bool:
        """Return whether the resource exists.

        Raises:
            ApiError: the service refused the request, for example for its token.
            ServiceUnreachable: nothing answered in time, or the service failed.
        """
        with self._errors():
            response = self._http.head(path)
        if response.status_code == httpx.codes.NOT_FOUND:
            return False
        if response.is_client_error:
            # An answer to HEAD has no body. The same request by GET is refused with one that says why.
            next(self.download(path), b"")
        if response.is_error:
            raise ServiceUnreachable(f"the service at {self.server} cannot answer now (HTTP {response.status_code})")
        return True

    def upload(self, path: str, answer: TypeAdapter[Answer], content: BinaryIO) -> Answer:
        """Send an open file and return the parsed answer. Raises the exceptions of `call`."""
        with self._errors():
            response = self._http.put(path, content=content, headers={"Content-Type": "application/octet-stream"})
        self._check(response)
        try:
            return answer.validate_json(response.content)
        except ValidationError:
            raise self._not_assayer(response) from None

    def download(self, path: str) -> Iterator[bytes]:
        """Yield the content of a resource in pieces. Raises the exceptions of `call`."""
        with self._errors(), self._http.stream("GET", path) as response:
            if response.is_error:
                response.read()
            self._check(response)
            yield from response.iter_bytes(1 << 20)

    def server_sent_events(self, path: str, params: dict[str, Any]) -> Iterator[str]:
        """Yield the `data` of each server-sent event until the service ends the stream.

        Raises the exceptions of `call`.
        """
        with self._errors(), self._http.stream("GET", path, params=params, timeout=STREAM_TIMEOUT) as response:
            if response.is_error:
                response.read()
            self._check(response)
            for line in response.iter_lines():
                if line.startswith("data:"):
                    yield line.removeprefix("data:").strip()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectError:
            message = f"no service at {self.server}; start one with `assayer serve` or pass --server"
            raise ServiceUnreachable(message) from None
        except httpx.TimeoutException:
            raise ServiceUnreachable(f"the service at {self.server} did not answer in time") from None
        except httpx.TransportError as error:
            raise ServiceUnreachable(f"the connection to {self.server} broke: {error}") from None

    def _check(self, response: httpx.Response) -> None:
        if response.is_success:
            return
        try:
            problem = Problem.model_validate_json(response.content)
        except ValidationError:
            raise self._not_assayer(response) from None
        raise error_of(problem)

    def _not_assayer(self, response: httpx.Response) -> ServiceUnreachable:
        return ServiceUnreachable(
            f"the server at {self.server} is not an Assayer service (HTTP {response.status_code}); check the address"
        )
