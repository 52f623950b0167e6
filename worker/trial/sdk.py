"""Access to the trial for a script that a command task started; uses the standard library only."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

from worker.trial.channel import Channel
from worker.trial.trial import Trial, TrialInfo

TRIAL = "ASSAYER_TRIAL"
"""The environment variable with the path of the JSON file that describes the trial."""

CHANNEL = "ASSAYER_CHANNEL"
"""The environment variable with the path of the socket through which the script reports."""

PARAMETER = "ASSAYER_PARAMETER_"
"""The prefix of the environment variables of single parameters."""


def current_trial() -> Trial | None:
    """Return the trial that this script was started for; None if it was not started by a worker.

    Raises:
        OSError: The worker that started the script is gone.
    """
    if TRIAL not in os.environ:
        return None
    fields = json.loads(Path(os.environ[TRIAL]).read_text(encoding="utf-8"))
    connection = socket.socket(socket.AF_UNIX)
    connection.connect(os.environ[CHANNEL])
    return Trial(TrialInfo(**fields), Channel(connection))
