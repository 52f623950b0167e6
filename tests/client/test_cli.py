"""The `study` command: every command against a real service; each mistake is one sentence and an exit status."""

from __future__ import annotations

import io
import json
import os
import re
import sys
import threading
import uuid
from pathlib import Path
from typing import Any

import pytest

from service.cli.commands import table
from service.cli.main import main
from service.contract.attempt import CheckpointRequest, FinishRequest, Outcome
from service.contract.base import TaskKind
from service.contract.capabilities import Capabilities, Device
from service.contract.claim import ClaimRequest, Grant
from service.contract.provenance import ProvenanceRequest, WarningRequest
from service.contract.report import Point, ReportRequest
from tests.client.conftest import Study
from tests.client.studies import hand_driven
from tests.support.forked_commands import COMMANDS
from tests.support.service import ROOT, free_port
from tests.worker.waiting import eventually


def study_file(directory: Path, **changes: Any) -> str:
    path = directory / "study.yaml"
    path.write_text(json.dumps(hand_driven(**changes)))  # JSON is YAML
    return str(path)


def test_create_takes_a_file_and_says_how_to_go_on(study: Study, tmp_path: Path) -> None:
    told = study("create", study_file(tmp_path), "--name", "renamed")
    assert told == "created renamed (3 trials); follow it with: study watch renamed\n"
    assert "there is already a study 'renamed'" in study("create", study_file(tmp_path, name="renamed"), status=1)


def test_create_tells_the_setting_that_the_service_refuses(study: Study, tmp_path: Path) -> None:
    path = study_file(tmp_path, space={"lr": {"type": "float", "low": 0, "high": 1, "when": {"depth": 1}}})
    assert study("create", path, status=1).startswith(f"{path}: space.lr")


def test_create_refuses_a_name_that_is_none(study: Study, tmp_path: Path) -> None:
    assert study("create", study_file(tmp_path), "--name", "my study", status=1).startswith(
        "--name: name: must be letters"
    )


def test_list_shows_every_study(study: Study) -> None:
    name = study.create()
    assert name in study("list")
    assert name in [view["name"] for view in study.json("list")["studies"]]


def test_show_tells_the_study_and_its_trials(study: Study) -> None:
    name = study.create()
    assert "no trials yet; start a worker with: worker --cpu" in study("show", name)
    study.finish(name)
    page = study("show", name)
    assert "3/3 finished; 3 completed" in page
    assert "val/accuracy 0.72 (trial 2)" in page
    assert study.json("show", name)["state"] == "completed"


def test_show_tells_one_trial_in_full(study: Study) -> None:
    name = study.create()
    study.finish(name)
    page = study("show", name, "--trial", "1")
    assert "val/accuracy" in page
    assert "1 to 2" in page
    assert study.json("show", name, "--trial", "1")["number"] == 1
    assert "99" in study("show", name, "--trial", "99", status=1)


def test_plan_says_what_a_file_will_cost_and_begins_nothing(study: Study) -> None:
    before = len(study.client.studies().studies)
    said = study("plan", str(ROOT / "examples" / "digits.yaml"), "--step-seconds", "30")
    assert "at most 1200 epochs, as many as 60 whole trainings" in said
    assert "at most 10 device-hours" in said
    assert len(study.client.studies().studies) == before


def test_replay_says_what_another_pruner_would_have_saved(study: Study) -> None:
    name = study.client.create_study(hand_driven(resource={"name": "epoch", "max": 9})).name
    for trial in study.client.open_trials(name):
        with trial:
            for step in range(1, 10):
                trial.report(step, {"val/accuracy": 0.5 - 0.1 * (trial.number or 0) + step / 100})
    said = study("replay", name, "--pruner", "{name: asha, min: 1}")
    # Of 27 steps the best trial trains to step 3, and the two others to the first.
    assert "would have saved 81% of the steps; the best value would be 0.06 worse" in said
    assert "did you mean 'asha'?" in study("replay", name, "--pruner", "asah", status=1)


def test_importance_says_which_parameters_mattered(study: Study) -> None:
    space = {name: {"type": "float", "low": 0.0, "high": 1.0} for name in ("lr", "dummy")}
    name = study.client.create_study(hand_driven(space=space, budget={"trials": 20})).name
    assert "0 trials have ended so far; importance needs 20" in study("importance", name)
    for trial in study.client.open_trials(name):
        trial.report(1, {"val/accuracy": float(str(trial.parameters["lr"]))})
    most, least = study.json("importance", name)["parameters"]
    assert (most["name"], least["name"]) == ("lr", "dummy")
    page = study("importance", name)
    assert f"{most['share']:.0%}" in page
    assert "shares of what sets the best 5 of 20 trials apart from all" in page


