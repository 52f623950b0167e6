"""Durable writes: flushes a file, or the names in a directory, to the disk."""

from __future__ import annotations

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Flush a file or a directory to the disk; a rename is durable only after its directory was flushed.

    Raises:
        OSError: The path does not exist, or the disk cannot be written.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
