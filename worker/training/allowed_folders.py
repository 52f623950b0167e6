"""The folders that a training may read: checks every path that a configuration names against them."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worker.training.errors import OutsideFolders
from worker.training.parameters import Parameter


@dataclass(frozen=True)
class AllowedFolders:
    """Real paths of the folders that a configuration's paths must lie in.

    A path is checked where it really leads, after symbolic links and `..`. For a folder every link below it is checked
    too.

    Attributes:
        folders: the folders; None: no limit.
    """

    folders: tuple[Path, ...] | None = None

    @classmethod
    def of(cls, folders: Sequence[Path | str] | None) -> "AllowedFolders":
        """Return the limit for folders as a user names them (relative paths and links included); None: no limit."""
        return cls(None if folders is None else tuple(Path(folder).resolve() for folder in folders))

    def plus(self, path: Path | None) -> "AllowedFolders":
        """Return the same limit with one more allowed path, which the caller trusts."""
        if path is None or self.folders is None:
            return self
        return AllowedFolders((*self.folders, path.resolve()))

    def require_settings(self, where: str, parameters: Mapping[str, Parameter], settings: Mapping[str, Any]) -> None:
        """Check every setting that names a path.

        Raises:
            OutsideFolders: at `where.NAME`, for the first setting whose path leads outside.
        """
        for name, parameter in parameters.items():
            value = settings.get(name)
            if not isinstance(value, str) or parameter.names is None:
                continue
            if parameter.names == "path" or _is_local(value):
                self.require(f"{where}.{name}", value)

    def require(self, where: str, path: str) -> None:
        """Check that the path, and everything below it, leads into one of the folders.

        Raises:
            OutsideFolders: at `where`, if it leads outside.
        """
        if self.folders is None:
            return
        real_path = _real(path)
        if real_path is None or not self._contains(real_path):
            raise self._outside(where, path, real_path)
        for link in self._links_out_of(real_path):
            raise self._outside(where, str(link), _real(link))

    def _contains(self, real_path: Path) -> bool:
        return any(real_path.is_relative_to(folder) for folder in self.folders or ())

    def _links_out_of(self, top: Path) -> Iterator[Path]:
        """Yield the symbolic links below a folder that lead out of the allowed folders."""
        pending, visited = [top] if top.is_dir() else [], set[Path]()
        while pending:
            if (folder := pending.pop()) in visited:
                continue
            visited.add(folder)
            with os.scandir(folder) as entries:
                for entry in entries:
                    if not entry.is_symlink():
                        pending += [Path(entry.path)] if entry.is_dir() else []
                    elif (target := _real(entry.path)) is None or not self._contains(target):
                        yield Path(entry.path)
                    else:
                        pending += [target] if target.is_dir() else []

    def _outside(self, where: str, path: str, real_path: Path | None) -> OutsideFolders:
        allowed = ", ".join(str(folder) for folder in self.folders or ())
        remedy = "" if real_path is None else f"; start the worker with --data {real_path.parent}"
        return OutsideFolders(where, f"{path} is outside the folders this worker may read ({allowed}){remedy}")


ANYWHERE = AllowedFolders()
"""No limit, for a training that no worker started."""


def _real(path: str | Path) -> Path | None:
    """Return the real path, or None if the system cannot resolve it (a cycle of links, a NUL character)."""
    try:
        return Path(path).resolve()
    except (OSError, RuntimeError, ValueError):
        return None


def _is_local(source: str) -> bool:
    """Return whether a library that takes a path or an id might treat `source` as a path."""
    if source.startswith(("/", ".", "~")):
        return True
    try:
        return Path(source).exists()
    except (OSError, ValueError):
        return True
