"""Durable file replacement: a renamed file and its directory are synced, so that a crash keeps the old or the new file.

Uses the standard library only.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import IO


def replace_durably(temporary: IO[bytes], target: Path) -> None:
    """Sync an open temporary file and rename it to `target`, in the same directory, so that the rename is durable.

    Args:
        temporary: The complete file, still open for writing.
        target: The final path; a file that exists there is replaced.

    Raises:
        OSError: The disk is full or cannot be written.
    """
    temporary.flush()
    os.fsync(temporary.fileno())
    Path(temporary.name).replace(target)
    _sync_directory(target.parent)


def _sync_directory(directory: Path) -> None:
    """Sync a directory, which makes a rename in it durable."""
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
