"""The callback in a real Lightning Trainer: reports epochs, follows verdicts, resumes from checkpoints."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.worker.custom_code import Agent, trial_and_agent
from worker.protocol import CheckpointSaved, Report
from worker.trial.trial import Trial

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # what the library does on import is its own
    import pytorch_lightning as lightning

    from worker.integrations.lightning import AssayerCallback

pytestmark = pytest.mark.filterwarnings("ignore")

EXAMPLES = torch.linspace(-1, 1, 16).reshape(8, 2)
LOADER = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(EXAMPLES, EXAMPLES.sum(1)), batch_size=4)


class Line(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        torch.nn.init.zeros_(self.layer.weight)

    def training_step(self, batch: list[torch.Tensor], _: int) -> torch.Tensor:
        return self.loss("train/loss", batch)

    def validation_step(self, batch: list[torch.Tensor], _: int) -> None:
        self.loss("loss", batch)

    def loss(self, name: str, batch: list[torch.Tensor]) -> torch.Tensor:
        loss = torch.nn.functional.mse_loss(self.layer(batch[0])[:, 0], batch[1])
        self.log(name, loss, on_epoch=True, on_step=False)
        return loss

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.5)
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1, 0.7)]


def fit(trial: Trial, folder: Path, **settings: Any) -> None:
    trainer = lightning.Trainer(
        max_epochs=4,
        accelerator="cpu",
        callbacks=[AssayerCallback(trial)],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=folder,
        **settings,
    )
    model = Line()
    torch.nn.init.zeros_(model.layer.bias)
    trainer.fit(model, LOADER, LOADER, ckpt_path=trial.load_checkpoint(), weights_only=True)


def reports(agent: Agent) -> tuple[list[Report], list[CheckpointSaved]]:
    heard = agent.heard()
    return [each for each in heard if isinstance(each, Report)], [
        each for each in heard if isinstance(each, CheckpointSaved)
    ]


def test_epochs_are_reported_and_a_paused_trial_resumes_unchanged(tmp_path: Path) -> None:
    with trial_and_agent(tmp_path / "straight") as (trial, agent):
        fit(trial, tmp_path)
        straight, saved = reports(agent)
    assert [report.step for report in straight] == [saved.step for saved in saved] == [1, 2, 3, 4]
    assert set(straight[0].metrics) == {"loss", "train/loss"}
    assert straight[3].metrics["loss"] < straight[0].metrics["loss"]
    with trial_and_agent(tmp_path / "first", run_until=2, pauses=True) as (trial, agent):
        fit(trial, tmp_path)
        begun, saved = reports(agent)
    assert begun == straight[:2]
    resumed = {"resume_step": 2, "resume": saved[-1].path}
    with trial_and_agent(tmp_path / "second", **resumed) as (trial, agent):
        fit(trial, tmp_path)
        assert reports(agent)[0] == straight[2:]


def test_a_verdict_to_stop_stops_the_trainer(tmp_path: Path) -> None:
    with trial_and_agent(tmp_path) as (trial, agent):
        agent.order("stop")
        fit(trial, tmp_path)
        assert [report.step for report in reports(agent)[0]] == [1]
        assert trial.last_order.action == "stop"


def test_only_what_was_validated_is_reported_and_steps_are_the_study_s_resource(tmp_path: Path) -> None:
    with trial_and_agent(tmp_path, resource="step") as (trial, agent):
        fit(trial, tmp_path, check_val_every_n_epoch=2)
        assert [report.step for report in reports(agent)[0]] == [4, 8]
