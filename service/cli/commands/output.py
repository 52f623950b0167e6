"""Prints the answer of a command as a page or as JSON, and notes and progress on stderr."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from pydantic import BaseModel
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from service.cli.render import formatting, study_pages
from service.contract.base import DamagedRow
from service.contract.study import StudyView


def print_state(arguments: argparse.Namespace, study: StudyView) -> None:
    reason = f": {study.state_reason}" if study.state_reason else ""
    print_answer(arguments, study, f"{study.name} is {study.state}{reason} ({study_pages.progress(study)} finished)")


def print_answer(arguments: argparse.Namespace, answer: BaseModel, page: RenderableType) -> None:
    if arguments.json:
        sys.stdout.write(answer.model_dump_json(indent=2) + "\n")
    else:
        formatting.console().print(page, soft_wrap=isinstance(page, str))


def note_damaged(kind: str, rows: Iterable[DamagedRow]) -> None:
    """List the damaged rows that a listing lacks, on standard error."""
    for row in rows:
        note(f"damaged: {kind} {row.name} cannot be read: {row.reason} (`assayer fsck` lists all damage)")


@contextmanager
def progress_bar() -> Iterator[Callable[[str, float], None]]:
    """Show progress on standard error, if it is a terminal, and remove it at the end.

    Yields:
        A function that takes the step in progress and the share of it that is done.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("reading", total=1.0)
        yield lambda step, share: progress.update(task, description=step, completed=share)


def note(message: str) -> None:
    sys.stderr.write(f"{message}\n")
