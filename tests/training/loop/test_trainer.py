"""The training loop: its reports, how it ends, and that an interrupted training equals an uninterrupted one."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from worker.training import (
    ConfigError,
    Diverged,
    Ending,
    Infeasible,
    Monitor,
    Report,
    TrainingConfig,
    TrainingHooks,
    TrainingResult,
    Verdict,
    train,
)
from worker.training.checkpoints.checkpoint import Manifest, SaveInterval
from worker.training.components.metrics import METRIC_NAMES
from worker.training.data import DATA, Dataset, Split, SplitName

ACCURACY = Monitor("val/accuracy", "maximize")
MISSPELT = Monitor("val/acuracy", "maximize")


class Journal(list[Report]):
    """Keeps the reports and answers with the verdict due after a step."""

    def __init__(self, **verdicts: Verdict) -> None:
        super().__init__()
        self.verdicts = {int(step.removeprefix("after_")): verdict for step, verdict in verdicts.items()}

    def __call__(self, report: Report) -> Verdict:
        self.append(report)
        return self.verdicts.get(report.step, Verdict.CONTINUE)


def same_weights(one: TrainingResult, other: TrainingResult) -> bool:
    pairs = zip(one.model.state_dict().values(), other.model.state_dict().values(), strict=True)
    return all(torch.equal(left, right) for left, right in pairs)


def without_time(result: TrainingResult) -> dict[str, float]:
    return {name: value for name, value in result.metrics.items() if name != "seconds"}


def test_every_epoch_is_reported_and_the_test_set_only_at_the_end(configure):
    journal = Journal()
    result = train(configure(), on_report=journal)
    assert [report.step for report in journal] == [1, 2, 3, 4, 5, 6]
    metrics = ("loss", "accuracy", "precision_macro", "recall_macro", "f1_macro", "cross_entropy")
    assert set(journal[0].metrics) == {f"{split}/{metric}" for split in ("train", "val") for metric in metrics}
    assert set(result.metrics) == {
        *journal[0].metrics, *(f"test/{metric}" for metric in metrics), "seconds", "num_parameters",
    }  # fmt: skip
    assert (result.ending, result.step) == (Ending.FINISHED, 6)
    assert result.metrics["num_parameters"] == 13 * 16 + 16 + 16 * 3 + 3
    assert result.metrics["seconds"] > 0


def test_training_metrics_are_measured_as_validation_is(configure):
    data = {"name": "digits", "val_fraction": 0.2}
    config = configure(
        data=data, model={"name": "mlp", "dropout": 0.5}, augment={"name": "mixup"}, batch_size=64, epochs=2,
        ema_decay=0.5,
    )  # fmt: skip
    result = train(config, seed=3)
    dataset = DATA.create("digits", config.data.settings)
    sample = dataset.measured("train")
    assert sample is not None
    assert len(sample) == len(dataset.splits["val"]) > 256
    with torch.inference_mode():
        outputs = result.model.eval()(dataset.train.features[sample])
    targets = dataset.train.targets[sample]
    assert result.metrics["train/loss"] == pytest.approx(torch.nn.functional.cross_entropy(outputs, targets).item())
    assert result.metrics["train/accuracy"] == pytest.approx((outputs.argmax(1) == targets).double().mean().item())


@pytest.mark.parametrize(
    ("num_train", "num_val", "size"), [(200, 5, None), (256, 5, None), (900, 5, 256), (900, 300, 300)]
)
def test_the_sample_of_the_training_examples_is_fixed_and_bounded(num_train: int, num_val: int, size: int | None):
    def dataset() -> Dataset:
        lengths: dict[SplitName, int] = {"train": num_train, "val": num_val}
        splits = {
            name: Split(torch.zeros(num, 2), torch.zeros(num, dtype=torch.int64)) for name, num in lengths.items()
        }
        return Dataset("classification", splits, class_names=("a", "b"))

    sample, again = dataset().measured("train"), dataset().measured("train")
    assert dataset().measured("val") is None
    if size is None:
        assert sample is None
        return
    assert sample is not None
    assert again is not None
    assert torch.equal(sample, again)
    assert len(sample.unique()) == size
    assert sample.max() >= num_train * 0.9, "it is drawn from all examples"


def test_reported_names_are_the_catalogues(mapping, tmp_path: Path):
    path = tmp_path / "t.csv"
    path.write_text("x,y\n" + "".join(f"{i},{2 * i}.5\n" for i in range(30)))
    data = {"name": "csv", "path": str(path), "test_val": str(path), "target": "y"}
    result = train(TrainingConfig.from_mapping(mapping | {"data": data, "loss": {"name": "mse"}}))
    assert set(result.metrics) == {*METRIC_NAMES["regression"], "seconds", "num_parameters"}


def test_the_same_seed_gives_the_same_curve_and_another_seed_another(configure):
    one, same, other = Journal(), Journal(), Journal()
    train(configure(), seed=5, on_report=one)
    train(configure(), seed=5, on_report=same)
    train(configure(), seed=6, on_report=other)
    assert one == same
    assert one != other


def test_the_callers_random_streams_stay_untouched(configure):
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()
    train(configure())
    assert torch.equal(torch_state, torch.get_rng_state())
    assert str(numpy_state) == str(np.random.get_state())


def interrupted_by_until(config: TrainingConfig, directory: Path) -> list[Report]:
    journal = Journal()
    result = train(config, seed=1, monitor=ACCURACY, on_report=journal, checkpoint_dir=directory, until_epoch=3)
    assert (result.ending, result.step) == (Ending.PAUSED, 3)
    assert "test/accuracy" not in result.metrics
    return journal


def interrupted_by_a_verdict(config: TrainingConfig, directory: Path) -> list[Report]:
    journal = Journal(after_3=Verdict.PAUSE)
    result = train(config, seed=1, monitor=ACCURACY, on_report=journal, checkpoint_dir=directory)
    assert (result.ending, result.step) == (Ending.PAUSED, 3)
    return journal


def interrupted_by_a_crash(config: TrainingConfig, directory: Path) -> list[Report]:
    journal = Journal()

    def crash(report: Report) -> Verdict:
        if report.step == 4:
            raise KeyboardInterrupt
        return journal(report)

    with pytest.raises(KeyboardInterrupt):
        train(config, seed=1, monitor=ACCURACY, on_report=crash, checkpoint_dir=directory)
    return journal


@pytest.mark.parametrize("interrupt", [interrupted_by_until, interrupted_by_a_verdict, interrupted_by_a_crash])
def test_an_interrupted_training_is_bit_for_bit_the_same(
    configure, tmp_path: Path, interrupt: Callable[[TrainingConfig, Path], list[Report]]
):
    config, straight = configure(), Journal()
    expected = train(config, seed=1, monitor=ACCURACY, on_report=straight)
    before, after = interrupt(config, tmp_path), Journal()
    torch.rand(7)  # whatever else happened in this process meanwhile
    resumed = train(config, seed=1, monitor=ACCURACY, on_report=after, checkpoint_dir=tmp_path)
    assert [*before, *after] == straight
    assert without_time(resumed) == without_time(expected)
    assert resumed.best_step == expected.best_step
    assert same_weights(resumed, expected)


def test_resuming_in_another_process_is_the_same_too(configure, tmp_path: Path):
    config = configure()
    expected = train(config, seed=1)
    train(config, seed=1, checkpoint_dir=tmp_path, until_epoch=3)
    code = f"""
