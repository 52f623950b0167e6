"""Connection limits: idle and greedy connections end; slow ones that send data stay open. Real sockets."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from service.client import Client
from service.contract.attempt import HeartbeatRequest
from service.contract.problem import Problem
from tests.support.service import Service, running_service

pytestmark = pytest.mark.prove

STALL_SECONDS = 1.0
PATIENCE_SECONDS = 20.0
"""How long a test waits for what a busy machine does late."""
MIB = 1024 * 1024
TOKEN = {"Authorization": "Bearer a-secret", "Content-Type": "application/json"}


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    environment = {"ASSAYER_STALL_SECONDS": f"{STALL_SECONDS:g}", "ASSAYER_CONNECTIONS_PER_CLIENT": "8"}
    with running_service(tmp_path_factory.mktemp("impatient"), environment=environment) as service:
        yield service


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("guarded"), environment={"ASSAYER_TOKEN": "a-secret"}) as service:
        yield service


@contextlib.contextmanager
def connected(service: Service, receive_bytes: int | None = None) -> Iterator[socket.socket]:
    with socket.socket() as client:
        if receive_bytes is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        client.settimeout(PATIENCE_SECONDS)
        client.connect(("127.0.0.1", service.port))
        yield client


def rest(client: socket.socket) -> bytes:
    """Everything until the service ends the connection."""
    received = b""
    with contextlib.suppress(ConnectionError):
        while piece := client.recv(65536):
            received += piece
    return received


def status(client: socket.socket, request: bytes) -> int:
    """Send a request and return its answer's status, once the whole answer is here (of a stream, its head)."""
    client.send(request)
    received, length = b"", 0
    while b"\r\n\r\n" not in received or len(received.partition(b"\r\n\r\n")[2]) < length:
        received += client.recv(65536) or pytest.fail(f"the connection ended after {received!r}")
        found = re.search(rb"content-length: (\d+)", received.lower())
        length = int(found[1]) if found else 0
    return int(received.split()[1])


def trickle(client: socket.socket, data: bytes, pause_seconds: float) -> threading.Thread:
    """Send byte after byte until nobody takes them."""

    def send() -> None:
        with contextlib.suppress(OSError):
            for byte in data:
                client.send(bytes([byte]))
                time.sleep(pause_seconds)

    thread = threading.Thread(target=send)
    thread.start()
    return thread


def head(method: str, path: str, *lines: str) -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: 127.0.0.1", *lines, "", ""]).encode()


