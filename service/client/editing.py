"""The commands of `study` that change what is searched while it is: edit the spec, accept the box of a stage."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from service.client import spec, study_file
from service.client.client import Client
from service.client.errors import InvalidStudy
from service.contract.base import Value
from service.contract.problem import FieldError
from service.contract.stage import Box, Review
from service.contract.study import StudyView

_RANGE = TypeAdapter[list[Value]](list[Value])
_VERSION = re.compile(r"# version (\d+) of ")


def spec_page(study: StudyView) -> str:
    """The spec as a study file to edit, which remembers its version."""
    about = f"# version {study.spec_version} of {study.name}; edit it, then: study edit {study.name} FILE\n"
    return about + study_file.dump(study.spec)


def edit(client: Client, name: str, file: str | None, words: Sequence[str]) -> StudyView:
    """Go on with the study of a file, or with its own, each of `words` (`PATH=VALUE`) set in it.

    The study keeps its name, whatever the file says. A file that `study show --spec` wrote is refused where the study
    has another version by now.
    """
    study = client.study(name)
    version, edited = study.spec_version, study.spec
    if file is not None:
        edited = study_file.load(file)
        made_from = _VERSION.match(study_file.text_of(Path(file)))
        version = int(made_from[1]) if made_from else version
    document = edited.model_dump(mode="json", exclude_none=True) | {"name": study.name}
    for word in words:
        path, _, text = word.partition("=")
        _put(document, path, study_file.read(text, source=word), word)
    return client.put_spec(study.id, spec.parse(document, source=file or "--set"), version)


def accept(client: Client, name: str, words: Sequence[str]) -> StudyView:
    """Accept the box that the study proposes, each of `words` (`NAME=[LOW, HIGH]`) in the place of its own range."""
    box: Box = {}
    for word in words:
        key, _, text = word.partition("=")
        try:
            box[key] = _RANGE.validate_python(study_file.read(text, source=word))
        except ValidationError:
            raise _wrong(
                word, "write NAME=[LOW, HIGH] or NAME=[CHOICE, …], as in 'optimizer.lr=[1e-3, 1e-2]'"
            ) from None
    waiting = [stage.number for stage in client.stages(name).stages if stage.review is Review.PROPOSED]
    # Where none waits, the service says so.
    return client.review(name, waiting[0] if waiting else 1, box)


def _put(document: dict[str, Any], path: str, value: Any, word: str) -> None:
    """Set what stands at a dotted path; keys of the space have dots themselves."""
    here: Any = document
    while isinstance(here, dict):
        known = [key for key in here if path == key or path.startswith(f"{key}.")]
        new = path if here is document.get("space") else path.partition(".")[0]
        key = max(known, key=len, default=new)
        if key == path:
            here[key] = value
            return
        here, path = here.setdefault(key, {}), path.removeprefix(f"{key}.")
    raise _wrong(word, f"there is nothing called {path!r} there; edit a file instead: study show NAME --spec > FILE")


def _wrong(source: str, message: str) -> InvalidStudy:
    return InvalidStudy(source, [FieldError(path="", message=message)])
