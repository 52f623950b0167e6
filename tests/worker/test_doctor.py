"""`worker doctor`: one line per check, with a remedy where it fails; status 1 if any fails."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections import namedtuple
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from service.client import Client
from service.contract.health import Health
from tests.support.service import Service, running_service
from worker import doctor

TOKEN = "a-secret-of-this-test"
Usage = namedtuple("Usage", "total used free")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    with running_service(tmp_path_factory.mktemp("service"), environment={"ASSAYER_TOKEN": TOKEN}) as service:
        yield service


def run_checks(server: str, state_dir: Path) -> dict[str, doctor.CheckResult]:
    return {finding.what: finding for finding in doctor.run_checks(server, state_dir, [state_dir])}


def test_a_machine_that_is_well_exits_with_0_and_says_what_it_has(guarded: Service, tmp_path: Path) -> None:
    command = [
        sys.executable,
        "-m",
        "worker",
        "doctor",
        "--server",
        guarded.url,
        "--state-dir",
        str(tmp_path),
        "--data",
        str(tmp_path),
        "--json",
    ]
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "ASSAYER_TOKEN": TOKEN}, timeout=60
    )
    findings = {each["what"]: each for each in json.loads(result.stdout)}
    assert {"processor", "memory", "shared memory", "disk", "torch", "service", "clock", "token"} <= findings.keys()
    assert {what for what, each in findings.items() if each["remedy"]} <= {"memory", "disk", "shared memory"}
    assert result.returncode == int(any(each["remedy"] for each in findings.values()))
    assert guarded.url in findings["service"]["seen"]


def test_a_missing_token_is_reported(guarded: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ASSAYER_TOKEN", raising=False)
    assert "set ASSAYER_TOKEN" in (run_checks(guarded.url, tmp_path)["token"].remedy or "")


def test_a_wrong_token_is_reported(guarded: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ASSAYER_TOKEN", "another")
    assert "check ASSAYER_TOKEN" in (run_checks(guarded.url, tmp_path)["token"].remedy or "")


def test_an_unreachable_service_is_reported_with_the_remedy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor.main(["--server", "http://127.0.0.1:1", "--state-dir", str(tmp_path)]) == 1
    assert "FIX service: cannot be reached; no service at http://127.0.0.1:1; start one" in capsys.readouterr().out


@pytest.mark.parametrize("hours", [-1, 1])
def test_a_clock_that_differs_from_the_databases_is_reported(
    guarded: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hours: int
) -> None:
    def skewed(client: Client) -> Health:
        told = ask(client)
        return told.model_copy(update={"now": told.now + timedelta(hours=hours)})

    ask = Client.health
    monkeypatch.setattr(Client, "health", skewed)
    finding = run_checks(guarded.url, tmp_path)["clock"]
    assert "timedatectl" in (finding.remedy or "")
    assert ("behind" if hours > 0 else "ahead of") in finding.seen


def test_clocks_that_agree_are_well(guarded: Service, tmp_path: Path) -> None:
    assert run_checks(guarded.url, tmp_path)["clock"].remedy is None


def test_a_full_disk_and_small_shared_memory_are_reported(
    guarded: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(64 << 20, 63 << 20, 1 << 20))
    findings = run_checks(guarded.url, tmp_path)
    assert "--state-dir" in (findings["disk"].remedy or "")
    assert "--shm-size" in (findings["shared memory"].remedy or "")


def test_readable_folders_are_listed_and_a_home_directory_is_a_warning(
    guarded: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home" / "me"))
    (tmp_path / "home" / "me" / "data").mkdir(parents=True)

    def data(folder: Path) -> doctor.CheckResult:
        return {each.what: each for each in doctor.run_checks(guarded.url, tmp_path, [folder])}["data"]

    assert data(tmp_path / "home" / "me" / "data").remedy is None
    assert str(tmp_path / "home" / "me" / "data") in data(tmp_path / "home" / "me" / "data").seen
    for folder in (tmp_path / "home" / "me", tmp_path, Path("/")):
        assert "with --data" in (data(folder).remedy or "")
    assert "is not a readable folder" in data(tmp_path / "nowhere").seen


def test_an_unwritable_directory_is_reported(guarded: Service) -> None:
    assert "--state-dir" in (run_checks(guarded.url, Path("/proc/nowhere"))["disk"].remedy or "")
