"""TensorBoard callback: writes metrics, learning rates, the configuration and confusion matrices."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from worker.training.callbacks.callback import Callback, Training
from worker.training.callbacks.event_files import EventFiles
from worker.training.events import Report, TrainingResult
from worker.training.optional_deps import library
from worker.training.parameters import Setting

_PATH = "callbacks"
_MAX_CLASSES = 50
"""Confusion matrices of more classes are left out, because they would be unreadable."""


class TensorBoard(Callback):
    """Writes into a subfolder of `directory` named after the model and a digest of the configuration and seed.

    So trainings may share the directory, and a resumed training continues in its own subfolder.

    Raises:
        MissingLibrary: without the extra `tensorboard`.
    """

    def __init__(self, directory: Path) -> None:
        library("tensorboard", _PATH)
        self._directory = directory
        self._files: EventFiles | None = None

    def on_begin(self, training: Training) -> None:
        config = {name: value for name, value in training.config.items() if name != _PATH}
        identity = json.dumps([config, training.seed], sort_keys=True)
        digest = hashlib.sha256(identity.encode()).hexdigest()[:8]
        self._groups = training.optimizers[0].param_groups
        self._class_names = training.datasets[0].class_names
        self._files = EventFiles(self._directory / f"{config['model']['name']}-{digest}", training.epoch + 1, _PATH)
        self._files.parameters({**dict(_flat(config)), "seed": training.seed})

    def on_report(self, report: Report) -> None:
        assert self._files is not None, "training has begun"
        # Where layers have different rates, the top layer has the largest.
        rate = max(float(group["lr"]) for group in self._groups)
        self._files.scalars(report.step, {**report.metrics, "learning_rate": rate})

    def on_end(self, result: TrainingResult) -> None:
        assert self._files is not None, "training has begun"
        self._files.final(result.step, result.metrics)
        for split, matrix in result.confusion.items():
            if len(matrix) <= _MAX_CLASSES:
                self._files.text(result.step, f"{split}/confusion", _table(matrix, self._class_names))

    def close(self) -> None:
        if self._files is not None:
            self._files.close()


def tensorboard(
    *,
    directory: Annotated[str, Setting("where each training writes into a folder of its own", names="path")],
) -> Callback:
    """TensorBoard event files: metrics and learning rates by epoch, the configuration, and confusion matrices."""
    return TensorBoard(Path(directory))


def _flat(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield the settings with their dotted paths, as a search space names them."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            yield from ((f"{name}.{inner}", setting) for inner, setting in value.items())
        else:
            yield name, value


def _table(matrix: Sequence[Sequence[int]], names: Sequence[str]) -> str:
    """Return the matrix as a table in Markdown."""
    names = names or [str(index) for index in range(len(matrix))]
    escaped = [name.replace("|", "\\|") for name in names]
    lines = [["true ↓ predicted →", *escaped], ["---"] * (len(matrix) + 1)]
    lines += [[f"**{name}**", *map(str, row)] for name, row in zip(escaped, matrix, strict=True)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
