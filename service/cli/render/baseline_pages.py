"""Renders the baselines of a preflight for a terminal: a row each, with what to know about its values."""

from __future__ import annotations

from collections.abc import Sequence

from rich.table import Table

from service.cli.render.formatting import number
from service.contract.preflight import Baseline


def baselines_table(baselines: Sequence[Baseline], metrics: Sequence[str]) -> Table:
    """Show what each baseline reaches in some metrics; a metric that none has is left out."""
    columns = [name for name in metrics if any(name in each.metrics for each in baselines)]
    table = Table("baseline", *columns, "model", box=None, pad_edge=False)
    for each in baselines:
        values = [number(value) if (value := each.metrics.get(name)) is not None else "" for name in columns]
        table.add_row(each.name, *values, "; ".join(words for words in (each.model, each.note) if words))
    return table
