"""Which parameters tell a study's best trials from the others, on the wire."""

from __future__ import annotations

from service.contract.base import Response


class ParameterImportance(Response):
    """One parameter: its share of all the importance, and the trials by which it was judged."""

    name: str
    share: float
    """From 0 to 1; the shares of all parameters add up to 1, or each is 0 where nothing tells the trials apart."""
    num_trials: int
    """Trials that had the parameter; fewer than all where it exists only under a condition."""


class Importance(Response):
    """What mattered in a study, as of a revision."""

    revision: int
    num_trials: int
    """Trials that have ended with something to learn from."""
    num_best: int
    """The best of them, which are compared with all."""
    parameters: list[ParameterImportance]
    """The most important first; empty while there are too few trials."""
    notes: list[str]
