"""What a script that a command task started calls to know its trial; standard library only."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

from worker.trial.channel import Channel
from worker.trial.trial import Told, Trial

TRIAL = "ASSAYER_TRIAL"
"""The variable that names the JSON file of what the trial is told."""

CHANNEL = "ASSAYER_CHANNEL"
"""The variable that names the socket by which the script reports."""

PARAMETER = "ASSAYER_PARAMETER_"
"""What the variables of single parameters begin with."""


def current_trial() -> Trial | None:
    """The trial that this script was started for; none where a person started it.

    Raises:
        OSError: the worker that started the script is gone.
    """
    if TRIAL not in os.environ:
        return None
    told = json.loads(Path(os.environ[TRIAL]).read_text(encoding="utf-8"))
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(os.environ[CHANNEL])
    return Trial(Told(**told), Channel(connection))
