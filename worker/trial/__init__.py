"""The seam in the training process: a grant becomes a task, its end an outcome; never speaks to the service.

What training code of the user's own imports: `from worker.trial import Stopped, Trial, current_trial`.
"""

from worker.trial.script import current_trial
from worker.trial.trial import Stopped, Trial

__all__ = ["Stopped", "Trial", "current_trial"]
