"""Replays the recorded curves through the rules of one trial, and measures recall, false alarms and confusion."""

from __future__ import annotations

import gzip
import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.diagnosis.labels import ACCEPTED, HEALTHY, label_all
from benchmarks.diagnosis.splitting import is_held_back
from service.analysis.diagnosis.facts import TrialFacts
from service.analysis.diagnosis.trial import diagnose_trial
from service.contract.attempt import FailureClass
from service.contract.finding import Confidence, Finding
from service.contract.trial import TrialState

RECORDED = Path(__file__).with_name("curves.json.gz")


@dataclass(frozen=True)
class Judged:
    """A labelled training and what the rules find in it, the cause first."""

    name: str
    label: str
    findings: Sequence[Finding]

    @property
    def rules(self) -> list[str]:
        return [found.rule for found in self.findings]

    @property
    def is_right(self) -> bool:
        """Whether an accepted rule found something."""
        return any(rule in ACCEPTED[self.label] for rule in self.rules)

    @property
    def has_false_alarm(self) -> bool:
        """Whether a healthy training has a finding of high confidence."""
        return self.label == HEALTHY and any(found.confidence is Confidence.HIGH for found in self.findings)


def pack(recorded: Path, packed: Path = RECORDED) -> None:
    """Label the recorded trainings, and store those that have a label in compact form."""
    records = [json.loads(line) for line in recorded.read_text(encoding="utf-8").splitlines()]
    labels = label_all(records)
    kept = [record | {"label": labels[record["name"]].name} for record in records if record["name"] in labels]
    text = json.dumps(sorted(kept, key=lambda record: record["name"]), separators=(",", ":"))
    packed.write_bytes(gzip.compress(text.encode(), mtime=0))


def load() -> list[dict[str, Any]]:
    """Return the stored trainings with their labels."""
    records: list[dict[str, Any]] = json.loads(gzip.decompress(RECORDED.read_bytes()))
    return records


def judge(records: Sequence[Mapping[str, Any]], *, only_curves: bool = False) -> list[Judged]:
    """Return what the rules find in each training.

    Args:
        records: the stored trainings.
        only_curves: whether to withhold the configuration and `norm/…`, so that the rules have the two curves alone.
    """
    return [
        Judged(each["name"], each["label"], diagnose_trial(facts_of(each, only_curves=only_curves))) for each in records
    ]


def facts_of(record: Mapping[str, Any], *, only_curves: bool = False) -> TrialFacts:
    """Return the facts about a stored training as the service has them, without the level of chance."""
    curves = {
        name: tuple((step, float("nan") if value is None else value) for step, value in enumerate(values, 1))
        for name, values in record["curves"].items()
        if not (only_curves and name.startswith("norm/"))
    }
    return TrialFacts(
        number=0,
        state=TrialState.FAILED if record["diverged"] else TrialState.COMPLETED,
        objective="val/loss",
        direction="minimize",
        curves=curves,
        last_step=record["config"]["epochs"],
        config={} if only_curves else record["config"],
        failure=FailureClass.DIVERGED if record["diverged"] else None,
    )


def halves(judged: Sequence[Judged]) -> dict[str, list[Judged]]:
    """Return the half that rules were tuned on, and the half that was held back."""
    return {
        "tuned on": [each for each in judged if not is_held_back(each.name)],
        "held back": [each for each in judged if is_held_back(each.name)],
    }


def recall_rows(judged: Sequence[Judged]) -> Iterator[str]:
    """Yield a row of the table of recall for each label."""
    by_label = _by_label(judged)
    for label in ACCEPTED:
        found = by_label.get(label, [])
        if label == HEALTHY or not found:
            continue
        right, first = sum(each.is_right for each in found), sum(each.rules[:1] == [label] for each in found)
        named = sum(label in each.rules for each in found)
        yield f"| `{label}` | {len(found)} | {right} ({right / len(found):.0%}) | {named} | {first} |"


def false_alarms(judged: Sequence[Judged]) -> tuple[int, int, int]:
    """Return how many healthy trainings there are, with a finding of high confidence, and with any finding."""
    healthy = [each for each in judged if each.label == HEALTHY]
    return len(healthy), sum(each.has_false_alarm for each in healthy), sum(bool(each.findings) for each in healthy)


def recall(judged: Sequence[Judged]) -> float:
    """Return the share of bad trainings in which an accepted rule finds something."""
    bad = [each for each in judged if each.label != HEALTHY]
    return sum(each.is_right for each in bad) / len(bad)


def confusion_rows(judged: Sequence[Judged]) -> Iterator[str]:
    """Yield for each label which rule came first, and how often."""
    for label, found in sorted(_by_label(judged).items()):
        counts = Counter(each.rules[0] if each.rules else "nothing" for each in found)
        yield f"| `{label}` | " + ", ".join(f"{rule} {count}" for rule, count in counts.most_common()) + " |"


def precision_rows(judged: Sequence[Judged]) -> Iterator[str]:
    """Yield for each rule and confidence how many of its findings are accepted by the training's label."""
    counts: dict[tuple[str, str], Counter[bool]] = defaultdict(Counter)
    for each in judged:
        for found in each.findings:
            counts[found.rule, found.confidence.value][found.rule in ACCEPTED[each.label]] += 1
    for (rule, confidence), count in sorted(counts.items()):
        yield f"| `{rule}` | {confidence} | {count[True]} of {count.total()} ({count[True] / count.total():.0%}) |"


def _by_label(judged: Sequence[Judged]) -> dict[str, list[Judged]]:
    found: dict[str, list[Judged]] = defaultdict(list)
    for each in judged:
        found[each.label].append(each)
    return found
