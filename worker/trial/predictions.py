"""Saves the predictions of a finished training to a file, and collects its confusion counts."""

from __future__ import annotations

import hashlib
from pathlib import Path

from service.contract.predictions import MAX_CLASSES, Confusion
from worker.protocol import PredictionsSaved
from worker.training import TrainingResult
from worker.training.predictions_file import num_bytes, write
from worker.trial.channel import Channel

_MAX_MIB = 64


class PredictionsNotKept(Exception):
    """The predictions are not kept, for the reason in the message; the training still succeeded."""


def save(directory: Path, result: TrainingResult, class_names: tuple[str, ...]) -> PredictionsSaved | None:
    """Write the predictions to a file in `directory`; None if there are none.

    Raises:
        PredictionsNotKept: The predictions are too large, or the file cannot be written.
    """
    if not result.predictions:
        return None
    if (mib := num_bytes(result.predictions) / 2**20) > _MAX_MIB:
        num = sum(len(predictions.ids) for predictions in result.predictions.values())
        raise PredictionsNotKept(
            f"the predictions were not saved: those of {num} examples take {mib:.1f} MiB, more than {_MAX_MIB}"
        )
    path = directory / "predictions.parquet"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        write(path, result.predictions, class_names)
        with path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return PredictionsSaved(str(path), sha256, path.stat().st_size)
    except OSError as error:
        raise PredictionsNotKept(f"the predictions were not saved: {path}: {error.strerror}") from error


def save_and_announce(channel: Channel, directory: Path, result: TrainingResult, class_names: tuple[str, ...]) -> str:
    """Save the predictions and announce them to the agent; return why they are not kept, or an empty string."""
    try:
        saved = save(directory, result, class_names)
    except PredictionsNotKept as reason:
        return str(reason)
    if saved is not None:
        channel.send_predictions(saved)
    return ""


def confusion(result: TrainingResult, class_names: tuple[str, ...]) -> Confusion | None:
    """Return the confusion counts of all splits; None if there are none, or too many classes."""
    if not class_names or len(class_names) > MAX_CLASSES or not (counts := result.confusion):
        return None
    return Confusion(classes=list(class_names), splits={str(split): rows for split, rows in counts.items()})
