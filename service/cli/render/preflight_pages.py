"""Renders a preflight for a terminal: one row per check, with what was seen and what to do."""

from __future__ import annotations

import json
import shlex

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from service.contract.preflight import Check, CheckStatus
from service.contract.preflight_view import PreflightView

_MARKS = {
    CheckStatus.PASSED: Text("✓", style="green"),
    CheckStatus.WARNED: Text("!", style="yellow"),
    CheckStatus.FAILED: Text("✗", style="red"),
    CheckStatus.NOT_RUN: Text("-", style="dim"),
}


def check_row(check: Check) -> tuple[Text, Text]:
    """Return the mark of a check's status, and its sentence with the remedy below it."""
    return _MARKS[check.status], _seen(check)


def preflight_page(view: PreflightView, study: str) -> RenderableType:
    """Show the checks of a preflight in order, and its summary.

    Args:
        view: the preflight.
        study: the name of its study.
    """
    title = Text(f"preflight of {study}, version {view.spec_version} of its spec: {view.state}")
    if view.state_reason:
        title.append(f": {view.state_reason}")
    if view.result is None:
        return title
    table = Table("", "", "check", "sentence", box=None, pad_edge=False, show_header=False)
    for check in view.result.checks:
        mark, seen = check_row(check)
        table.add_row(str(check.number), mark, check.name.replace("_", " "), seen)
    return Group(title, table, *(Text(line) for line in [*_measured(view), *_proposed(view, study)]))


def _seen(check: Check) -> Text:
    text = Text(check.sentence, style="dim" if check.status is CheckStatus.NOT_RUN else "")
    if check.remedy:
        text.append(f"\n→ {check.remedy}", style="yellow" if check.status is CheckStatus.WARNED else "red")
    return text


def _proposed(view: PreflightView, study: str) -> list[str]:
    """Return each edit that the preflight proposes, with the command that makes it."""
    lines = []
    for proposal in view.proposals:
        words = " ".join(
            f"--set {shlex.quote(f'{path}={json.dumps(value)}')}" for path, value in proposal.settings.items()
        )
        lines += [f"proposal: {proposal.reason}", f"→ accept it: study edit {study} {words}"]
    return lines


def _measured(view: PreflightView) -> list[str]:
    """Return what the checks measured for the plan, a line each."""
    result = view.result
    assert result is not None
    lines = [f"the checks took {result.seconds:.3g} s on worker {view.worker}"]
    if result.seconds_per_epoch is not None:
        lines.append(f"an epoch at the centre of the space takes {result.seconds_per_epoch:.3g} s")
    if result.peak_memory_bytes is not None:
        lines.append(f"peak memory {result.peak_memory_bytes / 2**30:.3g} GiB")
    if result.learning_rate is not None:
        lines.append(f"the learning-rate range test proposes {result.learning_rate.proposed:.3g}")
    return lines
