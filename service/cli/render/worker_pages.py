"""Renders workers for a terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from service.contract.capabilities import Device
from service.contract.worker import WorkerView


def workers_table(workers: Iterable[WorkerView]) -> RenderableType:
    """List workers: host, state, devices, trials, and the reason of a quarantine."""
    table = Table("worker", "host", "state", "devices", "trials", "reason", box=None, pad_edge=False)
    for worker in workers:
        devices = _devices(worker)
        state = "quarantined" if worker.quarantined_at else "alive" if worker.alive else "gone"
        style = "red" if worker.quarantined_at else "green" if worker.alive else "dim"
        excluded = [f"no trials of {each.study}: {each.reason}" for each in worker.exclusions]
        reason = "; ".join([worker.quarantine_reason] if worker.quarantine_reason else excluded)
        table.add_row(worker.name, worker.host, Text(state, style=style), devices, str(worker.num_leases), reason)
    return table if table.row_count else Text("no worker has contacted the service yet; start one with: worker --cpu")


def _devices(worker: WorkerView) -> str:
    """Return a worker's devices, slot by slot if the slots differ."""
    slots = worker.capabilities.slots
    if not slots or all(each == worker.capabilities.devices for each in slots.values()):
        return _names(worker.capabilities.devices)
    return ", ".join(f"{slot}: {_names(devices)}" for slot, devices in slots.items())


def _names(devices: Iterable[Device]) -> str:
    names = Counter(device.name or device.kind for device in devices)
    return ", ".join(name if number == 1 else f"{number} x {name}" for name, number in names.items())
