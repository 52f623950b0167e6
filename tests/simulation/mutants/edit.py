"""What a mutant is: a few replacements in the text of the service, after which one promise is broken."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


class StaleMutantError(Exception):
    """A mutant does not fit the code any more; says which, and where."""


@dataclass(frozen=True)
class Edit:
    """One replacement in one file of the package; what is replaced must be there exactly once."""

    path: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """A service that breaks one promise."""

    name: str
    edits: tuple[Edit, ...]

    def edited(self, root: Path) -> dict[str, str]:
        """Return the text of each file that the mutant edits, by the file's path below `root`.

        Raises:
            StaleMutantError: what an edit replaces is not there exactly once.
        """
        texts: dict[str, str] = {}
        for edit in self.edits:
            text = texts.get(edit.path) or (root / edit.path).read_text(encoding="utf-8")
            if text.count(edit.old) != 1:
                raise StaleMutantError(
                    f"mutant {self.name!r} no longer applies: {edit.path} has what it replaces "
                    f"{text.count(edit.old)} times; write it anew for the code as it is"
                )
            texts[edit.path] = text.replace(edit.old, edit.new)
        return texts
