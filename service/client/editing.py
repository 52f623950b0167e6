"""The commands of `study` that change what is searched while it is: accept the box of a stage."""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import TypeAdapter, ValidationError

from service.client import study_file
from service.client.client import Client
from service.client.errors import InvalidStudy
from service.contract.base import Value
from service.contract.problem import FieldError
from service.contract.stage import Box, Review
from service.contract.study import StudyView

_RANGE = TypeAdapter[list[Value]](list[Value])


def accept(client: Client, name: str, words: Sequence[str]) -> StudyView:
    """Accept the box that the study proposes, each of `words` (`NAME=[LOW, HIGH]`) in the place of its own range."""
    box: Box = {}
    for word in words:
        key, _, text = word.partition("=")
        try:
            box[key] = _RANGE.validate_python(study_file.read(text, source=word))
        except ValidationError:
            message = "write NAME=[LOW, HIGH], or NAME=[CHOICE, CHOICE, …], such as 'optimizer.lr=[1e-3, 1e-2]'"
            raise InvalidStudy(word, [FieldError(path="", message=message)]) from None
    waiting = [stage.number for stage in client.stages(name).stages if stage.review is Review.PROPOSED]
    # Where none waits, the service says so.
    return client.review(name, waiting[0] if waiting else 1, box)
