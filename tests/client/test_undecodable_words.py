"""An argument that is not UTF-8 is refused with one sentence and exit status 2."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

NO_TEXT = os.fsdecode(b"caf\xe9")

LINES = [
    ("service.cli.main", "show", NO_TEXT),
    ("service.cli.main", "--server", f"http://{NO_TEXT}", "list"),
    ("service.cli.main", "create", "study.yaml", "--name", NO_TEXT),
    ("service.cli.main", "enqueue", "digits", f"lr={NO_TEXT}"),
    ("service.cli.main", "enqueue", "digits", f"{NO_TEXT}=1"),
    ("service.cli.main", "edit", "digits", "--set", f"space.lr.high={NO_TEXT}"),
    ("service.cli.main", "fork", "digits", "1", "--set", f"lr={NO_TEXT}"),
    ("service.cli.main", "pause", "digits", "--reason", NO_TEXT),
    ("service.cli.main", "readmit", NO_TEXT),
    ("worker", "--cpu", "--label", f"room={NO_TEXT}"),
    ("worker", "--cpu", "--name", NO_TEXT),
    ("worker", "--cpu", "--data", NO_TEXT),
    ("worker", "--cpu", "--checkpoints", NO_TEXT),
    ("worker", "--cpu", "--study", NO_TEXT),
    ("worker", "try", NO_TEXT),
    ("worker", "doctor", "--server", NO_TEXT),
    ("worker", "preflight", NO_TEXT),
    ("service", "serve", "--database", NO_TEXT),
    ("service", "fsck", "--database", NO_TEXT),
]

RUN_ALL = """
import contextlib, importlib, io, json, os, sys
for module, *words in json.loads(sys.stdin.read()):
    words = [os.fsdecode(bytes.fromhex(word)) for word in words]
    said = io.StringIO()
    main = {"service.cli.main": "service.cli.main", "worker": "worker.cli", "service": "service.__main__"}[module]
    if module == "worker" and words[0] in ("try", "doctor", "preflight"):
        main = {"try": "worker.try_trial", "doctor": "worker.doctor", "preflight": "worker.preflight_study"}[
            words.pop(0)
        ]
    with contextlib.redirect_stderr(said):
        try:
            status = importlib.import_module(main).main(words)
        except SystemExit as error:
            status = error.code
    print(json.dumps([status, said.getvalue()]))
"""


def test_a_word_that_is_not_utf_8_is_one_sentence() -> None:
    """In one process, as each start takes seconds."""
    lines = [[module, *(os.fsencode(word).hex() for word in words)] for module, *words in LINES]
    done = subprocess.run(
        [sys.executable, "-c", RUN_ALL], input=json.dumps(lines), capture_output=True, text=True, check=True
    )
    for line, told in zip(LINES, done.stdout.splitlines(), strict=True):
        status, said = json.loads(told)
        assert status == 2, line
        *_, last = said.splitlines()
        assert "is not UTF-8 text; write it in UTF-8, or rename what it names" in last, line
        assert "caf\\udce9" in last, line
        assert "Traceback" not in said, line


@pytest.mark.parametrize("module", ["service.cli.main", "worker"])
def test_a_real_command_ends_so(module: str) -> None:
    words = ["show", NO_TEXT] if module == "service.cli.main" else ["--cpu", "--label", f"a={NO_TEXT}"]
    done = subprocess.run([sys.executable, "-m", module, *words], capture_output=True, check=False)
    assert done.returncode == 2
    assert done.stdout == b""
    assert b"is not UTF-8 text" in done.stderr.splitlines()[-1]
    assert b"Traceback" not in done.stderr
