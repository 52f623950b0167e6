"""Registration of custom entries: imports the modules that add to the core's registries and lists what they added."""

from __future__ import annotations

import importlib
import json
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from worker.training.config import LISTS, REGISTRIES
from worker.trial.provenance import loaded_sources

_SECTIONS = {**REGISTRIES, **LISTS}


class RegistrationFailed(Exception):
    """Custom modules cannot be registered here; the message is one sentence that names the module and the reason."""


@dataclass(frozen=True)
class Registration:
    """The entries that custom modules added."""

    entries: Mapping[str, Mapping[str, Any]]
    """Section -> name -> description, as in the catalogue; without the core's own entries."""
    sources: Mapping[str, Path]
    """The files that were loaded for them, by module."""


def register(modules: Sequence[str]) -> Registration:
    """Import the modules into this process, relative to the working directory.

    Raises:
        RegistrationFailed: A module cannot be imported, reuses a name or uses the GPU, or no module adds an entry.
    """
    loaded_before = set(sys.modules)
    core_names = {section: {entry.name for entry in registry} for section, registry in _SECTIONS.items()}
    sources: dict[str, Path] = {}
    for module in modules:
        try:
            importlib.import_module(module)
        except BaseException as error:  # anything that custom code raises, even SystemExit, ends this worker
            raise RegistrationFailed(f"cannot register {module}: {_describe_error(error, module)}") from error
        sources |= loaded_sources(module, loaded_before)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        raise RegistrationFailed(
            f"cannot register {', '.join(modules)}: importing it uses the GPU, and processes forked after that cannot "
            "use it; create tensors inside functions, and without a device"
        )
    entries: dict[str, dict[str, Any]] = {}
    for section, registry in _SECTIONS.items():
        for entry in registry:
            if entry.name not in core_names[section]:
                entries.setdefault(section, {})[entry.name] = _as_json(section, entry.name, entry.describe())
    if modules and not entries:
        raise RegistrationFailed(
            f"{', '.join(modules)} adds nothing to the training core's registries; "
            "to add a model, write: from worker.training.models import MODELS, then MODELS.add(my_net)"
        )
    return Registration(entries, sources)


def _describe_error(error: BaseException, module: str) -> str:
    if isinstance(error, ModuleNotFoundError) and error.name is not None:
        if error.name == module or module.startswith(f"{error.name}."):
            return f"there is no module {error.name!r} in {Path.cwd()} or on PYTHONPATH"
        return f"it imports the module {error.name!r}, which is not installed here"
    if isinstance(error, ValueError) and str(error):  # for example an error of a registry
        return " ".join(str(error).split())
    traceback.print_exception(error)
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _as_json(section: str, name: str, description: dict[str, Any]) -> Any:
    """Return the description as the service receives it."""
    try:
        return json.loads(json.dumps(description, allow_nan=False))
    except (TypeError, ValueError) as error:
        message = f"cannot register {section} {name!r}: its description cannot be written as JSON: {error}"
        raise RegistrationFailed(message) from None
