"""Libraries that only some entries need: imported when one of these is used, named with their extra where absent."""

from importlib import import_module
from typing import Any

from worker.training.errors import MissingLibrary


def library(name: str, path: str) -> Any:
    """The library `name`, which has an extra of that name; MissingLibrary at `path` where it can't be imported."""
    try:
        return import_module(name)
    except (ImportError, OSError, RuntimeError) as error:  # one built for another torch fails in ways of its own
        first_line = str(error).partition("\n")[0]
        raise MissingLibrary(
            path, f"needs {name}, which can't be imported here ({first_line}); pip install 'assayer[{name}]'"
        ) from error
