"""Chaos test: under real faults nothing is lost, duplicated or invented, and little training is wasted."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.chaos import play
from tests.chaos.faults import Kind
from tests.support.service import ROOT
from tests.support.sizes import size
from tests.worker.waiting import eventually

NUM_TRIALS = size(ci=150, full=500)


@pytest.mark.prove
def test_every_trial_comes_through_every_fault(tmp_path: Path) -> None:
    result = asyncio.run(play(tmp_path, NUM_TRIALS, seed=1))
    assert {promise: broken for promise, broken in result.violations.items() if broken} == {}
    assert set(result.faults) == set(Kind)
    messages = {"requests dropped", "replies dropped", "requests doubled", "requests delivered late"}
    assert messages <= set(result.messages)


def processes_of(folder: Path) -> list[str]:
    """The command lines of processes that were told of a folder, as argument or in their environment."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            told = (process / "cmdline").read_bytes(), (process / "environ").read_bytes()
        except OSError:  # it has ended, or is another user's
            continue
        if any(os.fsencode(folder) in each for each in told) and int(process.name) != os.getpid():
            found.append(told[0].replace(b"\0", b" ").decode())
    return found


@pytest.mark.prove
def test_a_stopped_chaos_run_leaves_no_process_behind(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "tests.chaos", "--trials", "500", "--keep", str(tmp_path / "kept")]
    # Postgres is put into a folder of the temporary directory, which its command line names.
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    process = subprocess.Popen(command, cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    try:
        assert eventually(lambda: any("Finished" in each.read_text() for each in tmp_path.glob("kept/*.ledger")), 60)
        assert len(processes_of(tmp_path)) > 12
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 130
    finally:
        process.kill()
        process.wait()
    assert eventually(lambda: not processes_of(tmp_path), 10), processes_of(tmp_path)