def test_show_tells_where_a_trial_pauses_and_what_the_service_changed(study: Study) -> None:
    asha = {"pruner": {"name": "asha", "min": 1}, "resource": {"name": "epoch", "max": 9}}
    name = study.client.create_study(hand_driven(**asha)).name
    for trial in study.client.open_trials(name):
        with trial:
            assert trial.run_until == 1
            trial.report(1, {"val/accuracy": 0.25})
        break
    assert "asha continues in mode stop: trial 0 saved no checkpoint by step 1" in study("show", name).replace(
        "\n", " "
    )
    assert "0.25 (place 1 of 1)" in study("show", name, "--trial", "0")


def test_show_tells_what_an_attempt_was_made_from_and_warns(study: Study) -> None:
    name = study.create()
    with study.client.open_trial(name) as trial:  # type: ignore[union-attr]
        key, nonce = (trial.grant.trial, trial.grant.attempt), trial.grant.nonce
        made_from = ProvenanceRequest(nonce=nonce, data="d" * 64, environment={"device": "NVIDIA L4"})
        study.client.provenance(*key, made_from)
        study.client.warn(*key, WarningRequest(nonce=nonce, message="the last checkpoint was not kept"))
    page = study("show", name, "--trial", "0")
    assert "NVIDIA L4" in page
    assert "d" * 12 in page
    assert "attempt 1: the last checkpoint was not kept" in page


def test_workers_with_several_gpus_are_shown_slot_by_slot(study: Study) -> None:
    l4, one, two = (Device(kind="cuda", index=index, name=name) for index, name in enumerate(("L4", "H200", "H200")))
    request = ClaimRequest(
        request_id=uuid.uuid4().hex,
        worker=f"two-{uuid.uuid4().hex[:6]}",
        slot="gpu0",
        capabilities=Capabilities(devices=[l4], slots={"gpu0": [l4], "gpu1.2": [one, two]}),
    )
    study.client.claim(request)
    assert "gpu0: L4, gpu1.2: 2 x H200" in study("workers")


def test_with_several_objectives_best_prints_the_front_as_a_table(study: Study) -> None:
    objectives = [
        {"metric": "val/accuracy", "direction": "maximize"},
        {"metric": "size", "direction": "minimize"},
    ]
    name = study.create(objective=objectives, reference=None, trials=4, reference_point=[0.5, 100])
    assert "no trial completed yet" in study("best", name)
    for trial, (accuracy, size) in zip(
        study.client.open_trials(name), [(0.7, 20.0), (0.9, 50.0), (0.8, 60.0), (0.6, 10.0)], strict=True
    ):
        trial.report(1, {"val/accuracy": accuracy})
        trial.finish({"size": size})
    lines = study("best", name).splitlines()
    assert [line.split()[:3] for line in lines[:4]] == [
        ["trial", "val/accuracy", "size"],
        ["1", "0.9", "50"],
        ["0", "0.7", "20"],
        ["3", "0.6", "10"],
    ]
    assert lines[-1] == "hypervolume 27, up to the reference point 0.5, 100"
    assert [trial["number"] for trial in study.json("best", name)["trials"]] == [0, 1, 3]
    page = study("show", name)
    assert "maximize val/accuracy, minimize size" in page
    assert "a front of 3 trials" in page
    assert "0.8, 60" in page
    assert "0.8, 60" in study("show", name, "--trial", "2")
    assert "a front of 3 trials" in study("list")
    assert f"{name}: 4/4 finished, best a front of 3 trials" in study("watch", name)


def test_best_tells_parameters_and_value(study: Study) -> None:
    name = study.create()
    assert study("best", name, status=1)
    study.finish(name)
    assert study.json("best", name)["values"] == [0.72]
    assert "lr" in study("best", name)


def test_a_study_is_steered(study: Study) -> None:
    name = study.create()
    assert study("pause", name, "--reason", "need the [GPU]").startswith(f"{name} is paused")
    assert study("resume", name, "--reason", "the GPU is free").startswith(f"{name} is active")
    (resumed,) = study.client.events(name, kind="study_resumed").events
    assert resumed.data == {"reason": "the GPU is free"}
    assert study.json("extend", name, "--trials", "5")["budget_trials"] == 5
    assert study("enqueue", name, "lr=1e-2") == "queued; 0 ahead of it\n"
    assert study.json("enqueue", name, "lr=2e-2")["num_ahead"] == 1
    assert study("stop", name).startswith(f"{name} is stopped")
    assert study("resume", name, status=1)


