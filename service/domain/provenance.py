"""Provenance: compares the code and data fingerprints of a study's attempts and describes differences."""

from __future__ import annotations

from service.contract.base import TaskKind
from service.contract.capabilities import Capabilities
from service.contract.catalogue import Catalogue
from service.contract.study import StudySpec
from service.domain.entries import custom_entries_of

_SHOWN = 12
"""Number of leading characters of a fingerprint in messages."""


def short(fingerprint: str) -> str:
    """Shorten a fingerprint for messages."""
    return fingerprint[:_SHOWN]


def uses_custom_code(spec: StudySpec) -> bool:
    """Return whether the study runs user code only (a function or a command).

    The attempt reports the fingerprint of such code, because no worker knows it before the code is loaded.
    """
    return spec.task_kind in {TaskKind.FUNCTION, TaskKind.COMMAND}


def code_for(spec: StudySpec, offered: Capabilities, catalogue: Catalogue) -> str | None:
    """Return the fingerprint of the code with which a worker would train a study.

    It covers the training core, and the worker's registered modules if the study uses custom entries. It is None for
    a function or a command, whose fingerprint is unknown before an attempt has loaded the code.
    """
    if uses_custom_code(spec):
        return None
    return offered.custom_code if custom_entries_of(spec, catalogue) else offered.code


def code_mismatch(spec: StudySpec, expected: str | None, offered: str | None) -> str | None:
    """Return why a worker gets no trial of a study that requires the same code everywhere, or None.

    Workers without a fingerprint are accepted.
    """
    if spec.code_policy != "same" or not _differ(expected, offered):
        return None
    return (
        f"the study began with code {short(expected or '')}, this worker has {short(offered or '')}; install here what "
        "the study's first worker had (study show NAME --trial 0 tells), or create another study"
    )


def code_warning(expected: str | None, offered: str | None) -> str | None:
    """Return a warning if an attempt used other code than the study began with, or None."""
    if not _differ(expected, offered):
        return None
    return f"trained with code {short(offered or '')}; the study began with {short(expected or '')}"


def data_warning(spec: StudySpec, expected: str | None, reported: str | None) -> str | None:
    """Return a warning if an attempt used other data than the study began with, or None.

    If the space searches options of `data`, trials differ in their data on purpose and nothing is compared.
    """
    if any(key.split(".")[0] == "data" for key in spec.space) or not _differ(expected, reported):
        return None
    return f"trained on data {short(reported or '')}; the study began with {short(expected or '')}"


def _differ(expected: str | None, found: str | None) -> bool:
    return expected is not None and found is not None and expected != found
