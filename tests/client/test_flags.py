"""Conflicting flags are named; failed trials and unknown studies are described."""

from __future__ import annotations

import json

import pytest

from service.cli.main import main
from service.cli.parser import parser
from tests.client.conftest import Study

RAISED = 'Traceback (most recent call last):\n  File "mine.py", line 3, in train\nKeyError: 7\n'


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["show", "s", "--spec", "--trial", "1"], ["--spec", "--trial"]),
        (["show", "s", "--spec", "--json"], ["--spec", "--json"]),
        (["plan", "f", "--like", "s", "--step-seconds", "1"], ["--like", "--step-seconds"]),
        (["predictions", "s", "1", "--split", "val", "--out", "f"], ["--split", "--out"]),
        (["predictions", "s", "1", "--out", "f", "--json"], ["--out", "--json"]),
        (["predictions", "s", "--out", "f"], ["--out", "needs a TRIAL"]),
        (["trials", "s", "--csv", "--parquet", "f"], ["--csv", "--parquet"]),
        (["trials", "s", "--csv", "--json"], ["--csv", "--json"]),
        (["trials", "s", "--limit", "3", "--all"], ["--limit", "--all"]),
        (["trials", "s", "--limit", "0"], ["--limit", "must be an integer of at least 1, got '0'"]),
        (["trials", "s", "--reverse"], ["--reverse", "needs --sort"]),
    ],
)
def test_flags_that_contradict_each_other_are_both_named(
    words: list[str], named: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 2
    told = capsys.readouterr().err.splitlines()[-1]
    for each in named:
        assert each in told


def test_accept_takes_several_boxes_after_one_flag() -> None:
    words = ["accept", "s", "--box", "optimizer.lr=[1e-3, 1e-2]", "optimizer.name=[adamw]", "--box", "depth=[1, 2]"]
    assert parser().parse_args(words).box == ["optimizer.lr=[1e-3, 1e-2]", "optimizer.name=[adamw]", "depth=[1, 2]"]


def test_the_traceback_of_a_failed_trial_is_shown_and_logged(study: Study) -> None:
    name = study.create()
    trials = study.client.open_trials(name)  # kept: it gives its trial back when it is closed
    trial = next(trials)
    trial.fail("KeyError: 7", details=RAISED)
    assert RAISED.rstrip() in study("show", name, "--trial", "0", shows_traceback=True)
    assert study("logs", name, "0", shows_traceback=True) == f"attempt 1 failed: KeyError: 7\n{RAISED}"
    followed = study("logs", name, "0", "--follow", shows_traceback=True)
    assert followed.endswith(f"attempt 1 failed: KeyError: 7\n{RAISED}")
    page = json.loads(study("logs", name, "0", "--json", shows_traceback=True))
    assert (page["state"], page["failure"], page["traceback"]) == ("failed", "user_exception", RAISED)


def test_the_log_of_a_trial_that_did_well_ends_with_what_it_printed(study: Study) -> None:
    name = study.create()
    study.finish(name)
    assert study("logs", name, "0") == ""


def test_an_unknown_study_is_answered_with_the_nearest_three(study: Study) -> None:
    for name in ("mnist-a", "mnist-b", "mnist-c", "mnist-d", "other"):
        study.create(name=name)
    told = study("show", "mnist", status=1)
    assert told.count("mnist-") == 3
    assert "did you mean" in told
    assert "the nearest names:" in study("show", "zzzzzzzzzzzz", status=1)
