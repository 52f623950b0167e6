"""What the tests of real workers share; each module says by `live` for which service they work."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from service.client import Client
from tests.support.service import Service


@pytest.fixture
def client(live: Service) -> Iterator[Client]:
    with Client(live.url) as connected:
        yield connected


@pytest.fixture
def worker(live: Service, tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start workers on one state directory; whatever still works at the end of the test is ended."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ASSAYER_")}
    with contextlib.ExitStack() as stack:

        def start(study: str, *arguments: str) -> subprocess.Popen[str]:
            command = [sys.executable, "-m", "worker", "--cpu", "--threads", "1", "--server", live.url]
            command += ["--state-dir", str(tmp_path), "--study", study, "--until-done", *arguments]
            process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
            stack.callback(process.wait)
            stack.callback(process.kill)
            assert process.stderr is not None
            stack.callback(process.stderr.close)
            return process

        yield start
