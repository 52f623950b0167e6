"""A real service for tests: `assayer serve` as a process on a free port, with its own SQLite file."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from tests.support.forked_commands import COMMANDS

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 60.0
STOP_SECONDS = 10.0


class Service:
    """One service process: where it listens, and how to stop and start it again on the same database and port."""

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        database: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.directory = directory
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.database = directory / "assayer.db"
        self.log = directory / "service.log"
        self._served = database or str(self.database)
        self._environment = dict(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self.program = [sys.executable, "-m", "service"]
        """What carries out `serve`; a test may put the service with something hostile in it in its place."""

    @property
    def pid(self) -> int:
        assert self._process is not None, "the service was not started"
        return self._process.pid

    @property
    def is_alive(self) -> bool:
        """Whether it was started, not stopped, and has not ended by itself."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process and return once it answers; what it logged is in the error if it does not."""
        command = [*self.program, "serve", "--port", str(self.port), "--database", self._served]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("ASSAYER_")}
        with self.log.open("ab") as log:
            self._process = COMMANDS.popen(
                command, cwd=ROOT, env=environment | self._environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                pytest.fail(f"the service did not start; it said:\n{self.log.read_text()[-4000:]}")
            time.sleep(0.05)

    def terminate(self, seconds: float) -> int | None:
        """Send SIGTERM and return the exit status; None where the process has not ended after `seconds`."""
        assert self._process is not None, "the service was not started"
        self._process.terminate()
        try:
            return self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def stop(self, *, hard: bool = False) -> None:
        """End the process by its handle: SIGTERM, or SIGKILL when `hard` or when it does not go."""
        if self._process is None:
            return
        if hard:
            self._process.kill()
        else:
            self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def _answers(self) -> bool:
        return answers(self.url)


def answers(url: str) -> bool:
    """Whether a service answers there."""
    try:
        # Without `verify`, each call would read the certificates of all authorities.
        return httpx.get(f"{url}/api/v1/health", timeout=2, trust_env=False, verify=False).is_success
    except httpx.TransportError:
        return False


def free_port() -> int:
    """Return a loopback port nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def running_service(
    directory: Path, *, database: str | None = None, environment: Mapping[str, str] | None = None
) -> Iterator[Service]:
    """Serve from `directory`, or another database with its blobs there, for the length of a block."""
    if database is not None:
        environment = {"ASSAYER_BLOBS": str(directory / "blobs"), **(environment or {})}
    service = Service(directory, database=database, environment=environment)
    service.start()
    try:
        yield service
    finally:
        service.stop()


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    """A fresh service for one test."""
    with running_service(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def shared_service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One service for all tests of a module: give each its own study name."""
    with running_service(tmp_path_factory.mktemp("service")) as running:
        yield running
