"""Commands about workers: list, readmit, and the catalogue of what they can train."""

from __future__ import annotations

import argparse

from service.cli import catalogue
from service.cli.commands.output import invalid, note_damaged, print_answer
from service.cli.render import worker_pages
from service.client.client import Client


def list_workers(client: Client, arguments: argparse.Namespace) -> None:
    answer = client.workers()
    print_answer(arguments, answer, worker_pages.workers_table(answer.workers))
    note_damaged("worker", answer.damaged)


def show_catalogue(client: Client, arguments: argparse.Namespace) -> None:
    try:
        found = catalogue.narrowed(client.catalogue(), arguments.section, arguments.entry)
    except catalogue.UnknownEntry as error:
        raise invalid("study catalogue", str(error)) from None
    print_answer(arguments, found, catalogue.page(found, arguments.section, arguments.entry))


def readmit_worker(client: Client, arguments: argparse.Namespace) -> None:
    worker = client.readmit(arguments.worker)
    print_answer(arguments, worker, f"{worker.name} on {worker.host or 'an unnamed host'} gets trials again")