def peak_mib(service: Service) -> float:
    """The most memory that the process ever had."""
    status = Path(f"/proc/{service.pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


@pytest.mark.parametrize(
    "sent", [b"", b"GET /api/v1/health HTTP/1.1\r\nHost: 127.0.0.1\r\nX: "], ids=["silent", "stops"]
)
def test_a_request_whose_head_does_not_come_is_given_up(impatient: Service, sent: bytes) -> None:
    began = time.monotonic()  # before the connection: the service's time runs from the moment it accepts
    with connected(impatient) as client:
        client.send(sent)
        assert rest(client) == b""
        assert STALL_SECONDS <= time.monotonic() - began < PATIENCE_SECONDS


def test_a_request_whose_head_trickles_in_is_given_up(impatient: Service) -> None:
    with connected(impatient) as client:
        sender = trickle(client, head("GET", "/api/v1/health", "X: " + "x" * 1000), 0.2)
        assert rest(client) == b""
    sender.join()


def test_the_head_of_the_next_request_has_its_time_too(impatient: Service) -> None:
    with connected(impatient) as client:
        assert status(client, head("GET", "/api/v1/health")) == 200
        time.sleep(2 * STALL_SECONDS)  # idle between two requests, which is no stall
        assert status(client, head("GET", "/api/v1/health")) == 200
        client.send(b"GET /")
        assert rest(client) == b""


@pytest.mark.parametrize("path", ["/api/v1/studies", f"/api/v1/blobs/{'0' * 64}"])
def test_a_body_that_stops_or_trickles_is_given_up_with_an_answer(impatient: Service, path: str) -> None:
    method, kind = ("PUT", "application/octet-stream") if "blobs" in path else ("POST", "application/json")
    for pause in (None, 0.3):
        with connected(impatient) as client:
            client.send(head(method, path, f"Content-Type: {kind}", "Content-Length: 100000"))
            client.send(b'{"name": ')
            sender = trickle(client, b"x" * 1000, pause) if pause else None
            answer = rest(client)
            assert answer.startswith(b"HTTP/1.1 408"), answer
            assert b"body_timeout" in answer
        if sender is not None:
            sender.join()


def test_a_slow_upload_that_keeps_coming_is_taken(impatient: Service) -> None:
    content = os.urandom(64 * 1024)

    def pieces() -> Iterator[bytes]:
        for at in range(0, len(content), 8192):  # 16 KiB a second: longer than all pauses together
            time.sleep(0.5 * STALL_SECONDS)
            yield content[at : at + 8192]

    path = f"{impatient.url}/api/v1/blobs/{hashlib.sha256(content).hexdigest()}"
    headers = {"Content-Type": "application/octet-stream"}
    answer = httpx.put(path, content=pieces(), headers=headers, trust_env=False, timeout=PATIENCE_SECONDS)
    assert answer.json()["size"] == len(content)


def is_held(service: Service, client: socket.socket) -> bool:
    """Return whether the service still holds its end of a client's connection, by the kernel's table of sockets."""
    port = client.getsockname()[1]
    for line in Path(f"/proc/{service.pid}/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, _, _, _, _, _, _, inode, *_ = line.split()
        if int(local.split(":")[1], 16) == service.port and int(remote.split(":")[1], 16) == port:
            return inode != "0"  # the kernel keeps what is unsent of a closed socket, which then has no inode
    return False


def test_a_client_that_does_not_read_its_answers_is_let_go(impatient: Service) -> None:
    with connected(impatient, receive_bytes=4096) as client:
        client.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            for _ in range(500):  # some 100 MiB of answers
                client.send(head("GET", "/openapi.json"))
        assert is_held(impatient, client)
        deadline = time.monotonic() + PATIENCE_SECONDS
        while is_held(impatient, client) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert not is_held(impatient, client)


def test_a_stream_stays_open_while_nothing_happens(impatient: Service) -> None:
    with connected(impatient) as client:
        assert status(client, head("GET", "/api/v1/stream")) == 200
        client.settimeout(5 * STALL_SECONDS)
        with pytest.raises(TimeoutError):
            rest(client)


def test_one_client_has_a_bounded_number_of_connections(impatient: Service) -> None:
    with contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connected(impatient)) for _ in range(8)]
        for client in clients:
            assert status(client, head("GET", "/api/v1/stream")) == 200
        with connected(impatient) as refused:
            answer = rest(refused)
        assert answer.startswith(b"HTTP/1.1 503")
        problem = Problem.model_validate_json(answer.partition(b"\r\n\r\n")[2])
        assert (problem.code, problem.status) == ("busy", 503)
        clients[0].close()
        deadline = time.monotonic() + PATIENCE_SECONDS
        answered = 503
        while answered != 200 and time.monotonic() < deadline:
            with connected(impatient) as again, contextlib.suppress(ConnectionError):
                answered = status(again, head("GET", "/api/v1/health"))
        assert answered == 200


def test_malformed_http_is_answered_by_a_problem(impatient: Service) -> None:
    with connected(impatient) as client:
        client.send(b"no HTTP at all\r\n\r\n")
        first, _, body = rest(client).partition(b"\r\n\r\n")
    assert first.startswith(b"HTTP/1.1 400 Bad Request")
    assert b"nosniff" in first
    assert Problem.model_validate_json(body).code == "invalid_request"


def chunks(mib: int) -> Iterator[bytes]:
    for _ in range(mib):
        yield b"x" * MIB


@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("path", ["/studies", f"/blobs/{'0' * 64}"])
def test_without_the_token_a_large_body_is_refused_unread_and_the_answer_arrives(
    guarded: Service, path: str, is_chunked: bool
) -> None:
    before = peak_mib(guarded)
    with httpx.Client(trust_env=False, timeout=PATIENCE_SECONDS) as http:
        content: bytes | Iterator[bytes] = chunks(50) if is_chunked else b"x" * 50 * MIB
        answer = http.request("PUT" if "blobs" in path else "POST", f"{guarded.url}/api/v1{path}", content=content)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
        assert http.get(f"{guarded.url}/api/v1/health").status_code == 200
    assert peak_mib(guarded) - before < 10


