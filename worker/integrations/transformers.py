"""A callback for the Hugging Face Trainer: reports evaluations, saves checkpoints and follows the service's orders."""

from __future__ import annotations

import os
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worker.trial.trial import Trial

try:
    from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
except ImportError as error:
    raise ImportError("transformers is not installed here; write: pip install 'assayer[transformers]'") from error


class AssayerCallback(TrainerCallback):
    """Reports every evaluation and keeps the checkpoint that the trainer saves after it; for single-process trainers.

    A step is an epoch, rounded; or, if the study's resource is `step`, the number of optimizer steps. Evaluate and save
    at the same times (`eval_strategy`, `save_strategy`). A trial that is ordered to stop or to pause always saves.
    """

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._evaluated_at: int | None = None

    def on_evaluate(
        self,
        args: TrainingArguments,  # noqa: ARG002 - the library's hook
        state: TrainerState,
        control: TrainerControl,
        **kwargs: Any,
    ) -> None:
        """Report the numeric metrics, and stop the trainer if the trial is ordered to stop or to pause."""
        step = round(state.epoch or 0) if self._trial.resource == "epoch" else state.global_step
        if self._trial.step is not None and step <= self._trial.step:
            return  # of several evaluations within an epoch, only the first counts
        metrics: Mapping[str, Any] = kwargs["metrics"]
        self._trial.report(step, {name: value for name, value in metrics.items() if isinstance(value, int | float)})
        self._evaluated_at = state.global_step
        if self._trial.should_stop:
            control.should_save = control.should_training_stop = True

    def on_save(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,  # noqa: ARG002 - the library's hook
        **kwargs: Any,  # noqa: ARG002 - the library's hook
    ) -> None:
        """Keep the checkpoint that the trainer saved, if an evaluation came right before it."""
        if self._evaluated_at != state.global_step:
            return
        self._evaluated_at = None
        with tempfile.TemporaryDirectory(prefix="assayer-") as folder:
            path = Path(folder) / "checkpoint.tar"
            with tarfile.open(path, "w") as archive:
                archive.add(Path(str(args.output_dir)) / f"checkpoint-{state.global_step}", arcname=".")
            self._trial.save_checkpoint(path)


def resume_folder(trial: Trial, directory: str | os.PathLike[str]) -> str | None:
    """Unpack the trial's checkpoint into `directory`; None if the trial starts from scratch.

    Use it as `trainer.train(resume_from_checkpoint=resume_folder(trial, "resumed"))`.
    """
    saved = trial.load_checkpoint()
    if saved is None:
        return None
    with tarfile.open(saved) as archive:
        archive.extractall(directory, filter="data")
    return str(directory)
