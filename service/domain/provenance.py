"""Whether attempts of one study were made from the same code and data, and how a difference is told."""

from __future__ import annotations

from service.contract.base import TaskKind
from service.contract.catalogue import Catalogue
from service.contract.lease import Capabilities
from service.contract.study import StudySpec
from service.domain.entries import own_of_study

_SHOWN = 12
"""Characters of a fingerprint that people see."""


def short(fingerprint: str) -> str:
    """A fingerprint as people see it."""
    return fingerprint[:_SHOWN]


def is_own_code(spec: StudySpec) -> bool:
    """Whether the code is the user's own: an attempt tells it, as no worker knows it before it has loaded it."""
    return spec.task_kind in {TaskKind.FUNCTION, TaskKind.COMMAND}


def code_for(spec: StudySpec, offered: Capabilities, catalogue: Catalogue) -> str | None:
    """The fingerprint of what a worker would train a study with: of the core, with modules of its own if it needs any.

    Where the code is wholly the user's own, there is none before an attempt has loaded it.
    """
    if is_own_code(spec):
        return None
    return offered.own_code if own_of_study(spec, catalogue) else offered.code


def refused_code(spec: StudySpec, expected: str | None, offered: str | None) -> str | None:
    """Why a worker gets no trial of a study that allows one code only, or None; who tells no fingerprint is let in."""
    if spec.code != "same" or not _differ(expected, offered):
        return None
    return (
        f"the study began with code {short(expected or '')}, this worker has {short(offered or '')}; install here what "
        "the study's first worker had (study show NAME --trial 0 tells), or begin another study"
    )


def other_code(expected: str | None, offered: str | None) -> str | None:
    """What people are told of an attempt with other code than the study began with, or None."""
    if not _differ(expected, offered):
        return None
    return f"trained with code {short(offered or '')}; the study began with {short(expected or '')}"


def other_data(spec: StudySpec, expected: str | None, told: str | None) -> str | None:
    """What is to be said of an attempt on other data than the study began with, or None.

    A space that reaches into `data` makes different data the purpose: then nothing is compared.
    """
    if any(key.split(".")[0] == "data" for key in spec.space) or not _differ(expected, told):
        return None
    return f"trained on data {short(told or '')}; the study began with {short(expected or '')}"


def _differ(expected: str | None, found: str | None) -> bool:
    return expected is not None and found is not None and expected != found
