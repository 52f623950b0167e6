"""Several processes train one model: equal numbers to one process, and no hang after a crash."""

import os
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from tests.support.forked import in_processes
from worker.training import Ending, Monitor, Report, TrainingConfig, TrainingHooks, Verdict, train
from worker.training.callbacks import Callback, Training
from worker.training.checkpoints.checkpoint import load_checkpoint
from worker.training.distributed.group import rendezvous

LOSS = Monitor("val/loss", "minimize")
Told = tuple[list[Report], dict[str, Tensor], dict[str, float], Tensor]


def told_by(config: TrainingConfig, **more: Any) -> Told:
    """What a training says of itself: its reports, weights, last metrics and predictions."""
    reports: list[Report] = []
    result = train(
        config, seed=1, monitor=LOSS, on_report=lambda each: reports.append(each) or Verdict.CONTINUE, **more
    )
    metrics = {name: value for name, value in result.metrics.items() if name != "seconds"}
    val = result.predictions.get("val")
    return reports, result.model.state_dict(), metrics, torch.zeros(0) if val is None else val.outputs


def together(num: int, folder: Path, call: Callable[[int], Any]) -> list[Any]:
    """What `call` returns or raises in each rank of a group."""
    folder.mkdir(exist_ok=True)
    place = folder / "meeting"

    def take_part(rank: int) -> Any:
        with rendezvous(place, rank, num):
            return call(rank)

    return in_processes(num, folder, take_part)


