"""Checkpoint files of custom code: durable on disk before they are announced, with the newest two kept."""

from __future__ import annotations

import hashlib
import io
import os
from pathlib import Path

from worker.fsync import replace_durably
from worker.protocol import CheckpointSaved

_NUM_KEPT = 2
_CHUNK = 1 << 20


def save(directory: Path, step: int, content: bytes | str | os.PathLike[str]) -> CheckpointSaved:
    """Write bytes, or copy a file, as the checkpoint of `step`; a crash leaves the previous checkpoint intact."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"step-{step:08d}.pt"  # the agent searches this host for files of this name
    partial, digest = path.with_suffix(".partial"), hashlib.sha256()
    with (
        io.BytesIO(content) if isinstance(content, bytes) else Path(content).open("rb") as source,
        partial.open("wb") as target,
    ):
        while piece := source.read(_CHUNK):
            digest.update(piece)
            target.write(piece)
        replace_durably(target, path)
    for stale in sorted(directory.glob("step-*.pt"), reverse=True)[_NUM_KEPT:]:
        stale.unlink()
    return CheckpointSaved(step, str(path), digest.hexdigest(), path.stat().st_size)