import torch
from pathlib import Path
from worker.training import TrainingConfig, train
torch.set_num_threads(1)
result = train(TrainingConfig.from_mapping({config.to_mapping()!r}), seed=1, checkpoint_dir=Path({str(tmp_path)!r}))
torch.save(result.model.state_dict(), {str(tmp_path / "weights")!r})
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[3])
    weights = torch.load(tmp_path / "weights", weights_only=True)
    assert all(torch.equal(weights[name], tensor) for name, tensor in expected.model.state_dict().items())


def test_a_finished_training_is_finished_again_without_training(configure, tmp_path: Path):
    first = train(configure(), monitor=ACCURACY, checkpoint_dir=tmp_path)
    journal = Journal()
    again = train(configure(), monitor=ACCURACY, checkpoint_dir=tmp_path, on_report=journal)
    assert not journal
    assert again.metrics == first.metrics


def test_a_checkpoint_is_never_ahead_of_the_reports(configure, tmp_path: Path):
    def check(report: Report) -> Verdict:
        steps = [int(path.stem.removeprefix("step-")) for path in tmp_path.glob("*.json")]
        assert max(steps, default=0) == report.step - 1
        return Verdict.CONTINUE

    train(configure(), on_report=check, checkpoint_dir=tmp_path)


def test_a_checkpoint_of_another_configuration_is_refused(configure, tmp_path: Path):
    train(configure(), checkpoint_dir=tmp_path, until_epoch=1)
    with pytest.raises(
        ConfigError, match=r"checkpoint_dir: the checkpoint is of a training with model\.hidden = \[16\]"
    ):
        train(configure(model={"name": "mlp", "hidden": [8], "dropout": 0.2}), checkpoint_dir=tmp_path)
    with pytest.raises(ConfigError, match="with seed = 0, not 1"):
        train(configure(), seed=1, checkpoint_dir=tmp_path)


