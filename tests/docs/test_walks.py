"""The walks in docs/architecture.md name files and functions that exist."""

from __future__ import annotations

import re

import pytest

from tests.docs.definitions import definitions
from tests.support.service import ROOT

HEADING = "## Four walks through the code\n"
SECTION = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8").partition(HEADING)[2].partition("\n## ")[0]
WALKS = dict(re.findall(r"^### (.*?)\n(.*?)(?=^### |\Z)", SECTION, re.MULTILINE | re.DOTALL))


def steps(walk: str) -> list[str]:
    """Return the numbered steps of a walk, each as one line."""
    return [" ".join(step.split()) for step in re.split(r"^\d+\. ", walk, flags=re.MULTILINE)[1:]]


def places(step: str) -> list[tuple[str, str]]:
    """Return (file, function or class) pairs of a step: a name belongs to the file that the text names before it."""
    found, path = [], ""
    for text in re.findall(r"`([^`]+)`", step):
        if "/" in text:
            path = text
        else:
            found.append((path, text))
    return found


def test_there_are_four_walks_of_several_steps() -> None:
    assert len(WALKS) == 4
    assert all(len(steps(walk)) >= 8 for walk in WALKS.values())


@pytest.mark.parametrize("title", WALKS)
def test_every_step_names_a_file_and_what_that_file_defines(title: str) -> None:
    for step in steps(WALKS[title]):
        named = places(step)
        assert named, step
        for path, name in named:
            assert (ROOT / path).is_file(), f"{path!r} in: {step}"
            assert name in definitions(path), f"{path} does not define {name}"
