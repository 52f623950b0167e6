"""Files that the service keeps, written here whole and verified, or not at all."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path


def write_verified(path: Path, sha256: str, pieces: Iterable[bytes]) -> bool:
    """Write content to `path`; False where it has another hash: then what was there before stays."""
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
