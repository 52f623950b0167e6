"""`study trials`: filters, columns, sort order and output formats."""

from __future__ import annotations

import csv
import io
import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from service.cli.trial_table import TrialTable
from service.client.errors import InvalidStudy
from service.contract.study import StudySpec
from service.contract.trial import TrialKind, TrialState, TrialView
from tests.client.conftest import Study
from tests.client.studies import hand_driven

BEGUN = datetime(2026, 11, 1, tzinfo=UTC)
SPEC = StudySpec.model_validate(hand_driven())


def trial(number: int, value: float | None = None, **changes: Any) -> TrialView:
    facts: dict[str, Any] = {
        "id": f"t{number}",
        "number": number,
        "kind": TrialKind.SEARCH,
        "state": TrialState.COMPLETED if value is not None else TrialState.FAILED,
        "parameters": {"lr": 10.0 ** -(number % 5)},
        "values": None if value is None else [value],
        "infeasible": False,
        "suggestion_reason": "random",
        "state_reason": None if value is not None else "boom",
        "stage": None,
        "step": number,
        "num_attempts": 1,
        "metrics": {"seconds": float(number)},
        "created_at": BEGUN,
        "started_at": BEGUN,
        "finished_at": BEGUN + timedelta(seconds=number),
        "revision": number,
    }
    return TrialView.model_validate(facts | changes)


def numbers(table: TrialTable) -> list[int]:
    return [row["number"] for row in table.rows.values()]


def table() -> TrialTable:
    return TrialTable(SPEC, [trial(0, 0.5), trial(1, 0.9), trial(2), trial(3, 0.7)])


@pytest.mark.parametrize(
    ("column", "reverse", "order"),
    [
        ("value", False, [1, 3, 0, 2]),
        ("val/accuracy", False, [1, 3, 0, 2]),
        ("value", True, [0, 3, 1, 2]),
        ("lr", False, [3, 2, 1, 0]),
        ("duration", True, [3, 2, 1, 0]),
        ("seconds", False, [0, 1, 2, 3]),
        ("reason", False, [2, 0, 1, 3]),
        ("state", False, [0, 1, 3, 2]),
    ],
)
def test_an_objective_sorts_from_the_best_on_anything_else_ascends_and_what_lacks_it_is_last(
    column: str, reverse: bool, order: list[int]
) -> None:
    trials = table()
    trials.sort(column, reverse=reverse)
    assert numbers(trials) == order


def test_smaller_values_of_an_objective_to_minimize_are_the_best() -> None:
    spec = StudySpec.model_validate(hand_driven(objective={"metric": "loss", "direction": "minimize"}, reference=None))
    trials = TrialTable(spec, [trial(0, 0.5), trial(1, 0.9), trial(2), trial(3, 0.7)])
    trials.sort("value", reverse=False)
    assert numbers(trials) == [0, 3, 1, 2]


@pytest.mark.parametrize(
    ("conditions", "left"),
    [
        (["state=completed"], [0, 1, 3]),
        (["state != completed"], [2]),
        (["lr>1e-3"], [0, 1, 2]),
        (["lr>=1e-3", "state=completed"], [0, 1, 3]),
        (["value<0.7"], [0]),
        (["reason=boom"], [2]),
        (["infeasible=false"], [0, 1, 2, 3]),
        (["value=null"], [2]),
        (["number=1"], [1]),
        (["finished>=2026-11-01T00:00:02"], [2, 3]),
    ],
)
def test_trials_that_meet_every_condition_are_kept(conditions: list[str], left: list[int]) -> None:
    trials = table()
    trials.filter(conditions)
    assert numbers(trials) == left


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        ("stat=completed", "--filter: there is no column 'stat'; did you mean 'state'?"),
        ("completed", "--filter: 'completed' is not a condition; write COLUMN=VALUE"),
        ("=3", "is not a condition"),
    ],
)
def test_an_invalid_condition_names_the_remedy(condition: str, message: str) -> None:
    with pytest.raises(InvalidStudy) as caught:
        table().filter([condition])
    assert message in str(caught.value)


def test_all_trials_come_in_pages_and_every_form_has_them(
    study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = study.create(budget={"trials": 35})
    study.finish(name)
    monkeypatch.setattr("service.cli.commands.trials.PAGE_TRIALS", 4)
    page = study("trials", name).splitlines()
    assert page[0].split() == ["number", "state", "val/accuracy", "step", "lr", "reason"]
    assert len(page) == 1 + 30 + 1
    assert page[-1] == "(5 more; print all with --all, or N with --limit N)"
    assert len(study("trials", name, "--all").splitlines()) == 36
    best = study("trials", name, "--sort", "value", "--limit", "2", "--columns", "number,value").splitlines()
    assert [line.split() for line in best[:3]] == [["number", "value"], ["34", "1.04"], ["33", "1.03"]]
    rows = list(csv.DictReader(io.StringIO(study("trials", name, "--csv", "--columns", "number,lr,val/accuracy"))))
    assert [int(row["number"]) for row in rows] == list(range(35))
    views = study.json("trials", name)
    assert [float(row["lr"]) for row in rows] == [view["parameters"]["lr"] for view in views]
    assert json.loads(study("trials", name, "--json", "--columns", "number", "--filter", "number<2")) == [
        {"number": 0},
        {"number": 1},
    ]
    file = tmp_path / "trials.parquet"
    study("trials", name, "--parquet", str(file), "--columns", "number,state,val/accuracy,started")
    written = parquet.read_table(file)
    assert written.column("number").to_pylist() == list(range(35))
    assert written.column("val/accuracy").to_pylist()[34] == pytest.approx(1.04)
    assert study("trials", name, "--sort", "val/acuracy", status=1).startswith("--sort: there is no column")


def test_ten_thousand_trials_are_filtered_sorted_and_written_in_a_second_or_two() -> None:
    trials = [trial(number, number / 7 % 1) for number in range(10_000)]
    began = time.process_time()
    rows = TrialTable(SPEC, trials)
    rows.filter(["state=completed", "lr>1e-4"])
    rows.sort("value", reverse=False)
    assert len(rows.csv(rows.columns).splitlines()) == 8_001
    assert time.process_time() - began < 2


def test_a_pipe_gets_every_value_whole(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    space = {f"a_parameter_with_a_long_name_{at}": {"type": "float", "low": 0.1, "high": 0.9} for at in range(9)}
    name = study.create(space=space, description="long")
    study.finish(name)
    for words in (("show", name), ("show", name, "--trial", "0"), ("trials", name)):
        page = study(*words)
        for parameter in space:
            assert parameter in page
        assert "…" not in page
    line = next(line for line in study("show", name).splitlines() if line.startswith("0 "))
    assert all(parameter in line for parameter in space)
