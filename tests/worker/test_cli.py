"""The `worker` command line: every mistake is one sentence with a remedy and an exit status."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from service.contract.capabilities import Device
from tests.support.forked_commands import COMMANDS
from worker import cli
from worker.agent import LocalDevice, cpu, num_cores, state_dir
from worker.agent.devices import visible


def worker(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("ASSAYER_")}
    return COMMANDS.run(
        [sys.executable, "-m", "worker", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env=clean | environment,
        timeout=30,
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "--gpu 0 for the first GPU, or --cpu"),
        (["--gpu", "first"], "not a list of GPU numbers, such as 0 or 0,1"),
        (["--gpu", "0", "--cpu"], "not allowed with"),
        (["--cpu", "--share"], "--share applies only to GPUs, and --cpu uses none"),
        (["--cpu", "--label", "a=1", "--label", "a=2"], "--label a=1 and --label a=2 contradict each other; keep one"),
        (["--cpu", "--server", "ftp://tower"], "not a server's address"),
        (["--cpu", "--server", "http://tower:99999"], "not a server's address"),
        (["--cpu", "--pass-env", "a b"], "is not a variable, such as HF_TOKEN"),
        (["--cpu", "--pass-env", "ASSAYER_TOKEN"], "the service's token is never passed to training processes"),
        (["--cpu", "--for", "banana"], "is not a duration, such as 11h30m"),
        (["--cpu", "--until-done"], "--study NAME"),
        (["--cpu", "--slots", "0"], "whole number above 0"),
        (["--cpu", "--disk-gib", "much"], "is not a number of GiB, such as 20"),
        (["--cpu", "--checkpoints", "/nowhere"], "cannot write to --checkpoints /nowhere; mount it on this machine"),
        (["--cpu", "--tensorboard", "/proc/nowhere"], "cannot create this directory: "),
        (["--cpu", "--data", "/nowhere/data"], "the folder /nowhere/data does not exist"),
        (["--cpu", "--for", "soon"], "is not a duration, such as 11h30m, 45m or 90s"),
        (["--cpu", "--for", "0m"], "is not a duration"),
        (["--cpu", "--label", "cellar"], "is not a label, such as room=cellar"),
        (["--cpu", "--name", "a b"], "is not a worker name"),
        (["--cpu", "--server", "tower"], "not a server's address"),
        (["--cpu", "--state-dir", "/proc/nowhere"], "name another --state-dir"),
    ],
)
def test_a_command_line_that_cannot_work_is_one_sentence_and_status_2(arguments: list[str], said: str) -> None:
    result = worker(*arguments)
    assert result.returncode == 2
    assert said in result.stderr
    assert result.stderr.startswith("worker: ")
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_tensorboard_that_is_not_installed_is_named_with_its_extra(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli._parse(["--cpu", "--tensorboard", str(tmp_path / "new")]).tensorboard == tmp_path / "new"
    assert (tmp_path / "new").is_dir()
    monkeypatch.setattr(cli, "find_spec", lambda name: None)
    assert cli.main(["--cpu", "--tensorboard", str(tmp_path)]) == 2
    assert capsys.readouterr().err == (
        "worker: argument --tensorboard: tensorboard is not installed; run pip install 'assayer[tensorboard]' "
        "(see worker --help)\n"
    )


def test_a_missing_gpu_is_reported_with_the_existing_ones() -> None:
    result = worker("--gpu", "93")
    assert result.returncode == 2
    assert result.stderr.startswith("worker: there is no GPU 93 on this machine: ")
    assert "--cpu" in result.stderr


def test_help_teaches() -> None:
    result = worker("--help")
    assert result.returncode == 0
    for word in ("--gpu", "--cpu", "--until-done", "ASSAYER_TOKEN", "examples:", "Ctrl-C"):
        assert word in result.stdout


@pytest.mark.parametrize(
    ("arguments", "slots"),
    [
        (["--gpu", "0,1,2,3", "--devices-per-trial", "2"], {"gpu0.1": "GPU-0,GPU-1", "gpu2.3": "GPU-2,GPU-3"}),
        (["--gpu", "0,2", "--devices-per-trial", "2", "--slots", "1"], {"gpu0.2": "GPU-0,GPU-2"}),
        (["--cpu", "--devices-per-trial", "2"], {"cpu": ""}),
    ],
)  # fmt: skip
def test_devices_are_put_together_for_a_trial(arguments: list[str], slots: dict[str, str]) -> None:
    settings = cli._parse(arguments)
    gpus = [LocalDevice(Device(kind="cuda", index=index), visible=f"GPU-{index}") for index in settings.gpus]
    plans = cli._plan(gpus or [cpu()], settings)
    assert {plan.name: visible(plan.devices) for plan in plans} == slots
    assert {len(plan.devices) for plan in plans} == {2}


def test_devices_that_cannot_be_put_together_are_named() -> None:
    gpus = [LocalDevice(Device(kind="cuda", index=index), visible=f"GPU-{index}") for index in (0, 1, 3)]
    with pytest.raises(cli._UsageError, match="2 does not divide the number of GPUs, 3: gpu0, gpu1, gpu3"):
        cli._plan(gpus, cli._parse(["--gpu", "0,1,3", "--devices-per-trial", "2"]))


def test_studies_may_name_files_below_the_working_directory_or_the_folders_of_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "data")
    assert cli._parse(["--cpu"]).data == (tmp_path,)
    assert cli._parse(["--cpu", "--data", "link", "--data", "/usr"]).data == (tmp_path / "data", Path("/usr"))


def test_two_workers_on_one_host_get_two_names_and_an_explicit_name_must_be_free(tmp_path: Path) -> None:
    assert state_dir.acquire(tmp_path, "host", exactly=False) == ("host", tmp_path / "host")
    assert state_dir.acquire(tmp_path, "host", exactly=False) == ("host-2", tmp_path / "host-2")
    with pytest.raises(state_dir.DirectoryError, match="choose another --name"):
        state_dir.acquire(tmp_path, "host", exactly=True)


@pytest.mark.parametrize(
    ("flags", "tasks"),
    [
        ([], ["train", "estimator"]),
        (["--allow-functions"], ["train", "estimator", "function"]),
        (["--allow-commands", "--allow-functions"], ["train", "estimator", "function", "command"]),
    ],
)
def test_the_user_s_own_code_is_executed_only_where_that_is_allowed(flags: list[str], tasks: list[str]) -> None:
    assert list(cli._parse(["--cpu", *flags]).tasks) == tasks


def test_functions_may_be_allowed_of_some_modules_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli._parse(["--cpu", "--allow-functions"]).functions is None
    settings = cli._parse(["--allow-functions", "mine,other.training", "--cpu"])
    assert (settings.functions, list(settings.tasks)) == (
        ("mine", "other.training"),
        ["train", "estimator", "function"],
    )
    assert cli.main(["--cpu", "--allow-functions", "mine:train"]) == 2
    assert "'mine:train' is not a module, such as my_project" in " ".join(capsys.readouterr().err.split())


def test_a_module_to_register_is_looked_up_before_anything_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine_of_tests.py").write_text("raise SystemExit('imported')")
    (tmp_path / "package_of_tests").mkdir()
    monkeypatch.chdir(tmp_path)
    # As in the console script, whose own path does not have the working folder.
    monkeypatch.setattr(sys, "path", [folder for folder in sys.path if folder not in ("", str(tmp_path))])
    for name in ("mine_of_tests", "package_of_tests.losses", "json", "__main__"):
        assert cli._parse(["--cpu", "--register", name]).modules == (name,)
    assert cli.main(["--cpu", "--register", "nowhere_at_all.losses"]) == 2
    told = " ".join(capsys.readouterr().err.split())
    where = f"there is no module 'nowhere_at_all' in {tmp_path} or on PYTHONPATH"
    assert told == f"worker: argument --register: cannot register nowhere_at_all.losses: {where} (see worker --help)"


@pytest.mark.parametrize(("threads", "each"), [(None, max(1, num_cores() // 4)), (3, 3)])
def test_each_device_has_its_slots_and_its_share_of_the_cores(threads: int | None, each: int) -> None:
    devices = [LocalDevice(Device(kind="cuda", index=index), visible=f"GPU-{index}") for index in (0, 1)]
    arguments = ["--gpu", "0,1", "--slots", "2", *([] if threads is None else ["--threads", str(threads)])]
    plans = cli._plan(devices, cli._parse(arguments))
    assert [(plan.name, visible(plan.devices), plan.threads) for plan in plans] == [
        ("gpu0", "GPU-0", each),
        ("gpu0-2", "GPU-0", each),
        ("gpu1", "GPU-1", each),
        ("gpu1-2", "GPU-1", each),
    ]
