"""Version of the rules of the diagnosis, by which stored findings of other rules are recognised."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from service.analysis import diagnosis
from service.contract import finding


@cache
def rules_version() -> str:
    """Return the version of this replica's rules: a hash of their source files.

    So a changed rule judges all studies again, and nobody has to remember to raise a number.
    """
    digest = hashlib.sha256()
    for path in (Path(finding.__file__), *sorted(Path(diagnosis.__file__).parent.rglob("*.py"))):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
