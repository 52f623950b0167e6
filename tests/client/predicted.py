"""Studies whose trials have predictions: each trial is claimed, reported and finished by hand."""

from __future__ import annotations

import hashlib
import io
import uuid
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow
import pyarrow.parquet

from service.contract.attempt import FinishRequest, Outcome
from service.contract.base import TaskKind
from service.contract.capabilities import Capabilities
from service.contract.claim import ClaimRequest, Grant
from service.contract.predictions import PredictionsRequest
from service.contract.report import Point, ReportRequest
from tests.client.conftest import Study


def predicted(study: Study, *tables: Mapping[str, Any], values: Sequence[float] = (), **changes: Any) -> str:
    """Return a study with a completed trial for each table of predictions.

    Args:
        study: calls the command.
        tables: the columns of each trial's predictions.
        values: the trials' values; empty: all have the same.
        changes: fields of the study that differ from a study without a task.
    """
    name = study.create(trials=len(tables), **changes)
    for number, table in enumerate(tables):
        complete(study, name, table, {"val/accuracy": values[number] if values else 0.5})
    return name


def complete(study: Study, name: str, table: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
    """Complete the study's next trial with these metrics and predictions."""
    content = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table(dict(table)), content)
    kinds = [TaskKind.TRAIN, TaskKind.EXTERNAL]
    claim = ClaimRequest(
        request_id=uuid.uuid4().hex, worker="w", capabilities=Capabilities(tasks=kinds), studies=[name]
    )
    grant = study.client.claim(claim)
    assert isinstance(grant, Grant)
    key = grant.trial, grant.attempt
    points = [Point(step=1, metrics=dict(metrics))]
    study.client.report(*key, ReportRequest(nonce=grant.nonce, sequence=1, points=points))
    study.client.finish(*key, FinishRequest(nonce=grant.nonce, outcome=Outcome(result="succeeded")))
    sha256 = hashlib.sha256(content.getvalue()).hexdigest()
    study.client.put_blob(sha256, io.BytesIO(content.getvalue()))
    request = PredictionsRequest(nonce=grant.nonce, sha256=sha256, size=len(content.getvalue()))
    assert study.client.register_predictions(*key, request).kept