@pytest.mark.parametrize(
    ("journal", "until", "monitor", "steps"),
    [
        (Journal(), None, None, [6]),
        (Journal(), None, Monitor("val/accuracy", "maximize", best=0.1), [6]),
        (Journal(), None, Monitor("val/accuracy", "maximize", best=1.0), []),
        (Journal(), None, Monitor("val/accuracy", "maximize", keep="last", best=1.0), []),
        (Journal(after_6=Verdict.STOP), None, None, []),
        (Journal(after_2=Verdict.PAUSE), None, None, [2]),
        (Journal(), 3, None, [3]),
    ],
)
def test_with_a_cadence_that_is_not_due_a_pause_is_saved_and_the_end_of_what_may_be_the_best(
    configure, tmp_path: Path, journal: Journal, until: int | None, monitor: Monitor | None, steps: list[int]
):
    saved = []

    def on_checkpoint(manifest: Manifest) -> None:
        assert journal[-1].step == manifest.step
        saved.append(manifest.step)

    train(
        configure(),
        monitor=monitor,
        on_report=journal,
        checkpoint_dir=tmp_path,
        save_interval=SaveInterval(1000),
        hooks=TrainingHooks(on_checkpoint=on_checkpoint),
        until_epoch=until,
    )
    assert saved == steps


def test_early_stopping_is_an_end_too(configure, tmp_path: Path):
    config = configure(epochs=30, patience=1, optimizer={"name": "adamw", "lr": 0.5})
    result = train(config, checkpoint_dir=tmp_path, save_interval=SaveInterval(1000))
    assert result.step < 30
    assert [path.name for path in tmp_path.glob("*.pt")] == [f"step-{result.step:08d}.pt"]


def test_a_verdict_to_stop_ends_training_at_once(configure):
    journal = Journal(after_2=Verdict.STOP)
    result = train(configure(), on_report=journal)
    assert (result.ending, result.step, len(journal)) == (Ending.STOPPED, 2, 2)
    assert "test/accuracy" not in result.metrics


def test_a_pause_after_the_last_epoch_finishes(configure):
    assert train(configure(), on_report=Journal(after_6=Verdict.PAUSE)).ending is Ending.FINISHED


def test_until_is_absolute_and_ends_at_the_horizon(configure):
    assert train(configure(), until_epoch=99).ending is Ending.FINISHED
    with pytest.raises(ConfigError, match="until_epoch: must be >= 1, got 0"):
        train(configure(), until_epoch=0)


@pytest.mark.parametrize(
    ("metric", "direction", "choose"), [("val/accuracy", "maximize", max), ("val/loss", "minimize", min)]
)
def test_the_best_epoch_is_kept(configure, metric: str, direction: Any, choose: Callable[..., float]):
    journal = Journal()
    config = configure(optimizer={"name": "sgd", "lr": 0.6}, schedule={"name": "constant"}, epochs=12)
    result = train(config, monitor=Monitor(metric, direction), on_report=journal)
    value = choose(report.metrics[metric] for report in journal)
    equals = [report for report in journal if report.metrics[metric] == value]
    best = min(equals, key=lambda report: report.metrics["val/cross_entropy"])
    assert result.best_step == best.step < 12
    assert result.metrics[metric] == best.metrics[metric]
    val = DATA.create("wine", config.data.settings).splits["val"]
    with torch.no_grad():
        accuracy = (result.model(val.features).argmax(1) == val.targets).float().mean().item()
    assert accuracy == pytest.approx(best.metrics["val/accuracy"])


def test_the_last_epoch_is_kept_where_asked(configure):
    journal = Journal()
    result = train(configure(), monitor=Monitor("val/accuracy", "maximize", keep="last"), on_report=journal)
    assert result.best_step is None
    assert result.metrics["val/loss"] == journal[-1].metrics["val/loss"]


def test_divergence_ends_training_with_step_and_last_finite_value(configure):
    journal = Journal()
    config = configure(
        data={"name": "diabetes"}, loss={"name": "mse"}, model={"name": "linear"}, epochs=200,
        optimizer={"name": "sgd", "lr": 0.4, "momentum": 0.0}, schedule={"name": "constant"},
    )  # fmt: skip
    with pytest.raises(Diverged) as caught:
        train(config, on_report=journal)
    diverged = caught.value
    assert diverged.step == journal[-1].step + 1 < 200
    assert diverged.last_finite == journal[-1].metrics[diverged.metric]
    assert str(diverged).startswith(
        f"{diverged.metric} is no longer a finite number in epoch {diverged.step}; its last"
    )


