"""Trained models from checkpoints: those at the end of a training, and files that are no checkpoint."""

from pathlib import Path
from typing import Any

import pytest
import torch

from worker.training import ConfigError, Monitor, load_models, train
from worker.training.data import DATA

WINE = DATA.create("wine", DATA.check("wine", {}))


@pytest.mark.parametrize(
    ("changes", "keep"),
    [({}, "last"), ({}, "best"), ({"ema_decay": 0.9}, "last"), ({"repeats": 2}, "best"), ({"folds": 2}, "last")],
    ids=["last", "best", "average", "repeats", "folds"],
)
def test_they_answer_as_those_that_the_training_ended_with(
    changes: dict[str, Any], keep: Any, configure: Any, tmp_path: Path
):
    monitor = Monitor("val/accuracy", "maximize", keep)
    result = train(configure(**changes), checkpoint_dir=tmp_path, monitor=monitor)
    loaded = load_models(tmp_path)
    assert len(loaded) == len(result.models)
    for model, trained in zip(loaded, result.models, strict=True):
        assert not model.training
        assert torch.equal(model(WINE.train.features), trained(WINE.train.features))


def test_a_single_file_may_be_named(configure: Any, tmp_path: Path):
    train(configure(epochs=1), checkpoint_dir=tmp_path)
    [file] = tmp_path.glob("*.pt")
    [model] = load_models(str(file))
    assert model(WINE.train.features).shape == (len(WINE.train), 3)


def test_a_file_that_is_no_checkpoint_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"checkpoint: there is no '.*gone'"):
        load_models(tmp_path / "gone")
