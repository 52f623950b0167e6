"""The spec of a follow-up study: the source's spec with changes, and its trials as prior trials where they compare."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from service.contract.study import StudySpec
from service.domain.errors import DomainError
from service.domain.spec_changes import changed_spec
from service.search.spec_diff import compares
from service.search.warm_start import check_warm_start
from service.storage.tables import Connection
from service.usecases.studies.warm_start import find_prior_trials


def follow_up_spec(
    connection: Connection, source: StudySpec, name: str, changes: Mapping[str, Any], reason: str
) -> StudySpec:
    """Return the spec of a follow-up study.

    Args:
        connection: for the trials of the source.
        source: the source's present spec.
        name: the name of the follow-up study.
        changes: dotted path into the spec -> its new value; None removes a setting.
        reason: why, for the description.

    Raises:
        DomainError: The changed spec is not a study.
    """
    about = f"Follow-up of {source.name}: {reason}"
    base = changed_spec(source, {**changes, "name": name, "warm_start": []})
    spec = base.model_copy(update={"description": f"{about}. {source.description}".removesuffix(". ")})
    if not compares(source, spec):
        return spec
    warm = spec.model_copy(update={"warm_start": [source.name]})
    if check_warm_start(warm):  # Its sampler does not learn from prior trials.
        return spec
    try:
        return spec if find_prior_trials(connection, warm) is None else warm
    except DomainError:  # No trial of the source can be a prior trial.
        return spec
