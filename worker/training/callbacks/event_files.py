"""TensorBoard event files of one training: scalars, hyperparameters and texts, on disk within seconds."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worker.training.optional_deps import library

_FLUSH_SECONDS = 1
"""How much a killed process may lose where TensorFlow is installed; without it each event is written at once."""


class EventFiles:
    """Writes event files into `directory`. TensorBoard ignores events already there of `first_step` or later.

    Args:
        directory: where the files go.
        first_step: the first step (epoch, from 1) that this training writes.
        path: the setting named in errors.

    Raises:
        MissingLibrary: at `path`, without the extra `tensorboard`.
    """

    def __init__(self, directory: Path, first_step: int, path: str) -> None:
        library("tensorboard", path)
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - imports tensorboard

        self._name = str(directory)
        self._writer: Any = SummaryWriter(self._name, purge_step=first_step, flush_secs=_FLUSH_SECONDS)

    def scalars(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write a value of each curve at `step`."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def final(self, step: int, metrics: Mapping[str, float]) -> None:
        """Write values of the whole training as `final/NAME`, beside the curves."""
        self.scalars(step, {f"final/{name}": value for name, value in metrics.items()})

    def parameters(self, values: Mapping[str, Any]) -> None:
        """Write the configuration for TensorBoard's table that compares trainings; values of None are left out."""
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb  # noqa: PLC0415 - part of the extra

        plain = {
            name: value if isinstance(value, bool | int | float | str) else json.dumps(value)
            for name, value in values.items()
            if value is not None
        }
        # The trial ID makes each directory its own row, even if the parameters are equal.
        self._writer.file_writer.add_summary(hparams_pb(plain, trial_id=self._name))

    def text(self, step: int, name: str, markdown: str) -> None:
        """Write a text in Markdown at `step`."""
        self._writer.add_text(name, markdown, step)

    def close(self) -> None:
        self._writer.close()
