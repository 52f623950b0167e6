"""Checkpoint files of the user's own making: on disk for good before they are told, the newest two kept."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

from worker.protocol import Checkpointed

_KEPT = 2
_CHUNK = 1 << 20


def save(directory: Path, step: int, content: bytes | str | os.PathLike[str]) -> Checkpointed:
    """Write bytes, or copy a file, as the checkpoint of `step`; whatever dies meanwhile, the one before stays whole."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"step-{step:08d}.pt"  # the name by which the agent looks for those of this host
    partial, digest = path.with_suffix(".partial"), hashlib.sha256()
    with (
        io.BytesIO(content) if isinstance(content, bytes) else Path(content).open("rb") as source,
        partial.open("wb") as target,
    ):
        while piece := source.read(_CHUNK):
            digest.update(piece)
            target.write(piece)
        target.flush()
        os.fsync(target.fileno())
    partial.replace(path)
    _sync(directory)
    for stale in sorted(directory.glob("step-*.pt"), reverse=True)[_KEPT:]:
        stale.unlink()
    return Checkpointed(step, str(path), digest.hexdigest(), path.stat().st_size)


def _sync(directory: Path) -> None:
    """Make a rename durable: it is only once its directory is."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
