"""Prints the answer of a command as a page or as JSON, and notes and progress on stderr."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import BaseModel
from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from service.cli.render import formatting, study_pages
from service.client.errors import invalid_study
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


def file_to_write(option: str, given: str | None, *endings: str) -> Path | None:
    """Return the file that an option names, before any work is done for it; None: the option was not given.

    Raises:
        InvalidStudy: the file has another ending, or its folder does not exist.
    """
    if given is None:
        return None
    path = Path(given)
    if path.suffix.lower() not in endings:
        raise invalid_study(option, f"the file's name must end with {endings[0]}, got {given!r}")
    if not path.parent.is_dir():
        raise invalid_study(option, f"there is no folder {path.parent}; make it first")
    return path


def write_page(path: Path, text: str) -> None:
    """Write a page or a plot, and say so.

    Raises:
        InvalidStudy: the file can't be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise invalid_study(path, f"cannot be written: {error.strerror}") from None
    note(f"wrote {path}")


def note(message: str) -> None:
    sys.stderr.write(f"{message}\n")
