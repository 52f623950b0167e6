"""The study file: YAML in, a checked StudySpec out, and back.

A relative path of the training data that exists here, seen from the current directory or else from the study
file, is made absolute, so that a worker started elsewhere on the machine finds it; any other path is the worker's.
"""

from __future__ import annotations

import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from service.client.errors import InvalidStudy
from service.client.spec import parse
from service.client.yaml_reader import MAX_BYTES, Dumper, read
from service.contract.problem import FieldError
from service.contract.study import StudySpec

__all__ = ["dump", "load", "read", "text_of"]

PATHS = ("path", "train", "val", "test", "test_val", "table")
"""The settings of `task.train.data` that name files."""


def dump(study: StudySpec) -> str:
    """Write a study as a file that reads as it; what is as by default is left out."""
    document = study.model_dump(mode="json", exclude_defaults=True)
    return yaml.dump(document, Dumper=Dumper, sort_keys=False, allow_unicode=True, width=120)


def load(path: str | Path) -> StudySpec:
    """Read and check a study file.

    Raises:
        InvalidStudy: the file cannot be read, is not YAML, or is not a study; one sentence per mistake.
    """
    path = Path(path)
    document = read(text_of(path), source=str(path))
    if not isinstance(document, dict):
        raise _wrong(path, "is not a study: write settings such as `name: digits-mlp`, one per line")
    _refuse_other_tools(path, document)
    _resolve_data_paths(document, path.parent)
    return parse(document, source=str(path))


def text_of(path: Path) -> str:
    """Return what stands in a study file.

    Raises:
        InvalidStudy: it is no regular file, too large, or not UTF-8.
    """
    try:
        kind = path.stat()
        if stat.S_ISDIR(kind.st_mode):
            raise _wrong(path, "is a folder; name the study file in it")
        if not stat.S_ISREG(kind.st_mode):  # a pipe or a device may never end
            raise _wrong(path, "is no file but a device or a pipe; name the study file")
        if kind.st_size > MAX_BYTES:
            size = f"{kind.st_size / 1024:,.0f} KiB"
            raise _wrong(path, f"has {size}; a study file has at most {MAX_BYTES // 1024} KiB")
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise _wrong(path, "no such file") from None
    except UnicodeDecodeError:
        raise _wrong(path, "is not UTF-8 text; save it as UTF-8") from None
    except (OSError, ValueError) as error:  # ValueError: a name with a NUL
        raise _wrong(path, f"cannot be read: {getattr(error, 'strerror', None) or error}") from None


def _refuse_other_tools(path: Path, document: Mapping[Any, Any]) -> None:
    """Say of another tool's file what it is: none of them is missing a setting only."""
    own = {"objective", "space"} & document.keys()
    if not own and {"method", "parameters"} <= document.keys():
        begin = "write its `parameters` as `space`, its `metric` as `objective`, its `method` as `sampler`"
        raise _wrong(path, f"is a W&B sweep file, not a study file; {begin}, or begin with: study init DATA")
    if not own and str(document.get("apiVersion", "")).startswith("kubeflow.org/"):
        raise _wrong(path, "is a Katib experiment, not a study file; begin one with: study init DATA")


def _wrong(path: Path, message: str) -> InvalidStudy:
    return InvalidStudy(str(path), [FieldError(path="", message=message)])


def _resolve_data_paths(document: dict[str, Any], directory: Path) -> None:
    data: Any = document
    for key in ("task", "train", "data"):
        data = data.get(key) if isinstance(data, dict) else None
    if not isinstance(data, dict):
        return
    for key in PATHS:
        value = data.get(key)
        if isinstance(value, str):
            here = next((base / value for base in (Path.cwd(), directory) if (base / value).exists()), None)
            data[key] = str(here.resolve()) if here else value
