"""Writes downloaded files atomically, after their hash is verified."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def write_verified(path: Path, sha256: str, pieces: Iterable[bytes]) -> bool:
    """Write content to `path`. Return False and leave the old file unchanged if the content has another hash."""
    partial, digest = path.with_name(f"{path.name}.partial"), hashlib.sha256()
    try:
        with partial.open("wb") as file:
            for piece in pieces:
                digest.update(piece)
                file.write(piece)
        if digest.hexdigest() != sha256:
            return False
        partial.replace(path)
        return True
    finally:
        partial.unlink(missing_ok=True)
