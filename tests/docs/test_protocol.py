"""docs/protocol.md: its commands run as written against a real service, and its answers are those of the wire."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from service.contract.attempt import FailureClass, HeartbeatReply, Outcome
from service.contract.claim import Grant, NoTrial
from service.contract.problem import ErrorCode
from service.contract.report import Verdict
from tests.support.service import ROOT, Service

TEXT = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
COMMANDS = re.findall(r"^```sh\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
DOCUMENTS = re.findall(r"^```json (\w+)\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
MODELS = {model.__name__: model for model in (Grant, NoTrial, Verdict, HeartbeatReply, Outcome)}


@pytest.mark.skipif(shutil.which("curl") is None, reason="the examples are written with curl, which is not here")
def test_the_commands_succeed_in_order(service: Service, tmp_path: Path) -> None:
    assert len(COMMANDS) >= 10
    blocks = [f"echo 'block {number}' >&2\n{block}" for number, block in enumerate(COMMANDS)]
    python = Path(sys.executable).parent
    done = subprocess.run(
        ["bash", "-c", "set -euo pipefail\n" + "".join(blocks)],
        cwd=tmp_path,
        env={"SERVER": service.url, "PATH": f"{python}:{os.environ['PATH']}", "NO_PROXY": "*"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "completed" in done.stdout.splitlines()


def test_the_documents_shown_are_those_of_the_wire() -> None:
    assert {name for name, _ in DOCUMENTS} == set(MODELS)
    for name, text in DOCUMENTS:
        MODELS[name].model_validate_json(text)
        assert set(json.loads(text)) <= set(MODELS[name].model_fields), name


def named_in(table_header: str) -> set[str]:
    table = TEXT[TEXT.index(table_header) + len(table_header) :]
    return set(re.findall(r"`([a-z_]+)`", table[: table.index("\n\n")]))


def test_every_failure_class_is_documented() -> None:
    assert named_in("| `failure` | when to send it |") == set(FailureClass)


def test_every_error_code_in_the_table_of_answers_exists() -> None:
    assert {"lease_superseded", "attempt_ended"} < named_in("| answer | what a worker does |") <= set(ErrorCode)
