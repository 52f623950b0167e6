"""Workers whose clocks are a day off: all times come from the database, so nothing changes."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from service.client import Client
from service.contract.trial import AttemptState, TrialState
from service.storage import tables
from service.storage.database import open_read_only
from service.storage.fsck.invariants import check
from tests.e2e.test_worker import spec
from tests.support.service import ROOT, running_service
from tests.worker.grants import digits

pytestmark = pytest.mark.prove

DAY_SECONDS = 86_400

SHIFT = """
import time
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + {seconds}
time.time_ns = lambda: _time_ns() + {seconds} * 10**9
"""
"""Loaded by Python itself, in the agent and in every process that it begins."""


def shifted(folder: Path, seconds: int) -> dict[str, str]:
    """The environment of a process whose wall clock is that far off."""
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(SHIFT.format(seconds=seconds))
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ASSAYER_")}
    environment = clean | {"PYTHONPATH": str(folder)}
    said = subprocess.check_output([sys.executable, "-c", "import time; print(time.time())"], env=environment)
    assert abs(float(said) - time.time() - seconds) < DAY_SECONDS / 2
    return environment


def test_workers_a_day_ahead_and_a_day_behind_train_as_others_and_every_instant_is_the_databases(
    tmp_path: Path,
) -> None:
    short = {"ASSAYER_HEARTBEAT_SECONDS": "0.2", "ASSAYER_LEASE_SECONDS": "5", "ASSAYER_REAPER_SECONDS": "0.2"}
    began_at = time.time()
    with running_service(tmp_path, environment=short) as service, Client(service.url) as client:
        workers = []
        for name, seconds in (("ahead", DAY_SECONDS), ("behind", -DAY_SECONDS)):
            client.create_study(spec(name, trials=2, task=digits(epochs=10)))
            command = [sys.executable, "-m", "worker", "--cpu", "--threads", "1", "--server", service.url]
            command += ["--state-dir", str(tmp_path / name), "--name", name, "--study", name, "--until-done"]
            environment = shifted(tmp_path / f"clock-{name}", seconds)
            workers.append(subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True))
        for worker in workers:
            _, said = worker.communicate(timeout=120)
            assert worker.returncode == 0, said
        ended_at = time.time()
        for name in ("ahead", "behind"):
            assert client.study(name).num_trials == {TrialState.COMPLETED: 2}
            attempts = [each for number in range(2) for each in client.trial(name, number).attempts]
            assert [each.state for each in attempts] == [AttemptState.SUCCEEDED] * 2
    with open_read_only(str(service.database)) as connection:
        columns = [each for table in tables.metadata.sorted_tables for each in table.c if each.name.endswith("_at")]
        instants = [at for each in columns for at in connection.execute(sa.select(each)).scalars() if at is not None]
        assert not any(each.broken for each in check(connection))
    assert len(instants) > 4 * 10, "each trial has told ten epochs"
    assert began_at - 60 < min(instants) / 1e6
    assert max(instants) / 1e6 < ended_at + 60