@pytest.mark.parametrize(
    ("num", "changes"),
    [
        # 106 examples in batches of 26: the last one is of two examples, and the third rank has none of them.
        (3, {"batch_size": 26, "grad_accumulation": 4, "clip_norm": 0.5, "l1": 1e-4, "metrics": ["auroc"]}),
        (3, {"batch_size": 26, "model": {"name": "mlp", "hidden": [16], "norm": "batch"}, "ema_decay": 0.5}),
        (2, {"batch_size": 15, "folds": 2, "repeats": 2, "precision": "bf16", "schedule": {"name": "plateau"}}),
    ],
)  # fmt: skip
def test_a_group_trains_as_one_process_does(configure, tmp_path: Path, num: int, changes: dict[str, Any]):
    plain = {"model": {"name": "mlp", "hidden": [16]}, "epochs": 3, "optimizer": {"name": "sgd"}}
    config = configure(**(plain | changes))
    tolerance = 2e-2 if "precision" in changes else 1e-5
    close = partial(pytest.approx, rel=tolerance, abs=tolerance)
    expected_reports, expected_weights, expected_metrics, expected_outputs = told_by(config)
    answers: list[Told] = together(num, tmp_path, lambda rank: told_by(config))
    (reports, weights, metrics, outputs), *_ = answers
    assert [each.step for each in reports] == [1, 2, 3]
    for one, other in zip(reports, expected_reports, strict=True):
        assert one.metrics == close(other.metrics)
    assert metrics == close(expected_metrics)
    torch.testing.assert_close(outputs, expected_outputs, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(weights, expected_weights, rtol=tolerance, atol=tolerance)
    for silent, same_weights, *_, same_outputs in answers[1:]:
        assert silent == []  # reports are the first one's affair
        assert all(torch.equal(weights[name], each) for name, each in same_weights.items())
        assert torch.equal(same_outputs, outputs)


def test_paused_in_the_middle_of_an_epoch_a_group_ends_bit_for_bit_the_same(configure, tmp_path: Path):
    """With dropout, whose streams are each rank's own; only the first one hears that it is to pause."""
    config = configure(model={"name": "mlp", "hidden": [16], "dropout": 0.3, "norm": "batch"}, epochs=3)

    def straight_and_paused(rank: int) -> tuple[Told, Told]:
        straight = told_by(config)
        saved = tmp_path / "checkpoints" if rank == 0 else Path("/nowhere")
        polled = iter([Verdict.CONTINUE] * 9)
        paused = told_by(config, hooks=TrainingHooks(poll=lambda: next(polled, Verdict.PAUSE)), checkpoint_dir=saved)
        assert [each.step for each in paused[0]] == ([1] if rank == 0 else [])
        return straight, told_by(config, checkpoint_dir=saved)

    for straight, resumed in together(2, tmp_path / "group", straight_and_paused):
        assert [each.metrics for each in resumed[0]] == [each.metrics for each in straight[0][1:]]
        assert all(torch.equal(resumed[1][name], each) for name, each in straight[1].items())
        assert resumed[2] == straight[2]
    saved = load_checkpoint(tmp_path / "checkpoints")
    assert saved is not None
    assert not torch.equal(saved["replicates"][0]["rng_states"]["cpu"], saved["rng_states_of_other_ranks"][0][0]["cpu"])


def test_any_number_of_processes_resumes_from_a_checkpoint(configure, tmp_path: Path):
    config = configure(model={"name": "mlp", "hidden": [16]}, epochs=3)
    straight = [each.metrics["val/loss"] for each in told_by(config)[0]]
    goes_on = partial(told_by, config, checkpoint_dir=tmp_path / "checkpoints")
    reports = together(2, tmp_path / "two", lambda _: goes_on(until_epoch=1))[0][0]
    reports += goes_on(until_epoch=2)[0]
    reports += together(3, tmp_path / "three", lambda _: goes_on())[0][0]
    assert [each.step for each in reports] == [1, 2, 3]
    assert [each.metrics["val/loss"] for each in reports] == pytest.approx(straight, rel=1e-4)


@pytest.mark.parametrize("at", ["report", "step"])
def test_the_first_one_s_verdict_ends_all(configure, tmp_path: Path, at: str):
    def stopped(rank: int) -> tuple[Ending, int]:
        def stop(*_: object) -> Verdict:
            assert rank == 0
            return Verdict.STOP

        asked = {"on_report": stop} if at == "report" else {"hooks": TrainingHooks(poll=stop)}
        result = train(configure(), **asked)
        return result.ending, result.step

    assert together(2, tmp_path, stopped) == [(Ending.STOPPED, int(at == "report"))] * 2


class Counting(Callback):
    """Measures, and ends training after two epochs; to be called in the first process alone."""

    def on_begin(self, training: Training) -> None:
        assert torch.distributed.get_rank() == 0
        self.num_measured = 0.0

    def measure(self) -> dict[str, float]:
        self.num_measured += 1
        return {"measured": self.num_measured}

    def on_report(self, report: Report) -> str | None:
        return "enough" if report.step == 2 else None


def test_a_callbacks_metrics_and_its_stop_reach_all_processes(configure, tmp_path: Path):
    def watched(rank: int) -> tuple[int, str, float]:
        result = train(configure(), hooks=TrainingHooks(callbacks=[Counting()]))
        return result.step, result.reason, result.metrics["measured"]

    assert together(2, tmp_path, watched) == [(2, "enough", 2.0)] * 2


def test_all_see_that_a_training_diverged_or_cannot_be(configure, tmp_path: Path):
    diverging = configure(optimizer={"name": "sgd", "lr": 1e30}, epochs=3)
    words = "Diverged: train/loss is no longer a finite number in epoch 1; it never was finite"
    assert together(2, tmp_path / "diverging", lambda _: train(diverging)) == [words] * 2
    small = configure(batch_size=1)
    words = "ConfigError: batch_size: 1 examples are too few for 2 devices; each needs at least one"
    assert together(2, tmp_path / "small", lambda _: train(small)) == [words] * 2


def test_no_process_waits_for_a_killed_one(configure, tmp_path: Path):
    def killed(rank: int) -> object:
        def on_report(report: Report) -> Verdict:
            os.kill(os.getpid(), signal.SIGKILL)
            return Verdict.CONTINUE

        return train(configure(), on_report=on_report)

    status, *others = together(3, tmp_path, killed)
    assert status == -signal.SIGKILL
    assert all(each.startswith("ProcessGroupError: another process of this training is gone") for each in others)


def test_processes_of_torchrun_find_each_other(configure, tmp_path: Path, monkeypatch):
    """By the variables that torchrun gives them; the script only calls `train`."""
    store = torch.distributed.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    for name, value in {
        "TORCHELASTIC_RUN_ID": "none", "TORCHELASTIC_USE_AGENT_STORE": "True", "WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(store.port), "GLOO_SOCKET_IFNAME": "lo",
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)

    def launched(rank: int) -> int:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        reports, *_ = told_by(configure(epochs=2))
        return len(reports)

    assert in_processes(2, tmp_path, launched) == [2, 0]
