"""SIGTERM ends a service within 10 seconds, whatever is open at that moment."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import sqlite3
import time

import httpx
import pytest

from tests.support.service import Service
from tests.usecases.replica import spec_of

pytestmark = pytest.mark.prove

STOP_SECONDS = 10.0
NUM_STREAMS = 20


def connected(service: Service) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", service.port), timeout=10)
    made.settimeout(10)
    return made


def send(connection: socket.socket, request: str, *headers: str) -> None:
    lines = [f"{request} HTTP/1.1", "Host: 127.0.0.1", *headers, "", ""]
    connection.sendall("\r\n".join(lines).encode())


def read_until(connection: socket.socket, part: bytes) -> bytes:
    read = b""
    while part not in read:
        more = connection.recv(4096)
        assert more, f"closed after {read!r}"
        read += more
    return read


def open_streams(service: Service, hold: contextlib.ExitStack) -> None:
    """Streams of one study and of all, each of which has heard its first event."""
    body = spec_of(name="watched").model_dump(mode="json", exclude_none=True)
    httpx.post(f"{service.url}/api/v1/studies", json=body, trust_env=False).raise_for_status()
    for number in range(NUM_STREAMS):
        connection = hold.enter_context(connected(service))
        send(connection, f"GET /api/v1{'/studies/watched' if number % 2 else ''}/stream")
        read_until(connection, b"event: changed")


def send_half_a_body(service: Service, hold: contextlib.ExitStack) -> None:
    connection = hold.enter_context(connected(service))
    send(connection, "POST /api/v1/studies", "Content-Type: application/json", "Content-Length: 1000")
    connection.sendall(b'{"name": "half')


def send_half_a_head(service: Service, hold: contextlib.ExitStack) -> None:
    hold.enter_context(connected(service)).sendall(b"GET /api/v1/studies HTTP/1.1\r\nHost: 127")


def keep_idle_connections(service: Service, hold: contextlib.ExitStack) -> None:
    untouched, used = (hold.enter_context(connected(service)) for _ in range(2))
    assert untouched.fileno() > 0
    send(used, "GET /api/v1/health")
    read_until(used, b'"status":"ok"')


def download_slowly(service: Service, hold: contextlib.ExitStack) -> None:
    content = os.urandom(32 * 2**20)
    path = f"/api/v1/blobs/{hashlib.sha256(content).hexdigest()}"
    headers = {"Content-Type": "application/octet-stream"}
    httpx.put(service.url + path, content=content, headers=headers, timeout=60, trust_env=False).raise_for_status()
    connection = hold.enter_context(connected(service))
    send(connection, f"GET {path}")
    assert b" 200 " in read_until(connection, b"\r\n\r\n")


def upload_slowly(service: Service, hold: contextlib.ExitStack) -> None:
    connection = hold.enter_context(connected(service))
    kind = "Content-Type: application/octet-stream"
    send(connection, f"PUT /api/v1/blobs/{'0' * 64}", kind, "Content-Length: 1000000")
    connection.sendall(b"x" * 1000)


OPENINGS = [
    open_streams,
    send_half_a_body,
    send_half_a_head,
    keep_idle_connections,
    download_slowly,
    upload_slowly,
]


def test_sigterm_ends_the_service_whatever_is_open(service: Service) -> None:
    with contextlib.ExitStack() as hold:
        for open_ in OPENINGS:
            open_(service, hold)
        time.sleep(0.5)
        assert service.terminate(STOP_SECONDS) == 0, service.log.read_text()[-2000:]


def test_sigterm_ends_a_service_whose_threads_are_stuck(service: Service) -> None:
    """A thread cannot be cancelled: here it waits for half a minute for a lock that another program holds."""
    body = spec_of().model_dump(mode="json", exclude_none=True)
    with contextlib.closing(sqlite3.connect(service.database, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with contextlib.ExitStack() as hold:
            connection = hold.enter_context(connected(service))
            content = json.dumps(body)
            send(
                connection, "POST /api/v1/studies", "Content-Type: application/json", f"Content-Length: {len(content)}"
            )
            connection.sendall(content.encode())
            time.sleep(0.5)
            assert service.terminate(STOP_SECONDS) == 1, service.log.read_text()[-2000:]
    assert "did not stop within 8 seconds" in service.log.read_text()
    service.start()
    assert httpx.get(f"{service.url}/api/v1/studies", trust_env=False).json()["studies"] == []
