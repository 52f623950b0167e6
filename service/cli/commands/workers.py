"""Commands about workers: list, readmit, and the catalogue of what they can train."""

from __future__ import annotations

import argparse

from service.cli import catalogue
from service.cli.commands.output import note_damaged, print_answer
from service.cli.render import worker_pages
from service.client.client import Client
from service.client.errors import invalid_study


def list_workers(client: Client, arguments: argparse.Namespace) -> None:
    answer = client.workers()
    print_answer(arguments, answer, worker_pages.workers_table(answer.workers))
    note_damaged("worker", answer.damaged)


def show_catalogue(client: Client, arguments: argparse.Namespace) -> None:
    try:
        selected = catalogue.narrowed(client.catalogue(), arguments.section, arguments.entry)
    except catalogue.UnknownEntry as error:
        raise invalid_study("study catalogue", str(error)) from None
    print_answer(arguments, selected, catalogue.page(selected, arguments.section, arguments.entry))


def readmit_worker(client: Client, arguments: argparse.Namespace) -> None:
    worker = client.readmit(arguments.worker)
    print_answer(arguments, worker, f"{worker.name} on {worker.host or 'an unnamed host'} gets trials again")
