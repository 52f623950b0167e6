"""Fingerprints of a dataset before it is split, from the content of files or from a library's version."""

import hashlib
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path


def of_files(files: Mapping[str, str]) -> str:
    """Return the SHA-256 of the content of each file and its role (train, val, …); names and locations don't matter."""
    digest = hashlib.sha256()
    for role, path in sorted(files.items()):
        with Path(path).open("rb") as file:
            digest.update(f"{role}:{hashlib.file_digest(file, 'sha256').hexdigest()};".encode())
    return digest.hexdigest()


def of_builtin(name: str, library: str) -> str:
    """Return the SHA-256 of the dataset's name and the version of the library that ships it."""
    return hashlib.sha256(f"{name} of {library} {version(library)}".encode()).hexdigest()
