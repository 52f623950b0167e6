"""The training process of a trial: turns a grant into a task and its end into an outcome, without calling the service.

Custom training code imports from here: `from worker.trial import Stopped, Trial, current_trial`.
"""

from worker.trial.sdk import current_trial
from worker.trial.trial import Stopped, Trial

__all__ = ["Stopped", "Trial", "current_trial"]
