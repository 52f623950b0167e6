"""A token that no HTTP header can hold is refused by the service, the client and the worker."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.client import Client, InvalidToken
from service.settings import Settings, SettingsError

WRONG = {
    "s€cret": "character 2 ('\\u20ac') cannot be sent in an HTTP header",
    "sécret": "character 2 ('\\xe9') cannot be sent",
    "two\nlines": "character 4 ('\\n') cannot be sent",
    "secret\t": "character 7 ('\\t') cannot be sent",
    "secret ": "begins or ends with a blank",
    " secret": "begins or ends with a blank",
}


@pytest.mark.parametrize("token", WRONG)
def test_a_token_that_no_header_carries_is_refused(token: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_environment({"ASSAYER_TOKEN": token})
    assert WRONG[token] in str(refused.value)
    with pytest.raises(InvalidToken) as refused_here:
        Client("http://127.0.0.1:1", token)
    assert WRONG[token] in str(refused_here.value)


def test_a_token_of_printable_ascii_is_taken() -> None:
    token = "".join(chr(code) for code in range(33, 127))
    assert Settings.from_environment({"ASSAYER_TOKEN": token}).token == token
    Client("http://127.0.0.1:1", token).close()


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(["service", "serve", "--port", "0"], 1), (["service.cli.main", "list"], 1), (["worker", "--cpu"], 2)],
)
def test_every_command_says_so_in_a_sentence(arguments: list[str], status: int, tmp_path: os.PathLike[str]) -> None:
    environment = {**os.environ, "ASSAYER_TOKEN": "s€cret", "ASSAYER_SERVER": "http://127.0.0.1:1"}
    found = subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=tmp_path, env=environment | {"PYTHONPATH": str(Path.cwd())}, capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    assert found.returncode == status, found.stderr
    assert "ASSAYER_TOKEN: character 2" in found.stderr
    assert "Traceback" not in found.stderr
    assert found.stderr.strip().count("\n") == 0