def test_a_trial_is_released_from_its_worker(study: Study) -> None:
    name = study.create()
    trial = study.client.open_trial(name)
    assert trial is not None
    assert study("release", name, "0", "--reason", "its host hangs") == f"trial 0 of {name} is waiting\n"
    assert study("release", name, "0", status=1) == "trial 0 is waiting; only a running trial can be released\n"
    shown = study.json("show", name, "--trial", "0")
    assert (shown["state_reason"], shown["attempts"][0]["state"]) == ("its host hangs", "released")
    assert study.client.release(name, 0, attempt=1).state == "waiting"


def test_a_study_is_deleted_after_its_name_is_typed(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    name, words = study.create(), io.StringIO("")
    monkeypatch.setattr("sys.stdin", words)
    assert study("delete", name, status=1) == f"study delete: deletes {name} permanently; in a script, add --yes\n"
    monkeypatch.setattr(words, "isatty", lambda: True)
    for typed in ("", "yes", f"{name}x"):
        words.seek(0)
        words.truncate()
        words.write(typed + "\n")
        words.seek(0)
        assert "the name does not match; nothing was deleted" in study("delete", name, status=1)
    words.seek(0)
    words.write(name + "\n" * 20)
    words.seek(0)
    assert study("delete", name) == f"deleted {name}\n"
    assert "there is no study" in study("show", name, status=1)


def test_a_study_is_deleted_by_a_script_once_none_of_its_trials_runs(study: Study) -> None:
    name = study.create()
    trial = study.client.open_trial(name)
    assert trial is not None
    refused = study("delete", name, "--yes", status=1)
    assert refused.startswith(f"trial 0 of {name!r} runs; stop the study and wait (study stop {name})")
    study("release", name, "0")
    assert study.json("delete", name, "--yes")["name"] == name
    assert study("delete", name, "--yes", status=1).startswith("there is no study")


def test_plan_tells_hours_by_another_study(study: Study, tmp_path: Path) -> None:
    name = study.create()
    path = study_file(tmp_path, resource={"name": "epoch", "max": 2})
    assert "has been timed yet" in study("plan", path, "--like", name, status=1)
    study.finish(name)
    told = study("plan", path, "--like", name)
    assert "device-hours" in told
    assert f"in {name}, the median of 3 attempts" in told


def test_budgets_are_shown_and_extended(study: Study) -> None:
    name = study.create(budget={"trials": 5, "hours": 2, "target": 0.9})
    assert "0 of 2 hours, target 0.9" in study("show", name)
    view = study.json("extend", name, "--hours", "3", "--target", "0.95")
    assert (view["spec"]["budget"]["hours"], view["spec"]["budget"]["target"]) == (3, 0.95)
    assert study("extend", name, "--hours", "3", status=1) == (
        "the budget is 3 hours; name more than that to extend it\n"
    )
    assert study("extend", name, status=1).startswith("study extend: name a budget to extend: trials, hours,")


def test_text_from_users_is_never_read_as_markup(study: Study) -> None:
    name = study.create(space={"a": {"type": "categorical", "choices": ["[red]", ":smile:"]}}, sampler="grid", trials=2)
    study.finish(name)
    page = study("show", name)
    assert "a=[red]" in page
    assert "a=:smile:" in page


def test_enqueue_explains_what_it_does_not_understand(study: Study) -> None:
    name = study.create()
    assert study("enqueue", name, "lr", status=1) == "lr: write KEY=VALUE, such as optimizer.lr=3e-3\n"
    assert study("enqueue", name, "lr={a: 1}", status=1).startswith("lr={a: 1}: the value must be a number")
    assert "ls" in study("enqueue", name, "ls=1e-2", status=1)


def test_a_fork_is_made_shown_and_named_by_its_id(study: Study) -> None:
    name = study.create(trials=1)
    with study.client.open_trial(name) as trial:  # type: ignore[union-attr]
        key, nonce = (trial.grant.trial, trial.grant.attempt), trial.grant.nonce
        trial.report(1, {"val/accuracy": 0.7})
        saved = CheckpointRequest(nonce=nonce, step=1, sha256="0" * 64, size=1, uri="file:///1")
        assert eventually(lambda: study.client.trial(name, 0).series != [], 10)
        study.client.checkpoint(*key, saved)
    assert "at: trial 0 has no checkpoint of step 7; it has checkpoints of these steps: 1" in study(
        "fork", name, "0", "--at", "7", "--set", "lr=2e-2", status=1
    )
    assert "has no trial 9" in study("fork", name, "9", "--set", "lr=2e-2", status=1)
    said = study("fork", name, "0", "--at", "1", "--set", "lr=3e-2", "--set", "lr=2e-2")
    (fork,) = study.client.forks(name).trials
    assert said.startswith(f"forked from trial 0 at step 1 with lr=0.02; it waits as {fork.id}")
    page = study("show", name)
    assert f"{name} " in page
    assert fork.id in page
    assert "0.02" in study("show", name, "--trial", fork.id)
    assert study.json("show", name, "--trial", fork.id)["parent_step"] == 1
    (forked,) = study.client.open_trials(name)
    assert (forked.number, forked.parameters) == (None, {"lr": 0.02})
    assert study("logs", name, fork.id) == ""


def test_watch_follows_to_the_end(study: Study) -> None:
    name = study.create()
    driver = threading.Thread(target=study.finish, args=(name,))
    driver.start()
    told = study("watch", name)
    driver.join()
    assert f"{name}: 3/3 finished, best val/accuracy 0.72 (trial 2)" in told
    assert f"{name} is completed" in told.splitlines()[-1]
    lines = [json.loads(line) for line in study("watch", name, "--json").splitlines()]
    assert lines[-1]["state"] == "completed"


def test_an_unknown_study_is_one_sentence(study: Study) -> None:
    name = study.create()
    for verb in ("show", "best", "watch", "pause", "resume", "stop"):
        told = study(verb, name + "x", status=1)
        assert told.startswith(f"there is no study '{name}x'; did you mean '{name}'"), told
        assert len(told.splitlines()) == 1


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["--help"])
    assert caught.value.code == 0
    told = capsys.readouterr().out
    assert set(table.COMMANDS) <= {line.split()[0] for line in told.splitlines() if re.match(r" {4}\w", line)}


