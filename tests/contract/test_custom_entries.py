"""Registrations of custom entries are split into requests that the service accepts, in whatever script."""

from __future__ import annotations

import pytest

from service.contract.custom_entries import MAX_PART_BYTES, EntriesRequest

SLACK = 1024
"""Names of sections and entries beside the descriptions."""


@pytest.mark.parametrize("letter", ["a", "é", "網", "\U0001d538"])
def test_no_part_has_more_bytes_than_allowed(letter: str) -> None:
    entries = {f"net_{number}": {"description": letter * 2_500} for number in range(200)}
    request = EntriesRequest.model_validate({"worker": "w", "registries": {"model": entries, "loss": entries}})
    parts = list(request.parts())
    assert len(parts) > 1
    assert max(len(part.model_dump_json().encode()) for part in parts) <= MAX_PART_BYTES + SLACK * 10
    assert {(section, name) for part in parts for section in part.registries for name in part.registries[section]} == {
        (section, name) for section in ("model", "loss") for name in entries
    }
