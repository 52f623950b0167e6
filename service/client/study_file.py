"""The study file: YAML in, a checked StudySpec out, and back.

Read as YAML 1.2 reads it: `1e-4` is a number, `yes` and `on` are words, a date is text, and a key written twice is an
error. A relative path of the training data that exists here, seen from the current directory or else from the study
file, is made absolute, so that a worker started elsewhere on the machine finds it; any other path is the worker's.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from service.client.errors import InvalidStudy
from service.client.spec import parse
from service.contract.problem import FieldError
from service.contract.study import StudySpec

PATHS = ("path", "train", "val", "test", "test_val", "table")
"""The settings of `task.train.data` that name files."""


class _Dumper(yaml.SafeDumper):
    """Quotes what the loader below would read as something else than text."""


class _Loader(yaml.SafeLoader):
    """Safe YAML with the core schema of YAML 1.2 and unique keys."""

    yaml_implicit_resolvers: dict[str, list[tuple[str, re.Pattern[str]]]] = {}


_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_INT = re.compile(r"[-+]?[0-9]+")

_Loader.add_implicit_resolver("tag:yaml.org,2002:null", re.compile(r"(~|null|Null|NULL|)$"), ["~", "n", "N", ""])
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:bool", re.compile(r"(true|True|TRUE|false|False|FALSE)$"), list("tTfF")
)
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", re.compile(f"({_INT.pattern})$"), list("-+0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", re.compile(f"({_FLOAT.pattern})$"), list("-+0123456789."))
_Loader.add_implicit_resolver("tag:yaml.org,2002:merge", re.compile(r"<<$"), ["<"])


def _int(loader: _Loader, node: yaml.ScalarNode) -> int:
    return int(loader.construct_scalar(node))  # YAML 1.1 would read 010 as eight


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    written = [key.value for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
    for key, _ in node.value:
        if isinstance(key, yaml.ScalarNode) and written.count(key.value) > 1:
            second = [other for other, _ in node.value if other.value == key.value][1]
            raise yaml.constructor.ConstructorError(
                None, None, f"{key.value!r} is written twice; keep one of them", second.start_mark
            )
    loader.flatten_mapping(node)
    return loader.construct_mapping(node, deep=True)


_Loader.add_constructor("tag:yaml.org,2002:int", _int)
_Loader.add_constructor("tag:yaml.org,2002:map", _mapping)


_Dumper.yaml_implicit_resolvers = _Loader.yaml_implicit_resolvers


def dump(study: StudySpec) -> str:
    """Write a study as a file that reads as it; what is as by default is left out."""
    document = study.model_dump(mode="json", exclude_defaults=True)
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)


def load(path: str | Path) -> StudySpec:
    """Read and check a study file.

    Raises:
        InvalidStudy: the file cannot be read, is not YAML, or is not a study; one sentence per mistake.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise _wrong(path, "no such file") from None
    except IsADirectoryError:
        raise _wrong(path, "is a folder; name the study file in it") from None
    except UnicodeDecodeError:
        raise _wrong(path, "is not UTF-8 text; save it as UTF-8") from None
    except OSError as error:
        raise _wrong(path, f"cannot be read: {error.strerror}") from None
    document = read(text, source=str(path))
    if not isinstance(document, dict):
        raise _wrong(path, "is not a study: write settings such as `name: digits-mlp`, one per line")
    _resolve_data_paths(document, path.parent)
    return parse(document, source=str(path))


def read(text: str, source: str) -> Any:
    """Read YAML as the study file does; `source` opens the error's sentence."""
    try:
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f"line {mark.line + 1}: " if mark else ""
        raise InvalidStudy(source, [FieldError(path="", message=f"{line}{error.problem or error.context}")]) from None
    except yaml.YAMLError as error:
        raise InvalidStudy(source, [FieldError(path="", message=f"is not YAML: {error}")]) from None


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
