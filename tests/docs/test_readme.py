"""README: its tree is the tree, its commands work as written, and CI runs its test command."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from service.client import Client, study_file
from tests.support.service import ROOT, START_SECONDS, Service, answers, free_port

README = (ROOT / "README.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, flags=re.MULTILINE | re.DOTALL)


def told_tree() -> dict[str, str]:
    """Return path -> description, from the indented layout block; a folder's entries are indented by two more."""
    told: dict[str, str] = {}
    folders: list[str] = []
    for line in README.partition("## Layout of the repository\n\n```\n")[2].partition("```")[0].splitlines():
        name, said = line.split(maxsplit=1)
        depth = (len(line) - len(line.lstrip())) // 2
        path = "".join(folders[:depth]) + name
        folders[depth:] = [name]
        told[path] = said
    return told


def test_every_path_in_the_tree_exists_and_has_a_line() -> None:
    for path, said in told_tree().items():
        assert (ROOT / path).exists(), path
        assert said, path


@pytest.mark.parametrize("package", ["service", "worker"])
def test_no_room_is_missing_from_the_tree(package: str) -> None:
    entries = {
        f"{package}/{path.name}" + ("/" if path.is_dir() else "")
        for path in (ROOT / package).iterdir()
        if path.name not in {"__pycache__", "__init__.py", "py.typed"}
    }
    assert entries <= told_tree().keys()


@pytest.mark.parametrize(
    "folder", ["service/usecases", "service/search", "service/cli", "worker/agent", "worker/training"]
)
def test_no_folder_of_a_large_room_is_missing_from_the_tree(folder: str) -> None:
    packages = {f"{folder}/{path.parent.name}/" for path in (ROOT / folder).glob("*/__init__.py")}
    assert packages
    assert packages == {path for path in told_tree() if re.fullmatch(rf"{folder}/\w+/", path)}


def test_the_commands_of_make_exist_and_ci_runs_the_test_command() -> None:
    commands = [line.split("#")[0].strip() for line in blocks("sh")[0].splitlines()]
    for command in commands:
        assert re.search(rf"^{command.removeprefix('make ')}:", MAKEFILE, flags=re.MULTILINE), command
    lines = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    in_foreground = [line for line in lines if line.startswith("make") and " &" not in line]
    assert in_foreground[0] in commands


def test_the_study_is_accepted(shared_service: Service, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(blocks("yaml")[0], encoding="utf-8")
    with Client(shared_service.url) as client:
        client.check_study(study_file.load(path))


def test_the_python_example_runs(shared_service: Service) -> None:
    environment = os.environ | {"ASSAYER_SERVER": shared_service.url}
    ran = subprocess.run(
        [sys.executable, "-c", blocks("python")[0]],
        env=environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr
    assert "'x'" in ran.stdout


@pytest.mark.prove
def test_the_pieces_by_hand_work_as_shown(tmp_path: Path) -> None:
    """Run every line of the block in one folder: the first two keep running, the others follow one another.

    The study has 12 trials in place of its 60, which `test_demo.py` searches.
    """
    shutil.copytree(ROOT / "examples", tmp_path / "examples", ignore=shutil.ignore_patterns("data"))
    example = tmp_path / "examples" / "digits.yaml"
    text = example.read_text(encoding="utf-8")
    assert "budget: {trials: 60}" in text
    example.write_text(text.replace("budget: {trials: 60}", "budget: {trials: 12}"), encoding="utf-8")
    port = str(free_port())
    environment = os.environ | {
        "ASSAYER_PORT": port,
        "ASSAYER_SERVER": f"http://127.0.0.1:{port}",
        "XDG_STATE_HOME": str(tmp_path / "state"),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
    }
    service, worker, *studies = [shlex.split(line, comments=True) for line in blocks("sh")[1].splitlines()]
    staying = []
    try:
        for command in (service, worker):
            log = (tmp_path / f"{command[0]}.log").open("wb")
            staying.append(subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log))
            log.close()
            # One core, by which the worker counts its threads: two would wait for each other beside other tests.
            os.sched_setaffinity(staying[-1].pid, {min(os.sched_getaffinity(0))})
        deadline = time.monotonic() + START_SECONDS
        while not answers(environment["ASSAYER_SERVER"]):
            assert time.monotonic() < deadline, (tmp_path / "service.log").read_text()
            time.sleep(0.05)
        for command in studies[:-1]:
            ran = subprocess.run(
                command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False
            )
            assert ran.returncode == 0, f"{shlex.join(command)}: {ran.stderr}"
            assert ran.stdout.strip()
        assert studies[-1][:2] == ["study", "pause"]
    finally:
        for process in reversed(staying):
            process.terminate()
        statuses = [process.wait(30) for process in staying]
    assert statuses == [0, 0]
    assert (tmp_path / "assayer.db").exists()
