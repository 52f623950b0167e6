"""A fork continues from another training's weights with its own settings, and trains only the new steps."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.training.loop.test_trainer import ACCURACY, Journal, same_weights, without_time
from worker.training import ConfigError, Report, TrainingConfig, TrainingResult, train
from worker.training.build import load
from worker.training.checkpoints.checkpoint import load_checkpoint
from worker.training.loop.cross_validation import Replicates
from worker.training.loop.epoch import epoch_batches

AT = 3
STILL = {"name": "adamw", "lr": 1e-12}
"""A rate at which nothing is learnt: what is measured are the weights that the fork began with."""

Begin = Callable[..., list[Report]]


@pytest.fixture
def parent(configure, tmp_path: Path) -> Begin:
    """Trains a parent to epoch AT, in the directory that a fork then finds its checkpoint in; the reports of it."""

    def begin(**changes: Any) -> list[Report]:
        journal = Journal()
        train(configure(**changes), seed=1, checkpoint_dir=tmp_path, until_epoch=AT, on_report=journal)
        return journal

    return begin


def forked(config: TrainingConfig, directory: Path, **more: Any) -> tuple[list[Report], TrainingResult]:
    journal = Journal()
    result = train(config, seed=1, checkpoint_dir=directory, fork_at=AT, on_report=journal, **more)
    return journal, result


def test_without_a_change_it_is_the_parent_bit_for_bit(configure, parent: Begin, tmp_path: Path):
    straight = Journal()
    expected = train(configure(), seed=1, on_report=straight)
    before = parent()
    after, result = forked(configure(), tmp_path)
    assert [*before, *after] == straight
    assert without_time(result) == without_time(expected)
    assert same_weights(result, expected)


@pytest.mark.parametrize(
    "changes",
    [{}, {"batch_size": 32}, {"ema_decay": 0.5}, {"schedule": {"name": "constant"}}, {"epochs": 9}, {"l1": 0.0}],
    ids=str,
)
def test_a_fork_starts_with_its_parents_weights_and_its_own_settings(
    configure, parent: Begin, tmp_path: Path, changes: dict[str, Any]
):
    before = parent()
    config = configure(optimizer=STILL, **changes)
    after, result = forked(config, tmp_path)
    assert [report.step for report in after] == list(range(AT + 1, config.epochs + 1))
    assert result.step == config.epochs
    for report in after:
        assert report.metrics["val/loss"] == pytest.approx(before[-1].metrics["val/loss"], abs=1e-6)


def test_each_of_several_models_resumes_from_its_own_state(configure, parent: Begin, tmp_path: Path):
    straight = Journal()
    train(configure(folds=2, repeats=2), seed=1, on_report=straight)
    before = parent(folds=2, repeats=2)
    after, _ = forked(configure(folds=2, repeats=2), tmp_path)
    assert [*before, *after] == straight


def test_another_optimizer_begins_without_moments(configure, parent: Begin, tmp_path: Path):
    before = parent()
    after, _ = forked(configure(optimizer={"name": "sgd", "lr": 1e-12}), tmp_path)
    assert after[-1].metrics["val/loss"] == pytest.approx(before[-1].metrics["val/loss"], abs=1e-6)


def test_the_same_optimizer_keeps_its_moments_and_takes_the_new_rate(configure, parent: Begin, tmp_path: Path):
    parent()
    config = configure(optimizer={"name": "adamw", "lr": 0.5, "weight_decay": 0.3}, batch_size=32)
    replicates = Replicates(config, 1, load(config, torch.device("cpu")), {}, AT)
    saved = load_checkpoint(tmp_path)
    assert saved is not None
    replicates.load_state_dict(saved)
    ((components, state),) = [(replicate.components, replicate.state) for replicate in replicates]
    assert [group["lr"] for group in state.optimizer.param_groups] == [0.5, 0.5]
    assert [group["initial_lr"] for group in state.optimizer.param_groups] == [0.5, 0.5]
    assert [group["weight_decay"] for group in state.optimizer.param_groups] == [0.3, 0.0]
    kept = state.optimizer.state_dict()["state"]
    for index, moments in saved["replicates"][0]["optimizer"]["state"].items():
        assert torch.equal(kept[index]["exp_avg"], moments["exp_avg"])
    # Half of six epochs is done, however many steps an epoch has.
    assert (state.epoch, state.batch, state.step) == (AT, 0, AT * len(epoch_batches(components, AT)))
    assert state.step < saved["replicates"][0]["step"]
    assert (replicates.seconds, replicates.best.epoch) == (0.0, None)


def test_an_interrupted_fork_resumes_from_its_own_checkpoint(configure, parent: Begin, tmp_path: Path):
    config = configure(optimizer={"name": "adamw", "lr": 0.003}, patience=5)
    parent()
    shutil.copytree(tmp_path, tmp_path / "again")
    expected, whole = forked(config, tmp_path / "again", monitor=ACCURACY)
    before, _ = forked(config, tmp_path, monitor=ACCURACY, until_epoch=5)
    after, result = forked(config, tmp_path, monitor=ACCURACY)
    assert [report.step for report in before] == [4, 5]
    assert [*before, *after] == expected
    assert same_weights(result, whole)
    assert result.best_step == whole.best_step


def test_patience_and_the_best_begin_with_the_fork(configure, parent: Begin, tmp_path: Path):
    parent()
    after, result = forked(configure(optimizer=STILL, patience=2), tmp_path, monitor=ACCURACY)
    assert [report.step for report in after] == [4, 5, 6]
    assert result.best_step == 4


@pytest.mark.parametrize(
    ("changes", "at", "message"),
    [
        ({"model": {"name": "mlp", "hidden": [8]}}, AT, "model: a fork continues the weights of its checkpoint"),
        ({}, AT - 1, "fork_at: the checkpoint is of epoch 3, not of the end of epoch 2"),
        ({"repeats": 2}, AT, "folds: a fork continues the 1 models of its checkpoint, not 2"),
    ],
)
def test_an_unusable_parent_is_refused(
    configure, parent: Begin, tmp_path: Path, changes: dict[str, Any], at: int, message: str
):
    parent()
    with pytest.raises(ConfigError, match=message):
        train(configure(**changes), seed=1, checkpoint_dir=tmp_path, fork_at=at)


def test_without_a_checkpoint_nothing_is_trained(configure, tmp_path: Path):
    with pytest.raises(ConfigError, match="fork_at: the checkpoint of epoch 3 to fork from is missing"):
        train(configure(), seed=1, checkpoint_dir=tmp_path, fork_at=AT)
