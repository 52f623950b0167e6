"""Parses request bodies as strict JSON, and large ones in a thread so that they do not block the event loop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from service.contract.validation_errors import quote

LARGE_BYTES = 64 * 1024
"""Bodies of more bytes are parsed and validated in a thread. 64 KiB take about a millisecond."""

INVALID_JSON = "json_invalid"
"""The error type of a body that is not JSON."""


class JsonRoute(APIRoute):
    """A route that parses JSON itself before FastAPI does. It also validates large bodies, in a thread."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap FastAPI's handler."""
        handle = super().get_route_handler()
        if self.body_field is None:
            return handle
        check = self.body_field.validate

        def parse(body: bytes) -> Any:
            data = parse_json(body)
            value, errors = check(data, {}, loc=("body",))
            if errors:
                raise RequestValidationError(errors, body=data)
            return value

        async def parse_and_handle(request: Request) -> Response:
            body = await request.body()
            if not body or not _is_json(request):
                return await handle(request)
            # FastAPI accepts an instance of the body's model without validating it again.
            parsed = await asyncio.to_thread(parse, body) if len(body) > LARGE_BYTES else parse_json(body)
            return await handle(_Parsed(request, body, parsed))

        return parse_and_handle


class _Parsed(Request):
    """A request whose body is already read and parsed."""

    def __init__(self, request: Request, body: bytes, parsed: Any) -> None:
        super().__init__(request.scope)
        self._read, self._parsed = body, parsed

    async def body(self) -> bytes:
        return self._read

    async def json(self) -> Any:
        return self._parsed


def _is_json(request: Request) -> bool:
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return media_type == "application/json" or (media_type.startswith("application/") and media_type.endswith("+json"))


def parse_json(body: bytes) -> Any:
    """Parse JSON as RFC 8259 and I-JSON (RFC 7493) define it: UTF-8, unique keys, no NaN.

    Raises:
        RequestValidationError: the body is anything else. The message says what is wrong.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _invalid(f"is not UTF-8: byte {error.start} cannot be read; encode it in UTF-8") from None
    try:
        return json.loads(text, object_pairs_hook=_mapping, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        raise _invalid(f"is not JSON: {error.msg} at line {error.lineno}, column {error.colno}") from None
    except RecursionError:
        raise _invalid("is nested too deeply; flatten it") from None
    except ValueError as error:
        # _NotStrictError has a message for users. Python's own ValueError is about an integer with more digits than it
        # converts.
        message = error.args[0] if isinstance(error, _NotStrictError) else "contains a number with thousands of digits"
        raise _invalid(message) from None


class _NotStrictError(ValueError):
    """JSON that Python accepts although RFC 8259 forbids it or leaves it undefined."""


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise _NotStrictError(f"has the key {quote(twice)} twice in one mapping; drop one of them")
    return mapping


def _refuse_constant(name: str) -> Any:
    raise _NotStrictError(f'holds {name}, which is not JSON; write a metric as {{"status": "nan"}}, "inf" or "-inf"')


def _invalid(message: str) -> RequestValidationError:
    return RequestValidationError([{"type": INVALID_JSON, "loc": ("body",), "msg": f"the body {message}", "input": {}}])
