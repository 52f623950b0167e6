"""Commands of `study` that change a running search: edit the spec, and accept the box of a stage."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from service.client import spec, study_file
from service.client.client import Client
from service.client.errors import invalid_study
from service.contract import spec_paths
from service.contract.base import Value
from service.contract.stage import Box, Review
from service.contract.study import StudyView

_RANGE = TypeAdapter[list[Value]](list[Value])
_VERSION = re.compile(r"# version (\d+) of ")


def spec_page(study: StudyView) -> str:
    """Return the spec as a study file to edit. Its first line records the spec's version."""
    about = f"# version {study.spec_version} of {study.name}; edit it, then: study edit {study.name} FILE\n"
    return about + study_file.dump(study.spec)


def edit(client: Client, name: str, file: str | None, words: Sequence[str]) -> StudyView:
    """Edit a study's spec by a study file, by PATH=VALUE changes, or by both.

    The study keeps its name, whatever the file says. The service refuses a file from `study show --spec` if the study
    has a newer version by now.

    Args:
        client: the service.
        name: name or id of the study.
        file: a study file with the new spec. None: start from the present spec.
        words: changes of the form `PATH=VALUE`, applied in order.
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
        try:
            spec_paths.put(document, path, study_file.read(text, source=word))
        except LookupError as error:
            raise invalid_study(
                word,
                f"there is nothing called {error.args[0]!r} there; edit a file instead: study show NAME --spec > FILE",
            ) from None
    return client.put_spec(study.id, spec.parse(document, source=file or "--set"), version)


def accept(client: Client, name: str, words: Sequence[str]) -> StudyView:
    """Accept the box that the study proposes. Each of `words` (`NAME=[LOW, HIGH]`) replaces one range of it."""
    box: Box = {}
    for word in words:
        key, _, text = word.partition("=")
        try:
            box[key] = _RANGE.validate_python(study_file.read(text, source=word))
        except ValidationError:
            raise invalid_study(
                word, "write NAME=[LOW, HIGH] or NAME=[CHOICE, …], as in 'optimizer.lr=[1e-3, 1e-2]'"
            ) from None
    waiting = [stage.number for stage in client.stages(name).stages if stage.review is Review.PROPOSED]
    # If no stage waits for a review, the service's error says so.
    return client.review(name, waiting[0] if waiting else 1, box)
