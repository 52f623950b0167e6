"""Loads the trained models of a checkpoint, rebuilt from the configuration that it holds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from worker.training.allowed_folders import ANYWHERE, AllowedFolders
from worker.training.checkpoints.checkpoint import load_checkpoint
from worker.training.data import DATA, Dataset
from worker.training.data.facts import dataset_of
from worker.training.errors import ConfigError, MissingFile
from worker.training.models import MODELS
from worker.training.models.finetune import FINETUNING


def load_models(path: Path | str) -> list[nn.Module]:
    """Load the trained models of a checkpoint file, or of the newest checkpoint in a directory.

    Models are sized by the facts about the dataset that the checkpoint holds. A checkpoint of an earlier version lacks
    them; then the dataset is loaded, from where the configuration says.

    Args:
        path: the file or directory.

    Returns:
        One model for each fold and repeat, on the CPU in evaluation mode, with the best weights if those were kept.

    Raises:
        ConfigError: the checkpoint or the dataset can't be used.
    """
    content = read_content("checkpoint", Path(path))
    if (described := content.get("preprocessing")) is not None:
        return models_of("checkpoint", content, [dataset_of(each) for each in described])
    return models_of("checkpoint", content, [_created(content["origin"], "data", DATA)])


def models_of(
    where: str, content: dict[str, Any], datasets: Sequence[Dataset], folders: AllowedFolders = ANYWHERE
) -> list[nn.Module]:
    """Return the trained models in a checkpoint's content, for datasets like those they were trained on.

    Args:
        where: the setting named in errors.
        content: the checkpoint's content.
        datasets: the datasets that size the models: one for all, or one for each fold.
        folders: the folders that paths in the checkpoint's own configuration must lie in.

    Raises:
        ConfigError: at `where`, the weights do not fit the dataset.
        OutsideFolders: a path of the configuration lies outside the `folders`.
    """
    best, models = content["best"], []
    for index, replicate in enumerate(content["replicates"]):
        weights = replicate["model"]
        if best is not None and best["weights"] is not None:
            weights = best["weights"][index]
        elif replicate["average"] is not None:
            # The average's state also has `n_averaged`, which is not a weight.
            average = {name: tensor for name, tensor in replicate["average"].items() if name != "n_averaged"}
            weights = {name.removeprefix("module."): tensor for name, tensor in average.items()}
        model = untrained_model(content["origin"], datasets[index % len(datasets)], folders)
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            raise ConfigError(
                where, "the weights do not fit the inputs of this data; use a checkpoint for the same inputs"
            ) from error
        models.append(model.eval())
    return models


def read_content(where: str, path: Path) -> dict[str, Any]:
    """Return what a checkpoint holds, as `Replicates.state_dict` wrote it.

    Raises:
        ConfigError: at `where`, there is no such file, or it is not a checkpoint of a training.
    """
    if not path.exists():
        raise MissingFile(where, f"there is no {str(path)!r} (looked for {path.absolute()})")
    try:
        content = load_checkpoint(path) if path.is_dir() else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch's reader may raise anything, and its message may quote the file
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None):
            raise
        raise ConfigError(where, f"{str(path)!r} can't be read as a checkpoint") from None
    if not isinstance(content, dict) or "origin" not in content:
        raise ConfigError(where, f"{str(path)!r} is not a checkpoint of a training")
    return content


def untrained_model(origin: dict[str, Any], dataset: Dataset, folders: AllowedFolders = ANYWHERE) -> nn.Module:
    """Build the model of a configuration for this dataset, with its initial weights."""
    model: nn.Module = _created(origin, "model", MODELS, dataset, folders=folders)
    _created(origin, "finetune", FINETUNING, model, folders=folders)  # fine-tuning may add layers
    return model


def _created(
    origin: dict[str, Any], section: str, registry: Any, *context: object, folders: AllowedFolders = ANYWHERE
) -> Any:
    settings = {name: value for name, value in origin[section].items() if name != "name"}
    return registry.create(origin[section]["name"], settings, *context, folders=folders)


def require_same(where: str, saved: dict[str, Any], current: dict[str, Any], path: str = "") -> None:
    """Check that a checkpoint's configuration equals the current one.

    Raises:
        ConfigError: at `where`, for the first setting that differs.
    """
    for name in sorted(saved.keys() | current.keys()):
        saved_value, value = saved.get(name), current.get(name)
        if isinstance(saved_value, dict) and isinstance(value, dict):
            require_same(where, saved_value, value, f"{path}{name}.")
        elif saved_value != value:
            raise ConfigError(
                where,
                f"the checkpoint is of a training with {path}{name} = {saved_value!r}, not {value!r}; use another one",
            )
