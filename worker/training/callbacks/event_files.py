"""TensorBoard's event files of one training: curves, parameters and texts, on disk within seconds."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worker.training.extras import library

_FLUSH_SECONDS = 1
"""What a process that is killed may lose where TensorFlow is installed; otherwise each event is written as it comes."""


class EventFiles:
    """Writes into `directory` from `first_step` on; what is there of that step or later counts no more.

    MissingLibrary at `path` without the extra `tensorboard`.
    """

    def __init__(self, directory: Path, first_step: int, path: str) -> None:
        library("tensorboard", path)
        from torch.utils.tensorboard import SummaryWriter  # noqa: PLC0415 - imports tensorboard

        self._name = str(directory)
        self._writer: Any = SummaryWriter(self._name, purge_step=first_step, flush_secs=_FLUSH_SECONDS)

    def scalars(self, step: int, metrics: Mapping[str, float]) -> None:
        """A value of each curve."""
        for name, value in metrics.items():
            self._writer.add_scalar(name, value, step)

    def final(self, step: int, metrics: Mapping[str, float]) -> None:
        """What holds of the whole training, beside the curves: `final/NAME`."""
        self.scalars(step, {f"final/{name}": value for name, value in metrics.items()})

    def parameters(self, values: Mapping[str, Any]) -> None:
        """What the training was set to, for the table that compares trainings; None is left out."""
        from tensorboard.plugins.hparams.summary_v2 import hparams_pb  # noqa: PLC0415 - of the extra

        plain = {
            name: value if isinstance(value, bool | int | float | str) else json.dumps(value)
            for name, value in values.items()
            if value is not None
        }
        # Each directory is a row of its own, whatever else is set alike.
        self._writer.file_writer.add_summary(hparams_pb(plain, trial_id=self._name))

    def text(self, step: int, name: str, markdown: str) -> None:
        self._writer.add_text(name, markdown, step)

    def close(self) -> None:
        self._writer.close()
