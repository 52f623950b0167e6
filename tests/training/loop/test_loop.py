"""Settings of the training steps, each equal after an interruption at any step."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import torch
from sklearn import metrics as reference
from torch import nn

from worker.training import (
    ConfigError,
    Ending,
    Monitor,
    Report,
    TrainingConfig,
    TrainingHooks,
    TrainingResult,
    Verdict,
    train,
)
from worker.training.build import build
from worker.training.checkpoints.checkpoint import SaveInterval, load_checkpoint
from worker.training.components.precision import autocast
from worker.training.data import DATA, Dataset
from worker.training.loop.cross_validation import Replicates
from worker.training.loop.epoch import epoch_batches
from worker.training.models import MODELS
from worker.training.seeding import forked_rng
from worker.training.state import TrainState

ROOT = Path(__file__).parents[3]
LOSS = Monitor("val/loss", "minimize")
# Digits with everything that draws or remembers: augmentation, dropout, EMA, mixed precision, parts of batches.
EVERYTHING: dict[str, Any] = {
    "data": {"name": "digits", "limit": 200},
    "augment": {"name": "images", "flip": 0.3, "crop": 1, "rotate": 10, "zoom": 0.1, "mixup": 0.3, "cutmix": 0.5},
    "model": {"name": "vit", "depth": 1, "width": 16, "dropout": 0.2},
    "optimizer": {"name": "sgd", "lr": 0.05},
    "schedule": {"name": "plateau", "patience": 0, "threshold": 0.5},
    "batch_size": 32, "epochs": 3, "grad_accumulation": 2, "precision": "bf16", "activation_checkpointing": True,
    "ema_decay": 0.8, "clip_norm": 1.0, "snapshots": 3, "metrics": ["auroc"],
}  # fmt: skip
STEPS = 3 * 7


class Steps:
    """Answers with a verdict before one of the optimizer steps, counted from 1."""

    def __init__(self, at: int, verdict: Verdict) -> None:
        self.at, self.verdict, self.count = at, verdict, 0

    def __call__(self) -> Verdict:
        self.count += 1
        return self.verdict if self.count == self.at else Verdict.CONTINUE


def assert_same(one: TrainingResult, other: TrainingResult) -> None:
    assert one.ending == other.ending
    assert one.best_step == other.best_step
    without_time = [{name: value for name, value in each.metrics.items() if name != "seconds"} for each in (one, other)]
    assert without_time[0] == without_time[1]
    for weights, others in zip(
        (one.model.state_dict(), *one.snapshots), (other.model.state_dict(), *other.snapshots), strict=True
    ):
        assert all(torch.equal(tensor, others[name]) for name, tensor in weights.items())


@pytest.mark.parametrize("pauses", [[2], [8], [5, 11], [1, 7, 20, 21]])
def test_paused_at_any_step_it_ends_bit_for_bit_the_same(configure, tmp_path: Path, pauses: list[int]):
    config, reports = configure(**EVERYTHING), []
    straight_reports: list[Report] = []

    def note(to: list[Report]) -> Callable[[Report], Verdict]:
        return lambda report: to.append(report) or Verdict.CONTINUE

    straight = train(config, seed=2, monitor=LOSS, on_report=note(straight_reports))
    done = 0
    for pause in pauses:
        steps = Steps(pause - done, Verdict.PAUSE)
        paused = train(
            config,
            seed=2,
            monitor=LOSS,
            on_report=note(reports),
            hooks=TrainingHooks(poll=steps),
            checkpoint_dir=tmp_path,
        )
        assert paused.ending is Ending.PAUSED
        done = pause - 1
        torch.rand(3)  # whatever else happened in this process meanwhile
    resumed = train(config, seed=2, monitor=LOSS, on_report=note(reports), checkpoint_dir=tmp_path)
    assert reports == straight_reports
    assert len(straight.snapshots) == 3
    assert_same(resumed, straight)


def test_a_crash_loses_no_more_than_since_the_last_checkpoint(configure, tmp_path: Path):
    config = configure(**(EVERYTHING | {"batch_size": 2, "epochs": 1, "snapshots": 1}))
    straight = train(config, seed=2, monitor=LOSS)
    saved = []

    def crash() -> Verdict:
        if saved:
            raise KeyboardInterrupt
        return Verdict.CONTINUE

    class Always(SaveInterval):
        def is_due(self, *_: float, **__: bool) -> bool:
            return True

    with pytest.raises(KeyboardInterrupt):
        train(
            config,
            seed=2,
            monitor=LOSS,
            hooks=TrainingHooks(poll=crash, on_checkpoint=saved.append),
            checkpoint_dir=tmp_path,
            save_interval=Always(0),
        )
    assert (saved[0].step, saved[0].batch) == (0, 1)
    assert_same(train(config, seed=2, monitor=LOSS, checkpoint_dir=tmp_path), straight)


def test_a_stop_takes_effect_at_the_next_step(configure, tmp_path: Path):
    steps, reports = Steps(10, Verdict.STOP), []
    result = train(
        configure(**EVERYTHING),
        hooks=TrainingHooks(poll=steps),
        on_report=lambda r: reports.append(r) or Verdict.CONTINUE,
    )
    assert (result.ending, result.step, steps.count, len(reports)) == (Ending.STOPPED, 1, 10, 1)
    assert result.metrics["train/loss"] == reports[0].metrics["train/loss"]


def test_a_pause_takes_effect_after_its_checkpoint(configure, tmp_path: Path):
    steps = Steps(10, Verdict.PAUSE)
    train(
        configure(**EVERYTHING),
        hooks=TrainingHooks(poll=steps),
        checkpoint_dir=tmp_path,
        save_interval=SaveInterval(1000),
    )
    assert steps.count == 10
    saved = load_checkpoint(tmp_path)
    assert saved is not None
    [member] = saved["replicates"]
    assert (member["epoch"], member["batch"], member["step"]) == (1, 2, 9)


def test_a_batch_in_parts_is_the_same_step(configure):
    config = {"model": {"name": "mlp"}, "optimizer": {"name": "sgd", "lr": 0.1}, "batch_size": 53}
    whole, parts = (train(configure(**config, grad_accumulation=number)) for number in (1, 4))
    for name, weights in whole.model.state_dict().items():
        torch.testing.assert_close(parts.model.state_dict()[name], weights)
    assert parts.metrics["train/loss"] == pytest.approx(whole.metrics["train/loss"], rel=1e-5)


def test_a_last_example_joins_the_batch_before_it(configure):
    def sizes(limit: int, batch_size: int) -> list[int]:
        data = {"name": "digits", "limit": limit}
        config = configure(
            data=data | {"seed": 1}, model={"name": "mlp", "norm": "batch"}, batch_size=batch_size, epochs=1
        )
        dataset = DATA.create("digits", config.data.settings)
        train(config)
        return [len(batch) for batch in epoch_batches(build(config, 0, dataset, {})[0], 0)]

    assert sizes(129, 64) == [64, 65]
    assert sizes(130, 64) == [64, 64, 2]
    assert sizes(128, 128) == [128]


def test_every_epoch_has_an_order_of_its_own(configure):
    config = configure()
    parts, _ = build(config, 0, DATA.create("wine", config.data.settings), {})
    one, other = (torch.cat(list(epoch_batches(parts, epoch))) for epoch in (0, 1))
    assert not torch.equal(one, other)
    assert torch.equal(one.sort()[0], torch.arange(106))


class Probe(nn.Module):
    """Says in what its layer computed."""

    def __init__(self, dataset: Dataset) -> None:
        super().__init__()
        self.layer = nn.Linear(dataset.num_features, dataset.num_outputs)
        self.seen: set[torch.dtype] = set()

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        outputs = self.layer(features)
        self.seen.add(outputs.dtype)
        return outputs


@pytest.mark.parametrize(("precision", "computed"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_the_model_computes_in_the_precision_asked_for(configure, monkeypatch, precision: str, computed: torch.dtype):
    monkeypatch.setattr(MODELS, "_entries", dict(MODELS._entries))

    @MODELS.add
    def probe(dataset: Dataset) -> nn.Module:
        return Probe(dataset)

    result = train(configure(model={"name": "probe"}, precision=precision))
    assert result.model.seen == {computed}
    assert result.model.layer.weight.dtype is torch.float32
    assert result.metrics["val/accuracy"] > 0.8


def test_fp16_needs_a_gpu(configure):
    with pytest.raises(ConfigError, match=r"precision: fp16 needs a GPU; use bf16 or fp32"):
        train(configure(precision="fp16"))
    with autocast("fp32", torch.device("cpu")):
        assert not torch.is_autocast_enabled("cpu")


def test_the_average_of_the_weights_is_what_is_evaluated(configure):
    """Against a mean kept by hand over the steps of the same training."""
    config = {"model": {"name": "linear"}, "epochs": 2}
    initial = _state_of(configure(**config)).model.state_dict()["1.weight"].detach().clone()
    weights = [
        _paused_after(configure(**config), steps)["replicates"][0]["model"]["1.weight"]
        for steps in range(1, 15)  # seven batches in an epoch
    ]
    mean, means = initial, []
    for updates, each in enumerate(weights):
        decay = min(0.5, (1 + updates) / (10 + updates))  # it warms up over the first eight updates
        mean = decay * mean + (1 - decay) * each
        means.append(mean)
    averaged = train(configure(**config, ema_decay=0.5))
    torch.testing.assert_close(averaged.model.state_dict()["1.weight"], mean)
    for steps in (1, 2, 11):
        paused = _paused_after(configure(**config, ema_decay=0.5), steps)["replicates"][0]["average"]
        torch.testing.assert_close(paused["module.1.weight"], means[steps - 1])
    features = DATA.create("wine", configure().data.settings).splits["val"].features
    targets = DATA.create("wine", configure().data.settings).splits["val"].targets
    accuracy = (averaged.model(features).argmax(1) == targets).float().mean().item()
    assert accuracy == pytest.approx(averaged.metrics["val/accuracy"])


def _state_of(config: TrainingConfig) -> TrainState:
    """The initial state of a training with seed 0."""
    dataset = DATA.create(config.data.name, config.data.settings)
    with forked_rng(0, torch.device("cpu")):
        (replicate,) = Replicates(config, 0, [dataset], {})
        return replicate.state


def _paused_after(config: TrainingConfig, steps: int) -> Any:
    with TemporaryDirectory() as directory:
        train(config, hooks=TrainingHooks(poll=Steps(steps + 1, Verdict.PAUSE)), checkpoint_dir=Path(directory))
        return load_checkpoint(Path(directory))


def test_training_without_progress_is_finished_early(configure, tmp_path: Path):
    config = configure(optimizer={"name": "sgd", "lr": 0.6}, epochs=60, patience=3)
    reports: list[Report] = []
    result = train(
        config, monitor=LOSS, on_report=lambda r: reports.append(r) or Verdict.CONTINUE, checkpoint_dir=tmp_path
    )
    losses = [report.metrics["val/loss"] for report in reports]
    assert result.ending is Ending.FINISHED
    assert "test/loss" in result.metrics
    assert result.step == len(losses) < 60
    assert losses.index(min(losses)) + 1 == result.best_step == result.step - 3
    again = train(config, monitor=LOSS, on_report=lambda _: pytest.fail("it was finished"), checkpoint_dir=tmp_path)
    assert again.metrics == result.metrics


def test_patience_watches_the_validation_loss_where_nothing_else_is_asked(configure):
    result = train(configure(optimizer={"name": "sgd", "lr": 0.6}, epochs=60, patience=2))
    assert (result.ending, result.best_step) == (Ending.FINISHED, None)
    assert result.step < 60


@pytest.mark.parametrize(("snapshots", "epochs", "at"), [(2, 6, [3, 6]), (4, 6, [2, 3, 5, 6]), (0, 6, [])])
def test_snapshots_are_taken_at_the_ends_of_equal_parts(configure, snapshots: int, epochs: int, at: list[int]):
    result = train(configure(snapshots=snapshots, epochs=epochs))
    assert len(result.snapshots) == len(at)
    for weights, epoch in zip(result.snapshots, at, strict=True):
        expected = train(configure(snapshots=snapshots, epochs=epochs), until_epoch=epoch).model.state_dict()
        assert all(torch.equal(weights[name], tensor) for name, tensor in expected.items())


def test_more_snapshots_than_epochs_are_refused_but_not_in_a_stage_that_ends_earlier(configure):
    with pytest.raises(
        ConfigError, match=r"^snapshots: 7 snapshots need as many epochs, one for each, but there are 6; "
    ):
        configure(snapshots=7, epochs=6)
    assert len(train(replace(configure(snapshots=6, epochs=6), epochs=2)).snapshots) == 2


def test_the_ensemble_of_the_snapshots_answers_with_the_mean_of_their_probabilities(configure):
    result = train(configure(snapshots=3, epochs=6, metrics=["auroc"]))
    dataset = DATA.create("wine", configure().data.settings)
    for name in ("val", "test"):
        each = []
        for weights in result.snapshots:
            result.model.load_state_dict(weights)
            with torch.no_grad():
                each.append(result.model(dataset.splits[name].features).softmax(1))
        targets = dataset.splits[name].targets
        p = torch.stack(each).double().mean(0)
        p /= p.sum(1, keepdim=True)
        measured = {key: result.metrics[f"snapshots/{name}/{key}"] for key in ("accuracy", "loss", "auroc")}
        assert measured == pytest.approx(
            {
                "accuracy": reference.accuracy_score(targets, p.argmax(1)),
                "loss": reference.log_loss(targets, p),
                "auroc": reference.roc_auc_score(targets, p, multi_class="ovr"),
            },
            rel=1e-4,
        )
    assert not any(key.startswith("snapshots/") for key in train(configure()).metrics)


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": {"name": "bce"}, "ema_decay": 0.9},
        {"data": {"name": "diabetes"}, "loss": {"name": "mse"}, "folds": 2},
        {"data": {"name": "text", "path": str(ROOT / "LICENSE"), "length": 64}, "model": {"name": "gru", "width": 8}},
        {
            "data": {
                "name": "csv",
                "path": str(ROOT / "examples" / "data" / "wards.csv"),
                "target": "urgency",
                "query": "ward",
            },
            "loss": {"name": "listnet"},
        },
    ],
)
def test_a_single_snapshot_answers_as_the_model_does(configure, changes: dict[str, Any]):
    result = train(configure(**changes, snapshots=1, epochs=1))
    names = [name for name in result.metrics if name.startswith(("val/", "test/"))]
    alone, snapshot = ([result.metrics[f"{prefix}{name}"] for name in names] for prefix in ("", "snapshots/"))
    assert snapshot == pytest.approx(alone, rel=1e-4)
    assert any(name.startswith("test/") for name in names)


def test_recomputing_needs_blocks_and_changes_nothing(configure):
    with pytest.raises(ConfigError, match=r"activation_checkpointing: model \'linear\' has no stack of blocks"):
        train(configure(model={"name": "linear"}, activation_checkpointing=True))
    plain, recomputed = (train(configure(activation_checkpointing=each)) for each in (False, True))
    assert plain.metrics["val/loss"] == pytest.approx(recomputed.metrics["val/loss"], rel=1e-4)


@pytest.mark.prove
@pytest.mark.filterwarnings("ignore:.torch.jit.script_method. is deprecated:DeprecationWarning")
def test_a_compiled_model_learns_the_same(configure):
    plain, compiled = (train(configure(model={"name": "mlp"}, compile=each)) for each in (False, True))
    assert compiled.metrics["train/loss"] == pytest.approx(plain.metrics["train/loss"], rel=1e-3)
    assert compiled.model.state_dict().keys() == plain.model.state_dict().keys()
