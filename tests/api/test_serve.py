"""`assayer serve`: reports in one sentence why it cannot start, and stops on a signal."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.metadata import version
from pathlib import Path

import httpx
import pytest

from service.settings import Settings
from service.storage.database import url_of
from tests.support.forked_commands import COMMANDS
from tests.support.service import ROOT, Service, free_port, running_service

PORTS = ("99999", "65536", "-1", "text", "1.5", "")


def told(*arguments: str, environment: Mapping[str, str] = {}) -> subprocess.CompletedProcess[str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("ASSAYER_")}
    command = [sys.executable, "-m", "service", *arguments]
    return COMMANDS.run(
        command, cwd=ROOT, env=clean | dict(environment), capture_output=True, text=True, timeout=30, check=False
    )


def sentence(done: subprocess.CompletedProcess[str], status: int = 1) -> str:
    """The one line that a failed start says."""
    assert done.returncode == status, done
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    *before, last = done.stderr.strip().splitlines()
    # The address is announced before the database is opened.
    assert all(line.startswith("assayer: http://") for line in before), done.stderr
    return last


@pytest.fixture
def busy_port() -> Iterator[int]:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def test_a_port_in_use(busy_port: int, tmp_path: Path) -> None:
    said = sentence(told("serve", "--port", str(busy_port), "--database", str(tmp_path / "a.db")))
    assert said == (
        f"assayer: cannot serve at 127.0.0.1:{busy_port}: Address already in use; "
        "stop the program that uses this port, or choose another port with --port"
    )
    assert list(tmp_path.iterdir()) == []


def test_another_address_without_a_token(tmp_path: Path) -> None:
    said = sentence(told("serve", "--host", "0.0.0.0", "--port", "0", "--database", str(tmp_path / "a.db")))
    assert said.startswith("assayer: refusing to bind 0.0.0.0 without a token: set ASSAYER_TOKEN")


@pytest.mark.parametrize(
    ("database", "message"),
    [
        ("{folder}/nowhere/a.db", "the folder {folder}/nowhere does not exist; create it first"),
        ("{folder}", "it is a folder; name a file in it, {folder}/assayer.db for example"),
        ("{folder}/file/a.db", "the folder {folder}/file does not exist"),
        ("{folder}/file", "file is not a database"),
        ("mysql://db/x", "mysql is not supported; use sqlite:///path or postgresql://user@host/name"),
        ("postgresql://127.0.0.1:1/x", "cannot use postgresql"),
    ],
)
def test_a_database_that_cannot_be_used(tmp_path: Path, database: str, message: str) -> None:
    (tmp_path / "file").write_text("not a database, but a text that is long enough to have a header. " * 20)
    said = sentence(told("serve", "--port", "0", "--database", database.format(folder=tmp_path)))
    assert said.startswith("assayer: ")
    assert message.format(folder=tmp_path) in said


@pytest.mark.parametrize(
    ("environment", "message"),
    [
        ({"ASSAYER_PORT": "eighty"}, "ASSAYER_PORT must be a whole number from 0 to 65535, got 'eighty'"),
        ({"ASSAYER_PORT": "99999"}, "ASSAYER_PORT must be a whole number from 0 to 65535, got '99999'"),
        ({"ASSAYER_PORT": "-1"}, "ASSAYER_PORT must be a whole number from 0 to 65535, got '-1'"),
        ({"ASSAYER_HOST": "nonsense"}, "the host 'nonsense' is not an address of this machine"),
        ({"ASSAYER_LEASE_SECONDS": "5"}, "ASSAYER_LEASE_SECONDS (5) must be at least twice"),
        ({"ASSAYER_BODY_KIB": "inf"}, "ASSAYER_BODY_KIB must not be negative, and must be finite, got inf"),
        ({"ASSAYER_STALL_SECONDS": "0"}, "ASSAYER_STALL_SECONDS must be above 0"),
        (
            {"ASSAYER_ALLOWED_HOSTS": "https://a.example"},
            "'https://a.example' is not a host's name; write names without",
        ),
        ({"ASSAYER_ALLOWED_HOSTS": "a.example:80"}, "'a.example:80' is not a host's name; write names without"),
    ],
)
def test_a_setting_that_cannot_be_used(environment: dict[str, str], message: str) -> None:
    assert message in sentence(told("serve", environment=environment), status=2)


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        *(("--port", bad, f"--port must be a whole number from 0 to 65535, got '{bad}'") for bad in PORTS),
        ("--host", "no.such.host.invalid", "the host 'no.such.host.invalid' is not an address of this machine"),
        ("--host", "192.0.2.1", "the host 192.0.2.1 is not an address of this machine"),
        ("--host", "a..b", "the host 'a..b' is not an address of this machine"),
    ],
)
def test_an_address_that_cannot_be_bound_is_reported(tmp_path: Path, option: str, value: str, message: str) -> None:
    environment = {"ASSAYER_TOKEN": "a-secret"} if value == "192.0.2.1" else {}  # no token is the first mistake there
    done = told("serve", f"{option}={value}", "--database", str(tmp_path / "a.db"), environment=environment)
    assert message in sentence(done, status=2)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("module", ["service", "service.cli.main", "worker"])
def test_every_command_tells_its_version(module: str) -> None:
    command = [sys.executable, "-m", module, "--version"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"assayer {version('assayer')}\n", "")


def test_a_password_is_in_no_log_and_in_no_answer(tmp_path: Path, postgres_url: str) -> None:
    served = url_of(postgres_url).set(password="a-password").render_as_string(hide_password=False)
    assert "a-password" in served
    environment = {"ASSAYER_DATABASE": served, "ASSAYER_TOKEN": "a-secret", "ASSAYER_LOG_LEVEL": "debug"}
    with running_service(tmp_path, database=served, environment=environment) as service:
        health = httpx.get(f"{service.url}/api/v1/health", trust_env=False).json()
        assert health["database"] == "postgresql"
        assert "a-password" not in str(health)
    assert "a-secret" not in repr(Settings.from_environment(environment))
    assert "a-password" not in repr(Settings.from_environment(environment))
    log = service.log.read_text(encoding="utf-8")
    assert "serving" in log
    assert "a-password" not in log
    assert "a-secret" not in log


def test_migrate_and_openapi(tmp_path: Path) -> None:
    done = told("migrate", "--database", str(tmp_path / "a.db"))
    assert (done.returncode, done.stderr) == (0, "assayer: the database is up to date\n")
    assert '"title": "Assayer"' in told("openapi").stdout


def test_a_second_service_on_one_file_is_refused(service: Service) -> None:
    said = sentence(told("serve", "--port", "0", "--database", str(service.database)))
    assert f"is already served by process {service.pid}" in said


def test_a_service_that_does_not_see_its_blobs_does_not_start(tmp_path: Path) -> None:
    with running_service(tmp_path) as service:
        assert (tmp_path / "assayer-blobs" / "store-id").exists()
    command = ["serve", "--port", "0", "--database", str(service.database)]
    said = sentence(told(*command, environment={"ASSAYER_BLOBS": str(tmp_path / "unmounted")}))
    assert "is not the blob store of this database (it holds no store-id); mount the folder" in said


def test_sigterm_ends_it_in_order_even_while_a_page_is_open(tmp_path: Path) -> None:
    with (
        running_service(tmp_path) as service,
        httpx.Client(trust_env=False) as http,
        http.stream("GET", f"{service.url}/api/v1/stream") as stream,
    ):
        assert stream.status_code == 200
        process = service._process
        assert process is not None
        process.terminate()
        assert process.wait(10) == 0


def test_it_serves_from_postgres(tmp_path: Path, postgres_url: str) -> None:
    port = free_port()
    command = [sys.executable, "-m", "service", "serve", "--port", str(port), "--database", postgres_url]
    environment = os.environ | {"ASSAYER_BLOBS": str(tmp_path / "blobs")}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            transport = httpx.HTTPTransport(retries=6)
            with httpx.Client(transport=transport, trust_env=False, timeout=10) as http:
                health = http.get(f"http://127.0.0.1:{port}/api/v1/health").json()
            assert (health["status"], health["database"]) == ("ok", "postgresql")
        finally:
            process.terminate()
            _, said = process.communicate(timeout=15)
    assert process.returncode == 0, said


def test_samplers_compute_on_one_thread() -> None:
    """The service loads no numerical library before it limits them."""
    probe = (
        "import sys, service.main, service.numeric_threads as threads\n"
        "assert not {'numpy', 'scipy'} & set(sys.modules)\n"
        "threads.use_one_thread()\n"
        "import numpy, scipy.linalg, threadpoolctl\n"
        "print({pool['num_threads'] for pool in threadpoolctl.threadpool_info()})"
    )
    clean = {key: value for key, value in os.environ.items() if not key.endswith("_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-c", probe], cwd=ROOT, env=clean, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout.strip(), done.stderr) == ("{1}", "")
