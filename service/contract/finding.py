"""Findings on the wire: what a trial's learning curves or a study's results show, and remedies that can be applied."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from service.contract.base import Response
from service.contract.remedy_action import RemedyAction
from service.contract.report import Number


class Confidence(StrEnum):
    """How often findings of this kind are right, as measured on labelled trainings."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


class Evidence(Response):
    """One figure that a finding rests on."""

    name: str
    """What was measured, such as "train/loss, median of the last 5 epochs"."""
    value: Number
    step: int | None = None
    """The step at which it was measured. None: it belongs to no single step."""


class RemedyName(StrEnum):
    """What a remedy changes. Rules choose the names; `service/analysis/remedies` turns them into actions."""

    LOWER_RATE = "lower_rate"
    RAISE_RATE = "raise_rate"
    DECAY_RATE = "decay_rate"
    DECAY_LATER = "decay_later"
    WARM_UP = "warm_up"
    CLIP_GRADIENTS = "clip_gradients"
    LARGER_BATCH = "larger_batch"
    CHANGE_OPTIMIZER = "change_optimizer"
    TRAIN_LONGER = "train_longer"
    TRAIN_SHORTER = "train_shorter"
    STOP_EARLY = "stop_early"
    LARGER_MODEL = "larger_model"
    SMALLER_MODEL = "smaller_model"
    OTHER_MODEL = "other_model"
    MORE_REGULARIZATION = "more_regularization"
    LESS_REGULARIZATION = "less_regularization"
    AUGMENT = "augment"
    NORMALIZE = "normalize"
    CHANGE_INITIALIZATION = "change_initialization"
    CHANGE_ACTIVATION = "change_activation"
    CHANGE_LOSS = "change_loss"
    CLASS_WEIGHTS = "class_weights"
    CHECK_DATA = "check_data"
    CHECK_LABELS = "check_labels"
    SHUFFLE = "shuffle"
    MORE_DATA = "more_data"
    FINETUNE_LESS = "finetune_less"
    ANALYZE_ERRORS = "analyze_errors"
    ADD_FEATURES = "add_features"
    SYNTHESIZE_DATA = "synthesize_data"
    ADAPT_DOMAIN = "adapt_domain"
    FINETUNE_ON_TARGET = "finetune_on_target"
    NEW_SPLIT = "new_split"
    LARGER_VALIDATION = "larger_validation"
    WIDEN_RANGE = "widen_range"
    NARROW_RANGE = "narrow_range"
    FIX_PARAMETER = "fix_parameter"
    MORE_TRIALS = "more_trials"
    END_STUDY = "end_study"
    CHANGE_PRUNER = "change_pruner"
    REPEAT_SEEDS = "repeat_seeds"
    LIMIT_MEMORY = "limit_memory"
    INSPECT_HOST = "inspect_host"
    TAKE_CHEAPER = "take_cheaper"
    TAKE_BASELINE = "take_baseline"
    RUN_PREFLIGHT = "run_preflight"


class Remedy(Response):
    """One thing to do about a finding."""

    name: RemedyName
    sentence: str
    """What to do, in words for users."""
    settings: dict[str, Any] = {}
    """What the rule knows about the change: `{"factor": 0.3}`, or `{"parameter": "optimizer.lr", "high": 1.0}`."""
    action: RemedyAction | None = None
    """What the service does when the remedy is applied. None: only a person can do it."""


class Finding(Response):
    """What a trial's learning curves or a study's results show, with the figures, and what to do."""

    rule: str
    """The rule that found it, such as diverged; docs/diagnosis.md lists all."""
    confidence: Confidence
    sentence: str
    """What was seen, with its figures, in words for users."""
    evidence: list[Evidence] = []
    remedies: list[Remedy] = []
    """What to do, the most promising first."""
    trial: int | None = None
    """The number of the trial that it is about. None: it is about the study."""
