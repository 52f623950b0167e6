"""Maps the name of each command to its function."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from service.cli.commands.curves import show_curves
from service.cli.commands.data_curve import show_data_curve
from service.cli.commands.diagnosis import show_diagnosis
from service.cli.commands.errors import show_errors
from service.cli.commands.local_checks import check_locally
from service.cli.commands.models import export_model, predict
from service.cli.commands.planning import create_study, init_study, look_at_data, plan_study, replay_study
from service.cli.commands.preflight import preflight
from service.cli.commands.remedies import apply_remedy, draft_next
from service.cli.commands.studies import (
    accept_box,
    delete_study,
    edit_study,
    extend_study,
    list_studies,
    pause_study,
    resume_study,
    show_importance,
    show_study,
    stop_study,
    watch_study,
)
from service.cli.commands.trials import (
    download_checkpoint,
    enqueue_trial,
    fork_trial,
    list_trials,
    print_logs,
    print_predictions,
    release_trial,
    show_best,
    show_confusion,
)
from service.cli.commands.workers import list_workers, readmit_worker, show_catalogue
from service.client.client import Client

COMMANDS: dict[str, Callable[[Client, argparse.Namespace], None]] = {
    "look": look_at_data,
    "init": init_study,
    "create": create_study,
    "plan": plan_study,
    "preflight": preflight,
    "data-curve": show_data_curve,
    "overfit": check_locally,
    "lr-range": check_locally,
    "replay": replay_study,
    "importance": show_importance,
    "diagnose": show_diagnosis,
    "apply": apply_remedy,
    "next": draft_next,
    "list": list_studies,
    "show": show_study,
    "trials": list_trials,
    "best": show_best,
    "checkpoint": download_checkpoint,
    "export-model": export_model,
    "predict": predict,
    "logs": print_logs,
    "predictions": print_predictions,
    "confusion": show_confusion,
    "curves": show_curves,
    "errors": show_errors,
    "watch": watch_study,
    "pause": pause_study,
    "resume": resume_study,
    "edit": edit_study,
    "accept": accept_box,
    "stop": stop_study,
    "extend": extend_study,
    "release": release_trial,
    "delete": delete_study,
    "enqueue": enqueue_trial,
    "fork": fork_trial,
    "workers": list_workers,
    "catalogue": show_catalogue,
    "readmit": readmit_worker,
}
