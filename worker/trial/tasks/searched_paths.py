"""Tells a file that is missing on this host from one that the trial's parameters name wrongly."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from service.contract.base import Value
from worker.training import ConfigError, MissingFile


@contextmanager
def searched_paths(parameters: Mapping[str, Value]) -> Iterator[None]:
    """Raise a ConfigError for a missing file that a parameter names: a mistake of the parameters, not of this host."""
    try:
        yield
    except MissingFile as error:
        if error.path not in parameters:
            raise
        raise ConfigError(error.path, error.message) from error
