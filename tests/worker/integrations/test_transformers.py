"""The callback in a real transformers Trainer: reports evaluations and resumes from a checkpoint."""

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
    from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

    from worker.integrations.transformers import AssayerCallback, resume_folder

pytestmark = pytest.mark.filterwarnings("ignore")

TEXTS: Any = [{"input_ids": torch.tensor([1, 2 + n % 7, 3]), "labels": n % 2} for n in range(8)]


def train(trial: Trial, folder: Path, **settings: Any) -> None:
    shape = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    torch.random.default_generator.manual_seed(0)
    model = BertForSequenceClassification(BertConfig(vocab_size=10, max_position_embeddings=8, **shape))
    arguments = TrainingArguments(
        output_dir=str(folder / "out"),
        num_train_epochs=3,
        per_device_train_batch_size=4,
        learning_rate=1e-2,
        seed=trial.seed,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        logging_strategy="no",
        **{"eval_strategy": "epoch", "save_strategy": "epoch", **settings},
    )
    callbacks = [AssayerCallback(trial)]
    trainer = Trainer(model, arguments, train_dataset=TEXTS, eval_dataset=TEXTS, callbacks=callbacks)
    trainer.train(resume_from_checkpoint=resume_folder(trial, folder / "resumed"))


def told(agent: Agent) -> tuple[list[tuple[int, float]], list[CheckpointSaved]]:
    heard = agent.heard()
    steps = [(each.step, each.metrics["eval_loss"]) for each in heard if isinstance(each, Report)]
    return steps, [each for each in heard if isinstance(each, CheckpointSaved)]


def test_evaluations_are_reported_and_a_paused_trial_resumes_unchanged(tmp_path: Path) -> None:
    with trial_and_agent(tmp_path / "straight") as (trial, agent):
        train(trial, tmp_path / "straight")
        straight, saved = told(agent)
    assert [step for step, _ in straight] == [each.step for each in saved] == [1, 2, 3]
    with trial_and_agent(tmp_path / "first", run_until=2, pauses=True) as (trial, agent):
        train(trial, tmp_path / "first", save_strategy="no")
        begun, saved = told(agent)
    assert begun == straight[:2]
    assert [each.step for each in saved] == [2]
    with trial_and_agent(tmp_path / "second", resume_step=2, resume=saved[0].path) as (trial, agent):
        train(trial, tmp_path / "second")
        assert told(agent)[0] == straight[2:]


def test_a_verdict_to_stop_stops_the_trainer_and_steps_are_the_study_s_resource(tmp_path: Path) -> None:
    with trial_and_agent(tmp_path, resource="step") as (trial, agent):
        agent.order("stop")
        train(trial, tmp_path, eval_strategy="steps", eval_steps=1, save_strategy="no")
        assert [step for step, _ in told(agent)[0]] == [1]
        assert trial.last_order.action == "stop"
