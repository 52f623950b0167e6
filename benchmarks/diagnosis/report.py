"""The page of results of the rules of one trial: recall, false alarms, confusion, and the published faults."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.diagnosis.labels import HEALTHY
from benchmarks.diagnosis.measure import (
    Judged,
    confusion_rows,
    false_alarms,
    halves,
    judge,
    load,
    precision_rows,
    recall,
    recall_rows,
)
from benchmarks.diagnosis.published import diagnose, rows
from benchmarks.machine import machine

MARKER = "<!-- generated -->"


def page() -> str:
    """Return the page about the recorded trainings, in Markdown."""
    records = load()
    num_bad = sum(record["label"] != HEALTHY for record in records)
    sources = sorted({record["config"]["data"].get("path", record["config"]["data"]["name"]) for record in records})
    judged = judge(records)
    names = ", ".join(each.removeprefix("$") for each in sources)
    num_healthy = len(records) - num_bad
    head = f"{num_bad} trainings that fail in a known way and {num_healthy} healthy ones of {len(sources)} datasets"
    parts = [f"{head} ({names}). {machine()}.", ""]
    parts += [*_summary("with configuration and, in most groups, `norm/…`", judged), ""]
    parts += _summary("with the two curves alone", judge(records, only_curves=True))
    for name, half in halves(judged).items():
        parts += _table(f"Recall, {name}", ("label", "trainings", "found", "by the rule itself", "named first"))
        parts += recall_rows(half)
        parts += [*_table(f"What is named first, {name}", ("label", "first findings")), *confusion_rows(half)]
        parts += [*_table(f"Precision, {name}", ("rule", "confidence", "accepted")), *precision_rows(half)]
    diagnosed = diagnose()
    num, detected = len(diagnosed), sum(each.is_detected for each in diagnosed)
    right = sum(each.has_right_cause for each in diagnosed)
    summary = f"{num} faults: {detected} detected ({detected / num:.0%}), "
    summary += f"the right cause named first in {right} ({right / num:.0%})."
    parts += ["", "### Published faults", "", summary, "", *rows(diagnosed)]
    return "\n".join(parts) + "\n"


def write(path: Path) -> None:
    """Replace what follows the marker of the page of results."""
    before, marker, _ = path.read_text(encoding="utf-8").partition(MARKER)
    path.write_text(f"{before}{marker}\n\n{page()}", encoding="utf-8")


def _table(title: str, columns: Sequence[str]) -> list[str]:
    return ["", f"### {title}", "", f"| {' | '.join(columns)} |", "| --- " * len(columns) + "|"]


def _summary(what: str, judged: Sequence[Judged]) -> list[str]:
    lines = [f"Together, {what}:", ""]
    lines += ["| half | bad trainings found | healthy | false alarms of high confidence | of any |"]
    lines += ["| --- | --- | --- | --- | --- |"]
    for name, half in halves(judged).items():
        num, high, some = false_alarms(half)
        lines.append(f"| {name} | {recall(half):.1%} | {num} | {high} ({high / num:.1%}) | {some} ({some / num:.0%}) |")
    return lines
