"""Trains the published faults, stores their curves, and measures what the rules of one trial find in them."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.diagnosis.measure import facts_of
from benchmarks.diagnosis.published_faults import FAULTS, PublishedFault
from service.analysis.diagnosis.trial import diagnose_trial

RECORDED = Path(__file__).with_name("published.json.gz")


@dataclass(frozen=True)
class Diagnosed:
    """A published fault and the rules that find something, the cause first."""

    fault: PublishedFault
    rules: Sequence[str]

    @property
    def is_detected(self) -> bool:
        return bool({*self.fault.causes, *self.fault.family} & set(self.rules))

    @property
    def has_right_cause(self) -> bool:
        return bool(self.rules) and self.rules[0] in self.fault.causes


def record() -> None:
    """Train every fault and store its curves."""
    from benchmarks.diagnosis import broken_parts  # noqa: PLC0415 - loads torch, which replaying does not need
    from benchmarks.diagnosis.record import run  # noqa: PLC0415

    broken_parts.register()
    records = [run(each.name, each.config, each.fault, {}) for each in FAULTS]
    RECORDED.write_bytes(gzip.compress(json.dumps(records, separators=(",", ":")).encode(), mtime=0))


def diagnose() -> list[Diagnosed]:
    """Return what the rules find in each fault's stored curves."""
    records: list[Mapping[str, Any]] = json.loads(gzip.decompress(RECORDED.read_bytes()))
    stored = {each["name"]: each for each in records}
    return [
        Diagnosed(fault, [found.rule for found in diagnose_trial(facts_of(stored[fault.name]))]) for fault in FAULTS
    ]


def rows(diagnosed: Sequence[Diagnosed]) -> list[str]:
    """Return the table of the faults, in Markdown."""
    lines = ["| fault | source | found, the first one first | detected | cause |", "| --- | --- | --- | --- | --- |"]
    for each in diagnosed:
        detected, cause = ("yes" if is_so else "**no**" for is_so in (each.is_detected, each.has_right_cause))
        found = ", ".join(f"`{rule}`" for rule in each.rules) or "nothing"
        lines.append(f"| {each.fault.name} | {each.fault.source} | {found} | {detected} | {cause} |")
    return lines
