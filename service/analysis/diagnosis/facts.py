"""What the rules of the diagnosis read: facts about one trial, and about a whole study."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from service.contract.attempt import FailureClass
from service.contract.base import Direction, Value
from service.contract.finding import Finding
from service.contract.importance import Importance
from service.contract.study import ReferenceValue, StudySpec
from service.contract.trial import TrialState
from service.domain.history import History, Series


@dataclass(frozen=True, slots=True)
class TrialFacts:
    """What is known about one trial.

    Attributes:
        number: its number.
        state: its state.
        objective: the metric of the first objective.
        direction: the direction of the first objective.
        curves: metric -> its learning curve, (step, value) pairs with ascending steps; values may be NaN or infinite.
            The training core reports `train/…` and `val/…` metrics, losses among them, once per epoch.
        last_step: the step at which the training is meant to end (its horizon). None: not known.
        config: the mapping `task.train` with the trial's parameters set; empty for tasks of other kinds.
        parameters: the trial's parameters.
        metrics: its final metrics, such as `test/accuracy`.
        chance: metric -> what a constant prediction reaches (the majority class or the mean), where it is known.
        failure: the class of the last attempt's failure, if it failed.
    """

    number: int
    state: TrialState
    objective: str
    direction: Direction
    curves: Mapping[str, Series]
    last_step: int | None = None
    config: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Value] = field(default_factory=dict)
    metrics: Mapping[str, float] = field(default_factory=dict)
    chance: Mapping[str, float] = field(default_factory=dict)
    failure: FailureClass | None = None


@dataclass(frozen=True, slots=True)
class AttemptFacts:
    """What is known about one attempt.

    Attributes:
        trial: the number of its trial.
        host: the machine it ran on.
        failure: the class of its failure, if it failed.
        message: the first line of its error, if it failed.
        num_steps: how many steps it reported.
        seconds: how long it ran.
    """

    trial: int
    host: str
    failure: FailureClass | None
    message: str | None
    num_steps: int
    seconds: float


@dataclass(frozen=True, slots=True)
class StudyFacts:
    """What is known about a study.

    Attributes:
        spec: its spec.
        history: its trials; of each the learning curve of the first objective only.
        metrics: trial number -> its final metrics, such as `test/accuracy`, `num_parameters`, `seconds`, and the
            `train/…`, `val/…` and `test_val/…` of its outcome (of the best epoch, if the training keeps it), for
            completed trials.
        attempts: its attempts, by trial and number.
        references: official, published and human values, and baselines.
        importance: the importance of the parameters, if it is computed.
        trial_findings: trial number -> the findings about that trial.
        num_validation: how many examples validate. None: not known.
        num_test_reads: how often the study's test metrics were looked at. None: not known.
        num_train: how many examples the training has. None: not known.
        num_test: how many examples the test split has. None: not known. For a classification, a confusion matrix adds
            up to the number of examples of its split.
        num_test_val: how many examples the split `test_val` has. None: not known, or there is none.
    """

    spec: StudySpec
    history: History
    metrics: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    attempts: Sequence[AttemptFacts] = ()
    references: Sequence[ReferenceValue] = ()
    importance: Importance | None = None
    trial_findings: Mapping[int, Sequence[Finding]] = field(default_factory=dict)
    num_validation: int | None = None
    num_test_reads: int | None = None
    num_train: int | None = None
    num_test: int | None = None
    num_test_val: int | None = None
