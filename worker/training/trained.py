"""What a training has learned, from its checkpoint: its models, rebuilt from the configuration that this holds."""

from pathlib import Path
from typing import Any

import torch
from torch import nn

from worker.training.allowed_folders import ANYWHERE, AllowedFolders
from worker.training.checkpoint import load_checkpoint
from worker.training.data import DATA, Dataset
from worker.training.errors import ConfigError
from worker.training.finetune import FINETUNING
from worker.training.models import MODELS


def load_models(path: Path | str) -> list[nn.Module]:
    """The trained models of a checkpoint file, or of the newest in a directory: one for each fold and repeat.

    On the CPU and ready to answer, with their best weights where those were kept. The data that they were trained on
    is loaded for its facts, from where the configuration says. Raises ConfigError where file or data can't be used.
    """
    content = read_content("checkpoint", Path(path))
    return models_of("checkpoint", content, _created(content["origin"], "data", DATA))


def models_of(
    where: str, content: dict[str, Any], dataset: Dataset, folders: AllowedFolders = ANYWHERE
) -> list[nn.Module]:
    """The trained models in a checkpoint's content, for data like theirs; ConfigError at `where` for other data.

    What the checkpoint's own configuration reads lies in the `folders`, or is refused.
    """
    best, models = content["best"], []
    for index, member in enumerate(content["members"]):
        weights = member["model"]
        if best is not None and best["weights"] is not None:
            weights = best["weights"][index]
        elif member["average"] is not None:
            # Beside the average stands how many weights are in it.
            average = {name: each for name, each in member["average"].items() if name != "n_averaged"}
            weights = {name.removeprefix("module."): each for name, each in average.items()}
        model = _untrained(content["origin"], dataset, folders)
        try:
            model.load_state_dict(weights)
        except RuntimeError as error:
            raise ConfigError(where, "its weights are for other data; use one of the same inputs") from error
        models.append(model.eval())
    return models


def read_content(where: str, path: Path) -> dict[str, Any]:
    """What a checkpoint holds, as `Members.content` wrote it; ConfigError at `where` for anything else."""
    if not path.exists():
        raise ConfigError(where, f"there is no {str(path)!r} (looked for {path.absolute()})")
    try:
        content = load_checkpoint(path) if path.is_dir() else torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a file of any kind makes torch's reader raise any kind, in words that may quote it
        if isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno is not None):
            raise
        raise ConfigError(where, f"{str(path)!r} can't be read as a checkpoint") from None
    if not isinstance(content, dict) or "origin" not in content:
        raise ConfigError(where, f"{str(path)!r} holds no checkpoint of a training")
    return content


def _untrained(origin: dict[str, Any], dataset: Dataset, folders: AllowedFolders) -> nn.Module:
    """The model of a configuration, for this data."""
    model: nn.Module = _created(origin, "model", MODELS, dataset, folders=folders)
    _created(origin, "finetune", FINETUNING, model, folders=folders)  # which may add to it
    return model


def _created(
    origin: dict[str, Any], section: str, registry: Any, *context: object, folders: AllowedFolders = ANYWHERE
) -> Any:
    settings = {name: value for name, value in origin[section].items() if name != "name"}
    return registry.create(origin[section]["name"], settings, *context, folders=folders)