@pytest.mark.parametrize("is_chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("mib", [2, 50])
def test_a_body_above_the_limit_is_refused_and_the_answer_arrives(guarded: Service, mib: int, is_chunked: bool) -> None:
    before = peak_mib(guarded)
    content: bytes | Iterator[bytes] = chunks(mib) if is_chunked else b"x" * mib * MIB
    answer = httpx.post(f"{guarded.url}/api/v1/studies", content=content, headers=TOKEN, trust_env=False)
    assert (answer.status_code, answer.json()["code"]) == (413, "body_too_large")
    assert "ASSAYER_BODY_KIB" in answer.json()["detail"]
    assert peak_mib(guarded) - before < 10


def test_a_client_that_waits_for_the_word_to_send_its_body_never_sends_it(guarded: Service) -> None:
    with connected(guarded) as client:
        assert (
            status(client, head("POST", "/api/v1/studies", "Content-Length: 99999999", "Expect: 100-continue")) == 401
        )


def test_an_unwanted_body_is_not_read_without_end(guarded: Service) -> None:
    with connected(guarded) as client:
        client.send(head("POST", "/api/v1/studies", "Content-Length: 9999999999"))
        num_sent = 0
        with contextlib.suppress(ConnectionError):
            while num_sent < 1000 * MIB:
                num_sent += client.send(b"x" * MIB)
    assert num_sent < 100 * MIB


def local_ports(service: Service) -> set[str]:
    """The ports from which connections to the service are open on this machine."""
    rows = [line.split() for line in Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]]
    return {row[1] for row in rows if row[2] == f"0100007F:{service.port:04X}" and row[3] == "01"}


def test_two_heartbeats_use_one_connection(guarded: Service) -> None:
    with Client(guarded.url, "a-secret") as client:
        client.heartbeat(HeartbeatRequest(worker="w"))
        ports = local_ports(guarded)
        assert ports
        time.sleep(6.5)  # uvicorn's and httpx's own limits are 5 s, and a heartbeat comes every 10
        client.heartbeat(HeartbeatRequest(worker="w"))
        assert local_ports(guarded) == ports


def test_a_connection_outlives_heartbeats_however_rare_they_are(tmp_path: Path) -> None:
    environment = {"ASSAYER_HEARTBEAT_SECONDS": "2", "ASSAYER_LEASE_SECONDS": "9", "ASSAYER_KEEP_ALIVE_SECONDS": "1"}
    with running_service(tmp_path, environment=environment) as service, connected(service) as client:
        for _ in range(2):
            assert status(client, head("GET", "/api/v1/health")) == 200
            time.sleep(2.2)
        began = time.monotonic()
        assert rest(client) == b""  # and ends some time after the last one
        assert time.monotonic() - began < PATIENCE_SECONDS


def test_wrong_tokens_are_logged_and_slowed_down_and_the_right_one_is_not(tmp_path: Path) -> None:
    with running_service(tmp_path, environment={"ASSAYER_TOKEN": "a-secret"}) as service:
        url = f"{service.url}/api/v1/studies"
        with httpx.Client(trust_env=False, timeout=PATIENCE_SECONDS) as http:

            def seconds(token: str) -> float:
                began = time.monotonic()
                answer = http.get(url, headers={"Authorization": f"Bearer {token}"})
                assert answer.status_code == (200 if token == "a-secret" else 401)
                return time.monotonic() - began

            for _ in range(5):
                seconds("guess-1234")
            slowed = [seconds("guess-1234") for _ in range(4)]
            assert [round(least, 2) for least in (0.25, 0.5, 1.0, 2.0)] <= slowed
            assert all(took >= least for took, least in zip(slowed, (0.25, 0.5, 1.0, 2.0), strict=True))
            assert seconds("a-secret") < 0.25 + min(slowed[1:])
        log = service.log.read_text(encoding="utf-8")
    assert "a request from 127.0.0.1 came with a wrong token" in log
    assert log.count("wrong token") == 1  # the others follow in one line
    assert "guess-1234" not in log


def test_a_storm_of_wrong_tokens_is_answered_and_delays_no_valid_request(tmp_path: Path) -> None:
    with running_service(tmp_path, environment={"ASSAYER_TOKEN": "a-secret"}) as service:
        url = f"{service.url}/api/v1/studies"
        answers: list[httpx.Response] = []

        def guess() -> None:
            with httpx.Client(trust_env=False, verify=False, timeout=PATIENCE_SECONDS) as http:
                answers.extend(http.get(url, headers={"Authorization": "Bearer guess"}) for _ in range(3))

        threads = [threading.Thread(target=guess) for _ in range(60)]
        for thread in threads:
            thread.start()
        friend = httpx.get(url, headers=TOKEN, trust_env=False, timeout=PATIENCE_SECONDS)
        for thread in threads:
            thread.join()
    assert friend.status_code == 200
    assert {answer.status_code for answer in answers} == {401, 429}
    refused = next(answer for answer in answers if answer.status_code == 429)
    assert (refused.json()["code"], refused.headers["Retry-After"]) == ("too_many_requests", "10")