def test_words_that_are_no_command_are_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["extend"])
    assert caught.value.code == 2


def test_without_a_service_a_process_ends_with_one_sentence() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    done = COMMANDS.run(
        [sys.executable, "-m", "service.cli.main", "list"],
        cwd=ROOT,
        env=os.environ | {"ASSAYER_SERVER": url},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"no service at {url}; start one with `assayer serve` or pass --server\n"


def test_workers_are_listed_and_one_that_nobody_knows_cannot_be_readmitted(study: Study) -> None:
    name = study.create()
    with study.client.open_trial(name) as trial:  # type: ignore[union-attr]
        trial.report(1, {"val/accuracy": 0.7})
        [worker] = study.json("workers")["workers"][:1]
        told = study("workers")
        assert told.startswith("worker")
        assert worker["name"] in told
        assert "alive" in told
    assert f"{worker['name']} on" in study("readmit", worker["name"])
    assert "there is no worker 'nobody'" in study("readmit", "nobody", status=1)


def test_edit_changes_one_setting_or_all_of_a_file_and_show_tells_what_changed(study: Study, tmp_path: Path) -> None:
    name = study.create()
    assert study("edit", name, "--set", "space.lr.high=1", "--set", "budget.trials=5") == (
        f"{name}: now uses version 2 of its spec\n"
    )
    path = tmp_path / "edited.yaml"
    path.write_text(study("show", name, "--spec").replace("high: 1.0", "high: 2.0"))
    assert path.read_text().startswith(f"# version 2 of {name}; edit it, then: study edit {name} FILE\n")
    assert study("edit", name, str(path)) == f"{name}: now uses version 3 of its spec\n"
    assert study("edit", name, "--set", "space.lr.high=2") == f"{name}: nothing changed\n"
    page = study("show", name)
    assert "space.lr.high: 0.1 -> 1.0" in page
    assert "budget.trials: 3 -> 5" in page
    assert "space.lr.high: 1.0 -> 2.0" in page


def test_edit_refuses_a_file_that_was_written_before_another_edit(study: Study, tmp_path: Path) -> None:
    name = study.create()
    path = tmp_path / "edited.yaml"
    path.write_text(study("show", name, "--spec") + "priority: 3\n")
    study("edit", name, "--set", "priority=1")
    assert "the study is at version 2 of its spec, and this edit was made from version 1" in study(
        "edit", name, str(path), status=1
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "study edit: name a study file, or write --set PATH=VALUE, such as --set budget.trials=100"),
        (["--set", "budjet.trials=9"], "--set: budjet: no such setting; did you mean 'budget'?"),
        (["--set", "space.lr.high=1e-9"], "--set: space.lr: low must be below high, got low 0.0001 and high 1e-09"),
        (["--set", "space.lr.high.more=1"], "there is nothing called 'more' there; edit a file instead"),
        (["--set", "objective.metric=loss"], 'objective.metric: cannot change ("val/accuracy" -> "loss")'),
    ],
)
def test_an_empty_edit_names_the_remedy(study: Study, words: list[str], message: str) -> None:
    assert message in study("edit", study.create(), *words, status=1)


