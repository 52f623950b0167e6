"""Log upload: sends output, survives outages, and drops logs of ended attempts."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest

from service.client import Client
from service.contract.log import MAX_LOG_BYTES
from service.contract.problem import ErrorCode
from tests.worker.scripted_service import Scripted, problem
from tests.worker.waiting import eventually
from worker.agent.attempts import AttemptKey
from worker.agent.checkpoints.local_storage import LocalStorage
from worker.agent.connectivity import ServiceStatus
from worker.agent.outbox.outbox import Outbox
from worker.agent.uploads import log_upload
from worker.agent.uploads.log_upload import LogUploader

KEY = AttemptKey("t1", 1)


@pytest.fixture
def disk(tmp_path: Path) -> LocalStorage:
    return LocalStorage(tmp_path / "attempts", 0)


@pytest.fixture
def sender(
    client: Client, outbox: Outbox, disk: LocalStorage, service_status: ServiceStatus, monkeypatch: pytest.MonkeyPatch
) -> Iterator[LogUploader]:
    monkeypatch.setattr(log_upload, "_ROUND_SECONDS", 0.05)
    with LogUploader(client, outbox, disk, service_status) as running:
        yield running


@pytest.fixture
def out(sender: LogUploader, disk: LocalStorage) -> Path:
    """Where attempt 1 of t1 prints; nobody has made the files yet."""
    sender.follow(KEY, "n")
    return disk.output_files(KEY)[0]


def told(script: Scripted) -> bytes:
    return b"".join(b64decode(body["content"]) for body in script.asked_of("log"))


def test_output_is_uploaded_while_the_process_runs_and_at_its_end(
    script: Scripted, sender: LogUploader, out: Path
) -> None:
    out.write_bytes(b"one\n")
    assert eventually(lambda: told(script) == b"one\n")
    with out.open("ab") as file:
        file.write(b"two\n")
    sender.end(KEY)
    assert sender.wait_until_sent(5)
    assert told(script) == b"one\ntwo\n"
    assert [body["offset"] for body in script.asked_of("log")] == [0, 4]
    assert all(body["nonce"] == "n" for body in script.asked_of("log"))
    assert not out.parent.exists(), "what the service has is not kept here"


def test_it_resumes_where_the_service_says(script: Scripted, sender: LogUploader, out: Path) -> None:
    script.log = lambda _: (200, {"offset": 6})
    out.write_bytes(b"known known more")
    sender.end(KEY)
    assert eventually(lambda: len(script.asked_of("log")) >= 2)
    script.log = lambda body: (200, {"offset": body["offset"] + len(b64decode(body["content"]))})
    assert sender.wait_until_sent(5)
    assert script.asked_of("log")[1]["offset"] == 6


def test_an_outage_delays_and_loses_nothing(script: Scripted, sender: LogUploader, out: Path) -> None:
    healthy = script.log
    script.log = lambda _: problem(503, ErrorCode.BUSY)
    out.write_bytes(b"one\n")
    sender.end(KEY)
    assert eventually(lambda: script.asked_of("log"))
    assert not sender.wait_until_sent(0.1)
    script.log = healthy
    script.asked.clear()
    assert sender.wait_until_sent(5)
    assert told(script) == b"one\n"


@pytest.mark.parametrize(
    ("status", "code"),
    [(409, ErrorCode.LEASE_SUPERSEDED), (500, ErrorCode.DAMAGED_DATA), (500, ErrorCode.UNSERIALIZABLE)],
)
def test_a_finally_refused_message_is_dropped(
    script: Scripted, sender: LogUploader, out: Path, status: int, code: ErrorCode
) -> None:
    script.log = lambda _: problem(status, code)
    out.write_bytes(b"one\n")
    assert eventually(lambda: script.asked_of("log"))
    sender.end(KEY)
    assert sender.wait_until_sent(5)
    assert len(script.asked_of("log")) == 1


def test_the_next_agent_sends_what_a_killed_agent_had_not(
    script: Scripted, client: Client, outbox: Outbox, disk: LocalStorage, service_status: ServiceStatus
) -> None:
    LogUploader(client, outbox, disk, service_status).follow(KEY, "n")  # it dies before it tells anything
    disk.output_files(KEY)[0].write_bytes(b"last words\n")
    with LogUploader(client, outbox, disk, service_status) as following:
        assert following.wait_until_sent(5)
    assert told(script) == b"last words\n"
    assert outbox.unsent_outputs() == []
    assert not disk.output_files(KEY)[0].exists()


def test_only_the_kept_part_of_a_long_backlog_is_sent(
    script: Scripted, client: Client, outbox: Outbox, disk: LocalStorage, service_status: ServiceStatus
) -> None:
    disk.output_files(KEY)[0].write_bytes(b"x" * MAX_LOG_BYTES + b"y" * MAX_LOG_BYTES)
    with LogUploader(client, outbox, disk, service_status) as sender:
        sender.follow(KEY, "n")
        sender.end(KEY)
        assert sender.wait_until_sent(5)
    assert told(script) == b"y" * MAX_LOG_BYTES
    assert script.asked_of("log")[0]["offset"] == MAX_LOG_BYTES
