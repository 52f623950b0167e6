"""The fingerprint of training code changes with its sources and only then."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

import worker
from worker.trial import provenance
from worker.trial.provenance import code_fingerprint, environment

PACKAGE = Path(worker.__file__).parent


@pytest.fixture
def copied(tmp_path: Path) -> Path:
    return Path(shutil.copytree(PACKAGE, tmp_path / "worker", ignore=shutil.ignore_patterns("__pycache__")))


def test_it_names_the_content_and_not_the_place(copied: Path) -> None:
    assert code_fingerprint(copied) == code_fingerprint()


@pytest.mark.parametrize("change", ["training/loop/trainer.py", "trial/tasks/train.py"])
def test_one_line_of_what_trains_changes_it(copied: Path, change: str) -> None:
    with (copied / change).open("a") as file:
        file.write("# another line\n")
    assert code_fingerprint(copied) != code_fingerprint()


def test_a_file_more_changes_it(copied: Path) -> None:
    (copied / "training" / "more.py").write_text("")
    assert code_fingerprint(copied) != code_fingerprint()


def test_the_agent_changes_no_result_and_no_fingerprint(copied: Path) -> None:
    (copied / "agent" / "loop.py").write_text("")
    assert code_fingerprint(copied) == code_fingerprint()


def test_another_version_of_a_library_changes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    before = code_fingerprint()
    monkeypatch.setattr(provenance, "_LIBRARIES", (*provenance._LIBRARIES, "httpx"))
    assert code_fingerprint() != before


def test_the_environment_says_what_may_explain_a_difference() -> None:
    assert environment(3)["threads"] == "3"
    assert {"python", "torch", "platform"} <= set(environment(1))
