"""Optional dependencies: imported when an entry needs one; if it is missing, the error names the extra to install."""

from importlib import import_module
from typing import Any

from worker.training.errors import MissingLibrary


def library(name: str, path: str) -> Any:
    """Import and return the library `name`, which is installed by the extra of the same name.

    Raises:
        MissingLibrary: at `path`, if it can't be imported.
    """
    try:
        return import_module(name)
    except (ImportError, OSError, RuntimeError) as error:  # a library built for another torch may raise these
        first_line = str(error).partition("\n")[0]
        raise MissingLibrary(
            path, f"needs {name}, which can't be imported here ({first_line}); pip install 'assayer[{name}]'"
        ) from error