def test_divergence_is_seen_within_an_epoch(configure):
    config = configure(
        data={"name": "diabetes"}, loss={"name": "mse"}, model={"name": "linear"}, batch_size=2, epochs=1,
        optimizer={"name": "sgd", "lr": 0.3, "momentum": 0.0}, schedule={"name": "constant"},
    )  # fmt: skip
    with pytest.raises(Diverged, match=r"train/loss is no longer a finite number in epoch 1") as caught:
        train(config)
    assert caught.value.last_finite is not None, "the first epoch's loss was read before its end"


def test_divergence_seen_only_in_validation_counts(configure, tmp_path: Path):
    tame, wild = tmp_path / "tame.csv", tmp_path / "wild.csv"
    tame.write_text("x,y\n" + "".join(f"{i},{i}.5\n" for i in range(30)))
    wild.write_text("x,y\n1e30,1.5\n2e30,2.5\n")
    data = {"name": "csv", "train": str(tame), "val": str(wild), "test": str(tame), "target": "y"}
    with pytest.raises(Diverged, match="val/loss is no longer a finite number in epoch 1; it never was finite"):
        train(configure(data=data, loss={"name": "mse"}))


def test_a_finished_classification_has_its_confusion_matrices(configure):
    result = train(configure(metrics=["per_class"]))
    assert set(result.confusion) == {"val", "test"}
    counted = np.array(result.confusion["test"])
    assert counted.sum() == 36
    assert counted.trace() / counted.sum() == pytest.approx(result.metrics["test/accuracy"])
    recall = counted[0, 0] / counted[0].sum()
    assert recall == pytest.approx(result.metrics["test/recall/class_0"])
    assert train(configure(), until_epoch=1).confusion == {}


def test_constraints_are_checked_before_training(configure):
    with pytest.raises(Infeasible, match="the model has 275 parameters; the constraint allows 100"):
        train(configure(), constraints={"parameters": {"max": 1e2}})
    assert train(configure(epochs=1), constraints={"parameters": {"max": 275}}).ending is Ending.FINISHED


@pytest.mark.parametrize(
    ("changes", "arguments", "message"),
    [
        ({"batch_size": 200}, {}, "batch_size: 200 is more than the 106 training examples"),
        ({"loss": {"name": "mse"}}, {}, "loss.name: mse is for regression, but the data is for classification"),
        ({}, {"monitor": MISSPELT}, "monitor.metric: 'val/acuracy' isn't reported after each epoch; did you mean"),
        ({}, {"monitor": Monitor("test/f1_macro", "maximize")}, "monitor.metric: 'test/f1_macro' isn't reported"),
        ({"data": {"name": "wine", "val_fraction": 0}}, {"monitor": ACCURACY}, "monitor.metric: 'val/accuracy' isn't"),
        (
            {"data": {"name": "diabetes"}, "loss": {"name": "mse"}, "metrics": ["auroc"]}, {},
            "metrics[0].name: auroc is for classification, but the data is for regression; use rmse or ",
        ),
        ({}, {"device": "gpu"}, "device: unknown device 'gpu'; use cpu or cuda:0"),
        ({}, {"device": "cuda:64"}, "device: 'cuda:64' does not exist: this machine has"),
        ({}, {"constraints": {"memory": 1}}, "constraints.memory: there is no such constraint; use parameters"),
        ({}, {"constraints": {"parameters": 5}}, "constraints.parameters: must be a mapping like {max: 5e6}, got 5"),
        ({}, {"constraints": {"parameters": {"mx": 5}}}, "constraints.parameters.mx: the constraint has no such"),
    ],
)  # fmt: skip
def test_misfits_are_refused_before_the_first_step(configure, changes, arguments, message: str):
    journal = Journal()
    with pytest.raises(ConfigError) as caught:
        train(configure(**changes), on_report=journal, **arguments)
    assert str(caught.value).startswith(message)
    assert not journal


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_training_on_a_gpu_resumes(configure, tmp_path: Path):
    config = configure()
    expected = train(config, device="cuda:0", monitor=ACCURACY)
    train(config, device="cuda:0", monitor=ACCURACY, checkpoint_dir=tmp_path, until_epoch=3)
    resumed = train(config, device="cuda:0", monitor=ACCURACY, checkpoint_dir=tmp_path)
    assert resumed.metrics["val/loss"] == pytest.approx(expected.metrics["val/loss"], rel=1e-3)
