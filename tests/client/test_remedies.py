"""`study apply` shows and carries out a remedy of a real finding, and `study next` drafts or says why not."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest

from tests.client.conftest import Study

SECONDS, ATTEMPTS = 30.0, 7


@pytest.fixture
def diverged(study: Study) -> str:
    """A study whose only trial diverged, diagnosed by the service."""
    return next(name for _ in range(ATTEMPTS) if (name := _diagnosed(study)) is not None)


def _diagnosed(study: Study) -> str | None:
    """Let a trial diverge and wait for its diagnosis.

    A service that starts on a busy machine lets the study rest whose first judgement took long, so None is returned
    after some seconds.
    """
    name = study.create(trials=4)
    trial = study.client.open_trial(name)
    assert trial is not None
    with trial:
        for step in range(1, 13):
            loss = 1.0 / step if step < 8 else math.nan
            trial.report(step, {"train/loss": loss, "val/loss": loss, "val/accuracy": 0.5})
    deadline = time.monotonic() + SECONDS
    while study.client.trial_diagnosis(name, 0).lags:
        if time.monotonic() > deadline:
            return None
        time.sleep(0.2)
    return name


def test_a_remedy_is_shown_and_carried_out(study: Study, diverged: str) -> None:
    told = study("apply", diverged, "diverged", "--trial", "0", "--dry-run")
    assert told.startswith(f"would queue a configuration of {diverged}\n  queue: lr=")
    assert "add --yes" in study("apply", diverged, "diverged", "--trial", "0", status=1)
    assert study.client.study(diverged).spec_version == 1
    done = study.json("apply", diverged, "diverged", "--trial", "0", "--yes")
    assert (done["kind"], done["dry_run"]) == ("enqueue", False)
    assert [event.kind for event in study.client.events(diverged, kind="remedy_applied").events] == ["remedy_applied"]
    next_trial = study.client.open_trial(diverged)
    assert next_trial is not None
    with next_trial:
        next_trial.report(1, {"val/accuracy": 0.6})
    assert f"lr={next_trial.parameters['lr']}" in done["changes"][0]


def test_what_cannot_be_applied_is_told(study: Study, diverged: str) -> None:
    assert "there are: diverged" in study("apply", diverged, "overfitting", "--trial", "0", status=1)
    assert "counted from 1" in study("apply", diverged, "diverged", "--trial", "0", "--remedy", "99", status=1)
    assert "has no trial 7" in study("apply", diverged, "diverged", "--trial", "7", status=1)


def test_a_study_without_changes_says_how_to_confirm_its_best_trial(study: Study, tmp_path: Path) -> None:
    name = study.create(trials=1)
    study.finish(name)
    told = study("next", name).splitlines()
    assert told[0] == f"# no finding about {name} suggests a change of its study file."
    assert told[-1].startswith(f"#   study enqueue {name} 'lr=")
    assert study.json("next", name)["changes"] == []
    assert study("next", name, "--out", str(tmp_path / "next.yaml")) == ""
    assert not (tmp_path / "next.yaml").exists()
