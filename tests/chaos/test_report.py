"""The chaos report: the same figures in all three formats, with broken promises first."""

from __future__ import annotations

import json

import pytest
from rich.console import Console

from tests.chaos.chaos import Result
from tests.chaos.faults import Kind
from tests.chaos.report import as_json, as_markdown, table


@pytest.fixture
def result() -> Result:
    return Result(
        num_trials=1000,
        seed=7,
        violations={"nothing is doubled": ["trial 3 ended twice"], "nothing is lost": []},
        seconds=100.0,
        steps_trained=6300,
        steps_counted=6000,
        faults={Kind.CHILD_KILLED: 20},
        messages={"requests": 12_345},
        refusals={"lease_superseded": 4},
        attempts={"succeeded": 1000},
    )


def test_waste_is_what_was_trained_beyond_what_counts(result: Result) -> None:
    assert (result.waste, result.num_violations) == (0.05, 1)


def test_the_table_shows_what_was_broken(result: Result) -> None:
    console = Console(width=120, record=True)
    with console.capture() as shown:
        console.print(table(result))
    for said in (
        "5.0%",
        "training processes killed",
        "answers lease_superseded",
        "BROKEN",
        "trial 3 ended twice",
        "kept",
    ):
        assert said in shown.get()


def test_json_has_everything_by_name(result: Result) -> None:
    told = json.loads(as_json(result))
    assert (told["trials_per_second"], told["waste"], told["faults"]) == (10.0, 0.05, {"training processes killed": 20})
    assert told["violations"] == result.violations


def test_the_page_says_how_to_do_it_again(result: Result) -> None:
    page = as_markdown(result)
    assert "| nothing is doubled | **broken 1 times** |" in page
    assert page.endswith("    make chaos TRIALS=1000 SEED=7\n")
    assert all(len(line) <= 120 for line in page.splitlines())
