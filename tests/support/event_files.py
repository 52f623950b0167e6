"""Reads TensorBoard event files with TensorBoard's own accumulator."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams.metadata import PLUGIN_NAME, SESSION_START_INFO_TAG
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData


def read(folder: Path) -> EventAccumulator:
    return EventAccumulator(str(folder), size_guidance={"scalars": 0, "tensors": 0}).Reload()


def curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """Each scalar's steps and values, in the order they are read."""
    events = read(folder)
    return {name: [(each.step, each.value) for each in events.Scalars(name)] for name in events.Tags()["scalars"]}


def parameters(folder: Path) -> dict[str, Any]:
    """What the table that compares trainings shows of this one."""
    content = read(folder).PluginTagToContent(PLUGIN_NAME)[SESSION_START_INFO_TAG]
    values = HParamsPluginData.FromString(content).session_start_info.hparams
    return {name: getattr(value, str(value.WhichOneof("kind"))) for name, value in values.items()}
