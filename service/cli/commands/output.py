"""Prints the answer of a command as a page or as JSON, and notes on stderr."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable

from pydantic import BaseModel
from rich.console import RenderableType

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


def note(message: str) -> None:
    sys.stderr.write(f"{message}\n")
