"""What every model, loss and optimizer must do, whichever it is."""

from pathlib import Path
from typing import Any

import pytest
import torch

from worker.training import TrainingConfig, train
from worker.training.data import DATA
from worker.training.losses import LOSSES
from worker.training.models import MODELS
from worker.training.optimizers import OPTIMIZERS
from worker.training.schedules import SCHEDULES
from worker.training.seeding import own_stream

FITTING = {"classification": "wine", "regression": "diabetes"}


@pytest.mark.parametrize("model_name", [entry.name for entry in MODELS])
@pytest.mark.parametrize("loss_name", [entry.name for entry in LOSSES])
def test_every_model_overfits_one_batch_with_every_loss(model_name: str, loss_name: str):
    data = FITTING[LOSSES.entry(loss_name).facts["kinds"][0]]
    dataset = DATA.create(data, DATA.check(data, {}))
    features, targets = dataset.train.features[:8], dataset.train.targets[:8]
    with own_stream(0, torch.device("cpu")):
        settings = MODELS.check(model_name, {})
        model = MODELS.create(model_name, settings, dataset)
    loss = LOSSES.create(loss_name, LOSSES.check(loss_name, {}), dataset)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for step in range(300):
        if step == 200:
            optimizer.param_groups[0]["lr"] = 0.002
        batch_loss = loss(model(features), targets)
        optimizer.zero_grad()
        batch_loss.backward()
        optimizer.step()
    assert batch_loss.item() < 0.02


@pytest.mark.parametrize("name", [entry.name for entry in OPTIMIZERS])
def test_every_optimizer_learns(name: str, configure):
    result = train(configure(optimizer={"name": name}, schedule={"name": "constant"}, epochs=50))
    assert result.metrics["val/accuracy"] > 0.9


@pytest.mark.parametrize("name", [entry.name for entry in OPTIMIZERS])
def test_every_optimizer_resumes_bit_for_bit(name: str, configure, tmp_path: Path):
    settings: dict[str, Any] = {"momentum": 0.8} if "momentum" in OPTIMIZERS.entry(name).parameters else {}
    assert_resumes(configure(optimizer={"name": name, **settings}), tmp_path)


@pytest.mark.parametrize("name", [entry.name for entry in SCHEDULES])
def test_every_schedule_resumes_bit_for_bit(name: str, configure, tmp_path: Path):
    # The plateau drops at once here: no loss falls by nine tenths from epoch to epoch.
    settings: dict[str, Any] = {"patience": 0, "threshold": 0.9, "factor": 0.5} if name == "plateau" else {}
    assert_resumes(configure(schedule={"name": name, **settings}), tmp_path)


def assert_resumes(config: TrainingConfig, tmp_path: Path) -> None:
    straight = train(config, seed=3)
    train(config, seed=3, checkpoint_dir=tmp_path, until_epoch=2)
    resumed = train(config, seed=3, checkpoint_dir=tmp_path)
    for (key, expected), weights in zip(
        straight.model.state_dict().items(), resumed.model.state_dict().values(), strict=True
    ):
        assert torch.equal(expected, weights), key
