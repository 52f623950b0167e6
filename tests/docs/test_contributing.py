"""CONTRIBUTING.md names files and commands that exist."""

from __future__ import annotations

import re

import pytest

from tests.support.service import ROOT

TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
PATHS = sorted(
    {
        path
        for path in re.findall(r"`([\w./-]+/[\w./-]*)`", TEXT)
        if path.startswith(("service/", "worker/", "tests/", "docs/", ".devcontainer/")) and "NAME" not in path
    }
)
TARGETS = sorted(set(re.findall(r"`make (\w+)", TEXT)))


def test_it_names_paths_and_commands() -> None:
    assert len(PATHS) > 15
    assert len(TARGETS) > 3


@pytest.mark.parametrize("path", PATHS)
def test_a_path_exists(path: str) -> None:
    assert (ROOT / path).exists()


@pytest.mark.parametrize("target", TARGETS)
def test_a_command_exists(target: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE)
