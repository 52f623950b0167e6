"""Bundle files: a zip of bundle.json, model.safetensors and card.md; neither of them runs code when it is read."""

import json
import platform
import zipfile
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError
from torch import nn

from worker.training.bundle.bundle import Bundle
from worker.training.checkpoints.load import models_of, read_content, untrained_model
from worker.training.components.link import LINKS, link_of
from worker.training.config import REGISTRIES
from worker.training.data.facts import dataset_of
from worker.training.errors import ConfigError, MissingFile

FORMAT = 1
"""The version of the bundle file's format."""

_JSON, _WEIGHTS, _CARD = "bundle.json", "model.safetensors", "card.md"
_BUILT = ("model", "finetune")
"""The sections of a configuration whose entries build a model."""
_TIME = (1980, 1, 1, 0, 0, 0)
"""The time of each file in the zip, so that equal bundles are equal files."""
_PACKAGES = ("assayer", "torch", "numpy", "scikit-learn", "pyarrow")


def bundle_of_checkpoint(path: Path | str, where: str = "checkpoint") -> Bundle:
    """Return the bundle of a checkpoint's models: with the best weights if those were kept, else the last.

    Raises:
        ConfigError: at `where`, the file is no checkpoint, or one of an earlier version, without its preprocessing.
    """
    content = read_content(where, Path(path))
    if (described := content.get("preprocessing")) is None:
        raise ConfigError(
            where,
            f"{str(path)!r} was written by an earlier version, which did not keep the preprocessing of the data in "
            "checkpoints; train the trial again, then export it",
        )
    origin = content["origin"]
    _require_entries(where, origin, [*_BUILT, "loss"], {})
    datasets = [dataset_of(each) for each in described]
    models = models_of(where, content, datasets)
    best = content["best"]
    is_best = best is not None and best["weights"] is not None
    step = best["step"] if is_best else content["replicates"][0]["epoch"]
    link = link_of(origin["loss"]["name"], datasets[0].kind)
    [link_name] = [name for name, each in LINKS.items() if each is link]
    facts = {
        "format": FORMAT,
        "metrics": dict(best["metrics"] if is_best else content["metrics"]),
        "modules": _custom_modules(origin),
        "versions": {"python": platform.python_version(), **{name: version(name) for name in _PACKAGES}},
    }
    return Bundle(models, datasets, described, link_name, origin, step, facts)


def write_bundle(path: Path | str, bundle: Bundle, card: str = "", extra: Mapping[str, Any] | None = None) -> None:
    """Write a bundle to a file, which is complete or not there.

    Args:
        path: the file.
        bundle: the bundle.
        card: the model card, in Markdown.
        extra: further facts, such as the study and the search's evidence; JSON types.
    """
    files = {
        _JSON: json.dumps(document_of(bundle, extra), indent=1, ensure_ascii=False).encode(),
        _WEIGHTS: safetensors.torch.save(weights_of(bundle.models)),
        _CARD: card.encode(),
    }
    partial = Path(path).with_name(f"{Path(path).name}.partial")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                archive.writestr(zipfile.ZipInfo(name, _TIME), content, zipfile.ZIP_DEFLATED)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


def document_of(bundle: Bundle, extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Return all that a bundle holds beside the weights and the card, and further facts, as JSON types."""
    return {
        **bundle.facts,
        **(extra or {}),
        "config": bundle.config,
        "step": bundle.step,
        "link": bundle.link,
        "models": len(bundle.models),
        "datasets": list(bundle.described),
    }


def load_bundle(path: Path | str) -> Bundle:
    """Load a bundle file. Import the modules of custom entries before.

    Raises:
        ConfigError: the file is no bundle, of a newer format, or needs a custom entry that is not registered.
    """
    file = Path(path)
    if not file.is_file():
        raise MissingFile("bundle", f"there is no file {str(path)!r} (looked for {file.absolute()})")
    try:
        with zipfile.ZipFile(file) as archive:
            document = json.loads(archive.read(_JSON))
            weights = safetensors.torch.load(archive.read(_WEIGHTS))
        newest, config, modules = document["format"], document["config"], document["modules"]
    except (zipfile.BadZipFile, KeyError, ValueError, SafetensorError, TypeError):
        message = f"{str(path)!r} can't be read as a bundle; write one with study export-model, or use a whole copy"
        raise ConfigError("bundle", message) from None
    if newest > FORMAT:
        raise ConfigError("bundle", f"{str(path)!r} has the format {newest}, which a newer assayer wrote; upgrade")
    _require_entries("bundle", config, _BUILT, modules)
    datasets = [dataset_of(each) for each in document["datasets"]]
    models: list[nn.Module] = []
    for index in range(document["models"]):
        model = untrained_model(config, datasets[index % len(datasets)])
        prefix = f"{index}/"
        state = {name.removeprefix(prefix): each for name, each in weights.items() if name.startswith(prefix)}
        try:
            model.load_state_dict(state)
        except RuntimeError:
            raise ConfigError(
                "bundle", f"the weights do not fit the model {config['model']['name']!r} as this version builds it"
            ) from None
        models.append(model.eval())
    used = {"config", "step", "link", "models", "datasets"}
    facts = {name: value for name, value in document.items() if name not in used}
    return Bundle(models, datasets, document["datasets"], document["link"], config, document["step"], facts)


def weights_of(models: Sequence[nn.Module]) -> dict[str, torch.Tensor]:
    """Return the weights of all models; a name begins with the model's number and a slash."""
    return {
        f"{index}/{name}": tensor.detach().cpu().contiguous().clone()  # weights that are shared are written twice
        for index, model in enumerate(models)
        for name, tensor in model.state_dict().items()
    }


def _custom_modules(origin: Mapping[str, Any]) -> dict[str, str]:
    """Return the module of each custom entry that the configuration chooses, by section."""
    modules = {
        section: str(REGISTRIES[section].entry(origin[section]["name"]).factory.__module__) for section in _BUILT
    }
    return {section: module for section, module in modules.items() if not module.startswith("worker.training")}


def _require_entries(
    where: str, config: Mapping[str, Any], sections: Sequence[str], modules: Mapping[str, str]
) -> None:
    """Raise ConfigError at `where` for a custom entry that is not registered; the message names its module."""
    for section in sections:
        name = config[section]["name"]
        if name not in {entry.name for entry in REGISTRIES[section]}:
            module = f"the module {modules[section]}" if section in modules else "a module"
            raise ConfigError(
                where,
                f"the {section} {name!r} is a custom entry of {module} that is not registered here; import the module "
                "first (--register on the command line)",
            )
