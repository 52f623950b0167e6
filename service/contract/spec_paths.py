"""Dotted paths into the document of a study, such as `space.optimizer.lr.high`: read, set and remove a setting."""

from __future__ import annotations

from typing import Any


def put(document: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at a dotted path. Keys of the space contain dots themselves.

    Args:
        document: a study, as a study file holds it.
        path: keys from the outside in, joined by dots. Missing mappings are created.
        value: the new value.

    Raises:
        LookupError: a value on the way is not a mapping. The message names the rest of the path.
    """
    here, key = _find(document, path)
    here[key] = value


def remove(document: dict[str, Any], path: str) -> None:
    """Remove the setting at a dotted path, if there is one.

    Raises:
        LookupError: a value on the way is not a mapping. The message names the rest of the path.
    """
    here, key = _find(document, path)
    here.pop(key, None)


def _find(document: dict[str, Any], path: str) -> tuple[dict[str, Any], str]:
    """Return the mapping that holds, or will hold, the last key of a path, and that key."""
    here: Any = document
    while isinstance(here, dict):
        prefixes = [key for key in here if path == key or path.startswith(f"{key}.")]
        new = path if here is document.get("space") else path.partition(".")[0]
        key = max(prefixes, key=len, default=new)
        if key == path:
            return here, key
        here, path = here.setdefault(key, {}), path.removeprefix(f"{key}.")
    raise LookupError(path)
