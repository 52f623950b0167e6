"""A PyTorch Lightning callback: reports a trial's epochs, saves its checkpoints and follows the service's orders."""

from __future__ import annotations

import tempfile
from pathlib import Path

from worker.trial.trial import Trial

try:
    from pytorch_lightning import Callback, LightningModule, Trainer
except ImportError as error:
    raise ImportError("PyTorch Lightning is not installed here; write: pip install 'assayer[lightning]'") from error


class AssayerCallback(Callback):
    """Reports the logged metrics after each training epoch with a validation; for single-process trainers.

    A step is an epoch; or, if the study's resource is `step`, the number of optimizer steps. To resume from the trial's
    checkpoint, call `trainer.fit(model, ckpt_path=trial.load_checkpoint(), weights_only=True)`.
    """

    def __init__(self, trial: Trial) -> None:
        self._trial = trial
        self._was_validated = False

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's hook
        """Record that new validation metrics exist; the sanity check before training does not count."""
        self._was_validated = not trainer.sanity_checking

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002 - Lightning's hook
        """Report, save a checkpoint, and stop the trainer if the trial is ordered to stop or to pause."""
        if not self._was_validated and trainer.enable_validation:
            return
        self._was_validated = False
        step = trainer.current_epoch + 1 if self._trial.resource == "epoch" else trainer.global_step
        self._trial.report(step, {name: float(value) for name, value in trainer.callback_metrics.items()})
        with tempfile.TemporaryDirectory(prefix="assayer-") as folder:
            path = Path(folder) / "checkpoint.ckpt"
            trainer.save_checkpoint(path)
            self._trial.save_checkpoint(path)
        if self._trial.should_stop:
            trainer.should_stop = True
