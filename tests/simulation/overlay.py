"""Imports modules of the service from edited source text."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType

REIMPORTED = ("service", "tests.simulation")
"""The packages that are imported anew, so that none of their modules refers to one that is not edited."""


class _EditedLoader(SourceFileLoader):
    """Compiles the edited text of a module."""

    def __init__(self, name: str, path: str, text: str) -> None:
        super().__init__(name, path)
        self._text = text

    def get_code(self, fullname: str) -> CodeType:
        return compile(self._text, self.get_filename(fullname), "exec", dont_inherit=True)


class _Overlay(MetaPathFinder):
    """Finds the edited modules before the usual finders find their files."""

    def __init__(self, root: Path, texts: Mapping[str, str]) -> None:
        self._edited = {
            path.removesuffix(".py").replace("/", "."): (str(root / path), text) for path, text in texts.items()
        }

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        del path, target
        if fullname not in self._edited:
            return None
        file, text = self._edited[fullname]
        return importlib.util.spec_from_file_location(fullname, file, loader=_EditedLoader(fullname, file, text))


def lay(root: Path, texts: Mapping[str, str]) -> None:
    """Let this process import the service anew, some of its modules from edited text.

    For a forked process that ends afterwards: what refers to the modules of before keeps them.

    Args:
        root: the folder that the paths are relative to.
        texts: path of a module below `root`, such as `service/usecases/dispatch/claim.py` -> its edited text.
    """
    for name in list(sys.modules):
        if name in REIMPORTED or name.startswith(tuple(f"{each}." for each in REIMPORTED)):
            del sys.modules[name]
    sys.meta_path.insert(0, _Overlay(root, texts))
