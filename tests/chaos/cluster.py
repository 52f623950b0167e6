"""The processes under test: Postgres, service replicas and agents; all end with the `with` block that started them."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.postgres import Postgres, postgres
from tests.support.forked_commands import ForkServer
from tests.support.processes import children
from tests.support.service import ROOT, Service

NUM_REPLICAS = 2
NUM_AGENTS = 8
LEASE_SECONDS = 4.0
HEARTBEAT_SECONDS = 0.8
STUDY = "chaos"

AGENTS = ForkServer("tests.chaos.agent", "tests.chaos.zygote")

_LIMITS = {
    "ASSAYER_LEASE_SECONDS": f"{LEASE_SECONDS:g}",
    "ASSAYER_HEARTBEAT_SECONDS": f"{HEARTBEAT_SECONDS:g}",
    "ASSAYER_REAPER_SECONDS": "0.5",
}


class Agent:
    """One worker process and the directory that it finds again after each death."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.ledger = directory / f"{name}.ledger"
        self.log = directory / f"{name}.log"
        self.outbox = directory / name / "outbox.sqlite"
        self._directory = directory
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, server: str) -> None:
        """Start it, or start it again after it has died."""
        command = [sys.executable, "-m", "tests.chaos.agent", "--cpu", "--threads", "1", "--server", server]
        command += ["--pass-env", "CHAOS_LEDGER"]
        command += ["--name", self.name, "--state-dir", str(self._directory), "--study", STUDY, "--until-done"]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ASSAYER_")}
        with self.log.open("ab") as log:
            self._process = AGENTS.popen(
                command,
                cwd=ROOT,
                env=environment | {"CHAOS_LEDGER": str(self.ledger)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # a Ctrl-C is ours to answer
            )

    @property
    def status(self) -> int | None:
        """Its exit status; None while it lives."""
        assert self._process is not None
        return self._process.poll()

    def signal(self, number: int) -> bool:
        """Send the agent a signal; False where it is gone."""
        assert self._process is not None
        if self.status is not None:
            return False
        self._process.send_signal(number)
        return True

    def child(self) -> int | None:
        """The training process below its zygote, if there is one now."""
        assert self._process is not None
        if self.status is not None:
            return None
        below = [child for zygote in children(self._process.pid) for child in children(zygote)]
        return below[0] if below else None

    def end(self) -> None:
        """See that nothing of it lives on; its zygote, and with that the training process, ends when it is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class Cluster:
    """Everything that runs, by name."""

    def __init__(self, directory: Path, database: Postgres) -> None:
        self.directory = directory
        self.database = database
        environment = _LIMITS | {"ASSAYER_BLOBS": str(directory / "blobs")}
        self.replicas = []
        for number in range(1, NUM_REPLICAS + 1):
            folder = directory / f"replica-{number}"
            folder.mkdir()
            self.replicas.append(Service(folder, environment=environment, database=database.url))
        self.agents = [Agent(f"agent-{number}", directory) for number in range(1, NUM_AGENTS + 1)]


@contextlib.contextmanager
def cluster(directory: Path) -> Iterator[Cluster]:
    """A database with its replicas, which serve, and agents, which are yet to be started."""
    with contextlib.ExitStack() as stack:
        built = Cluster(directory, stack.enter_context(postgres()))
        for replica in built.replicas:
            stack.callback(replica.stop)
            replica.start()
        for agent in built.agents:
            stack.callback(agent.end)
        yield built
