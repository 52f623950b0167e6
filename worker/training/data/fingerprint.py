"""Fingerprints of data before it is split: of the content of files, or of a set that ships with a library."""

import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path


def of_files(files: Mapping[str, str]) -> str:
    """SHA-256 over the content of each file and what it is for (train, val, …); names and places do not count."""
    digest = hashlib.sha256()
    for role, path in sorted(files.items()):
        with Path(path).open("rb") as file:
            digest.update(f"{role}:{hashlib.file_digest(file, 'sha256').hexdigest()};".encode())
    return digest.hexdigest()


def of_builtin(name: str, library: str) -> str:
    """SHA-256 of the set's name and the version of the library that carries it."""
    return hashlib.sha256(f"{name} of {library} {version(library)}".encode()).hexdigest()
