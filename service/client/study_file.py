"""Reads and writes study files: YAML to a checked StudySpec and back.

Relative paths in a study (data, tokenizer, teacher, …) are relative to the study file. If the path exists there, it is
made absolute, so that a worker started elsewhere on the machine finds it. Other relative paths are left to the worker.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from service.client.errors import invalid_study
from service.client.spec import parse
from service.client.yaml_reader import MAX_BYTES, Dumper, read
from service.contract.base import TaskKind
from service.contract.catalogue import Catalogue, load_catalogue
from service.contract.study import StudySpec
from service.contract.teacher import TEACHER, is_path

__all__ = ["dump", "load", "read", "text_of"]

_INPUTS = ("data", "loss")
"""Sections whose paths must exist before training starts.

Other sections write to their paths, or may mean something other than a path.
"""


def dump(study: StudySpec) -> str:
    """Return a study as the text of a study file, without settings that have their default values."""
    document = study.model_dump(mode="json", exclude_defaults=True)
    return yaml.dump(document, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120)


def load(path: str | Path, note: Callable[[str], None] | None = None) -> StudySpec:
    """Read and check a study file.

    Args:
        path: the study file.
        note: called with each warning about something that the user may not have meant.

    Raises:
        InvalidStudy: the file cannot be read, is not YAML, or is not a study. The message has one sentence per mistake.
    """
    path = Path(path)
    document = read(text_of(path), source=str(path))
    if not isinstance(document, dict):
        raise invalid_study(path, "is not a study: write settings such as `name: digits-mlp`, one per line")
    _refuse_other_tools(path, document)
    for message in _resolve_paths(document, path.parent):
        if note is not None:
            note(f"{path}: {message}")
    return parse(document, source=str(path))


def text_of(path: Path) -> str:
    """Return the text of a study file.

    Raises:
        InvalidStudy: it is not a regular file, is too large, or is not UTF-8.
    """
    try:
        kind = path.stat()
        if stat.S_ISDIR(kind.st_mode):
            raise invalid_study(path, "is a folder; name the study file in it")
        if not stat.S_ISREG(kind.st_mode):  # a pipe or a device may never end
            raise invalid_study(path, "is a device or a pipe, not a file; name the study file")
        if kind.st_size > MAX_BYTES:
            size = f"{kind.st_size / 1024:,.0f} KiB"
            raise invalid_study(path, f"has {size}; a study file has at most {MAX_BYTES // 1024} KiB")
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise invalid_study(path, "no such file") from None
    except UnicodeDecodeError:
        raise invalid_study(path, "is not UTF-8 text; save it as UTF-8") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL
        raise invalid_study(path, f"cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _refuse_other_tools(path: Path, document: Mapping[Any, Any]) -> None:
    """Refuse the files of other tools by name, because a list of missing settings would not help their users."""
    has_study_keys = bool({"objective", "space"} & document.keys())
    if not has_study_keys and {"method", "parameters"} <= document.keys():
        begin = "write its `parameters` as `space`, its `metric` as `objective`, its `method` as `sampler`"
        raise invalid_study(path, f"is a W&B sweep file, not a study file; {begin}, or begin with: study init DATA")
    if not has_study_keys and str(document.get("apiVersion", "")).startswith("kubeflow.org/"):
        raise invalid_study(path, "is a Katib experiment, not a study file; begin one with: study init DATA")


def _resolve_paths(document: dict[str, Any], directory: Path) -> list[str]:
    """Make relative paths absolute if they exist beside the study file. Return a note for each other path."""
    task = document.get("task")
    notes: list[str] = []
    for kind in (TaskKind.TRAIN, TaskKind.ESTIMATOR):
        given = task.get(kind) if isinstance(task, dict) else None
        if isinstance(given, dict):
            notes += _resolve_sections(given, load_catalogue().for_kind(kind), f"task.{kind}", directory)
    return list(dict.fromkeys(notes))


def _resolve_sections(given: dict[str, Any], catalogue: Catalogue, where: str, directory: Path) -> Iterator[str]:
    for section, entries in catalogue.sections.items():
        chosen_entries = given.get(section)
        for chosen in chosen_entries if isinstance(chosen_entries, list) else [chosen_entries]:
            if not isinstance(chosen, dict):
                continue
            entry = entries.get(chosen["name"]) if isinstance(chosen.get("name"), str) else None
            # A custom entry may have settings with the same names as the core's.
            for option in (entry,) if entry is not None else entries.values():
                for name, setting in option.parameters.items():
                    value = chosen.get(name)
                    if isinstance(value, str) and _is_relative(section, name, value, setting.names):
                        chosen[name] = _beside(directory, value)
                        if chosen[name] == value and section in _INPUTS and setting.names == "path":
                            yield (
                                f"{where}.{section}.{name}: there is no {value} beside the study file; each worker "
                                "looks for it from the directory that it was started in"
                            )


def _is_relative(section: str, name: str, value: str, names: str | None) -> bool:
    if names is None or not value or Path(value).is_absolute() or "\0" in value:
        return False
    return f"{section}.{name}" != TEACHER or is_path(value)


def _beside(directory: Path, value: str) -> str:
    """Return the absolute path if the file exists, else the value unchanged."""
    here = (directory / value).resolve()
    try:
        return str(here) if here.exists() else value
    except OSError:  # a name that no file can have
        return value
