"""The `assayer` command: every sub-command executes the program that it names, with its exit status."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.metadata import version

import pytest

from service.assayer import COMMANDS


def assayer(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "service.assayer", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_describes_itself(command: str) -> None:
    result = assayer(command, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("usage: ")


def test_help_lists_all_commands_and_comes_without_arguments() -> None:
    result = assayer("--help")
    assert result.stdout == assayer().stdout
    assert all(f"\n  {command} " in result.stdout for command in COMMANDS)


def test_arguments_and_output_pass_through() -> None:
    assert "paths" in json.loads(assayer("openapi").stdout)


def test_the_exit_status_is_that_of_the_command() -> None:
    result = assayer("study", "show")
    assert result.returncode == 2
    assert "usage: study show" in result.stderr


def test_an_unknown_command_names_the_nearest_one() -> None:
    result = assayer("wroker")
    assert (result.returncode, result.stderr) == (2, "assayer: there is no command 'wroker'; did you mean 'worker'?\n")
    assert "`assayer --help`" in assayer("zzz").stderr


def test_the_version_is_that_of_the_package() -> None:
    assert assayer("--version").stdout == f"assayer {version('assayer')}\n"
