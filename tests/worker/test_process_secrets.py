"""Secrets leave the environment block of a process: it re-executes once, with the same arguments."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = """
import ctypes, json, os, sys
sys.path.insert(0, {root!r})
from service.process_secrets import take_secrets
starts = os.environ.get("STARTS", "")
os.environ["STARTS"] = starts + "x"
secrets = take_secrets(["SECRET", "OTHER"])
block = open("/proc/self/environ", "rb").read().decode()
print(json.dumps({{
    "secrets": secrets, "block": block, "starts": len(os.environ["STARTS"]), "pid": os.getpid(), "argv": sys.argv[1:],
    "environ": dict(os.environ), "dumpable": ctypes.CDLL(None).prctl(3), "fds": sorted(os.listdir("/proc/self/fd")),
    "optimize": sys.flags.optimize, "orig": sys.orig_argv[1:],
}}))
"""


def started(tmp_path: Path, *arguments: str, **environment: str) -> tuple[subprocess.Popen[str], dict[str, object]]:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM.format(root=str(Path(__file__).parents[2])))
    process = subprocess.Popen(
        [sys.executable, "-O", str(script), *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={"PATH": os.environ["PATH"], **environment},
    )
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    told: dict[str, object] = json.loads(out)
    return process, told


def test_secrets_arrive_and_the_block_has_none_of_them(tmp_path: Path) -> None:
    process, told = started(tmp_path, "--cpu", "a b", SECRET="first-leave", OTHER="")
    assert told["secrets"] == {"SECRET": "first-leave"}
    assert "first-leave" not in str(told["block"]) + str(told["environ"])
    assert told["starts"] == 2
    assert told["pid"] == process.pid  # the first of a container stays so
    assert told["argv"] == ["--cpu", "a b"]
    assert told["optimize"] == 1
    assert told["dumpable"] == 0
    assert "assayer_secrets_descriptor" not in told["environ"]  # type: ignore[operator]


def test_the_pipe_is_closed(tmp_path: Path) -> None:
    _, without = started(tmp_path)
    _, told = started(tmp_path, SECRET="x")
    assert told["fds"] == without["fds"]


def test_without_secrets_nothing_starts_again_and_the_memory_is_closed_all_the_same(tmp_path: Path) -> None:
    _, told = started(tmp_path, "--cpu")
    assert (told["secrets"], told["starts"], told["dumpable"]) == ({}, 1, 0)


def test_a_start_script_that_sets_the_secret_again_makes_no_loop(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import os\nos.environ['SECRET'] = 'again'\n")
    _, told = started(tmp_path, SECRET="x", PYTHONPATH=str(tmp_path))
    assert told["starts"] == 2
    assert told["secrets"] == {"SECRET": "again"}


@pytest.mark.parametrize("descriptor", ["93", "0"])
def test_a_missing_pipe_is_reported_in_one_sentence(tmp_path: Path, descriptor: str) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM.format(root=str(Path(__file__).parents[2])))
    environment = {"PATH": os.environ["PATH"], "assayer_secrets_descriptor": descriptor}
    result = subprocess.run(
        [sys.executable, str(script)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert result.returncode == 1
    assert result.stderr == "the secrets did not arrive; unset assayer_secrets_descriptor, and start again\n"


def test_it_leaves_no_core_dump(tmp_path: Path) -> None:
    script = tmp_path / "program.py"
    script.write_text(PROGRAM.format(root=str(Path(__file__).parents[2])) + "\nos.abort()\n")
    process = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.DEVNULL,
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "SECRET": "x"},
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)),  # noqa: PLW1509
    )
    _, status = os.waitpid(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert os.WIFSIGNALED(status)
    assert not os.WCOREDUMP(status)