def test_a_proposed_box_is_shown_accepted_or_another_in_its_place(study: Study) -> None:
    stages = [{"trials": 2}, {"trials": 1}, {"trials": 1}]
    name = study.create(trials=4, sampler={"name": "coarse_to_fine", "stages": stages, "review": True})

    def work() -> None:
        """Take part until the study asks a person."""
        claim = ClaimRequest(
            request_id=uuid.uuid4().hex,
            worker="w",
            capabilities=Capabilities(tasks=[TaskKind.EXTERNAL]),
            studies=[name],
        )
        while isinstance(grant := study.client.claim(claim), Grant):
            point = Point(step=1, metrics={"val/accuracy": 0.5 + (grant.number or 0) / 100})
            study.client.report(
                grant.trial, grant.attempt, ReportRequest(nonce=grant.nonce, sequence=1, points=[point])
            )
            done = FinishRequest(nonce=grant.nonce, outcome=Outcome(result="succeeded"))
            study.client.finish(grant.trial, grant.attempt, done)
            claim = claim.model_copy(update={"request_id": uuid.uuid4().hex})

    assert "no box of stage 1 (counted from 0)" in study("accept", name, status=1)
    work()
    assert "stage 2 of 3 waits for a review of its box: lr [0.0001, 0.1] -> " in study("show", name)
    assert "(proposed)" in study("show", name)
    assert "accept it: study accept" in study("resume", name, status=1)
    assert "box.lr: 9.0 is outside the declared space" in study("accept", name, "--box", "lr=[1e-3, 9.0]", status=1)
    assert "write NAME=[LOW, HIGH]" in study("accept", name, "--box", "lr=3", status=1)
    assert study("accept", name, "--box", "lr=[1e-3, 2e-3]") == f"{name} is active (2/4 finished)\n"
    work()
    assert study("accept", name).startswith(f"{name} is active")
    page = study("show", name)
    assert "-> [0.001, 0.002] as a user chose (edited)" in page
    assert "stage 3 of 3  lr [0.001, 0.002] -> " in page


def test_the_catalogue_is_shown_by_section_and_entry_with_custom_entries(study: Study) -> None:
    width = {"type": "int", "default": 16, "low": 1, "description": "of each layer"}
    sort = {"type": "str", "required": True, "choices": ["wide", "deep"]}
    net = {"description": "A net of mine.", "parameters": {"width": width, "sort": sort}}
    study.client.register_entries("tower", {"model": {"my_net": net, "my_line": {}}})

    whole = " ".join(study("catalogue").split())
    assert "optimizer sgd, adam, adamw" in whole
    assert "transformers, my_line, my_net" in whole
    assert "settings batch_size, epochs" in whole

    rows = {line.split()[0]: line for line in study("catalogue", "model").splitlines()}
    assert rows["my_net"].split() == ["my_net", "tower", *["A", "net", "of", "mine.", "width,", "sort"]]
    assert rows["linear"].split()[:2] == ["linear", "A"], "an entry of the core has no source"

    title, told, _, _, *options = study("catalogue", "model", "my_net").splitlines()
    assert title == "A net of mine."
    assert told.startswith("registered by worker tower at 20")
    assert [option.split() for option in options] == [
        ["width", "int", "16", "from", "1", "of", "each", "layer"],
        ["sort", "str", "required", "wide,", "deep"],
    ]
    assert "it has no options" in study("catalogue", "model", "my_line")
    assert "above 0" in study("catalogue", "settings", "clip_norm")
    found = study.json("catalogue", "model", "my_net")
    assert list(found["registries"]) == ["model"]
    assert list(found["registries"]["model"]) == ["my_net"]
    assert list(study.json("catalogue", "settings", "epochs")["settings"]) == ["epochs"]

    assert "there is no section 'modle'; did you mean 'model'?" in study("catalogue", "modle", status=1)
    assert "there is no model 'my_nett'; did you mean 'my_net'?" in study("catalogue", "model", "my_nett", status=1)
