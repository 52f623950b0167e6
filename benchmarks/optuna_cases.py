"""Shows how Optuna's RDB storage handles the six failures of tests/usecases/test_lost_results.py.

Each case follows Optuna's documentation, on an SQLite file with heartbeats and the retry callback. The result is read
from the storage afterwards.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import shlex
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import optuna
from optuna.storages import RDBStorage, RetryHeartbeatStaleTrialCallback, fail_stale_trials
from optuna.trial import FrozenTrial, TrialState

HEARTBEAT_SECONDS, GRACE_SECONDS = 1, 2

Retry = Callable[[optuna.Study, FrozenTrial], None]


def storage(url: str, retry: Retry | None = None) -> RDBStorage:
    """Open Optuna's RDB storage with heartbeats and a retry callback."""
    return RDBStorage(
        url,
        heartbeat_interval=HEARTBEAT_SECONDS,
        grace_period=GRACE_SECONDS,
        heartbeat_stale_trial_callback=retry or RetryHeartbeatStaleTrialCallback(),
    )


def study(kept: RDBStorage) -> optuna.Study:
    """Create the study, or load it if it exists."""
    return optuna.create_study(storage=kept, study_name="s", load_if_exists=True)


def told(found: optuna.Study) -> str:
    """Describe the state of every trial in the storage."""
    return ", ".join(f"{trial.number} {trial.state.name.lower()}" for trial in found.get_trials(deepcopy=False))


def refusal(call: Callable[[], Any]) -> str:
    """Call a function and describe whether it is accepted or raises."""
    try:
        call()
    except Exception as error:
        return f"raises {type(error).__name__}"
    return "is accepted"


def silent_worker(url: str) -> int:
    """Return the number of a trial whose worker sent one heartbeat and then none for longer than the grace period."""
    kept = storage(url)
    trial = study(kept).ask()
    study_id = kept.get_study_id_from_name("s")
    kept.record_heartbeat(kept.get_trial_id_from_study_id_trial_number(study_id, trial.number))
    time.sleep(GRACE_SECONDS + 1.5)
    return trial.number


def dead_before_its_first_heartbeat(url: str) -> str:
    """A worker dies after it got a trial and before its first heartbeat."""
    one = study(storage(url))
    one.ask()
    time.sleep(GRACE_SECONDS + 1.5)
    fail_stale_trials(one)
    return f"runs for ever ({told(one)})"


def reaper_killed(url: str) -> str:
    """The process that fails stale trials is killed before it enqueues the retry."""
    silent_worker(url)
    reaper = multiprocessing.get_context("spawn").Process(target=_reap_and_die, args=[url])
    reaper.start()
    reaper.join()
    one = study(storage(url))
    fail_stale_trials(one)
    return f"failed, and never tried again ({told(one)})"


def _reap_and_die(url: str) -> None:
    def die(_study: optuna.Study, _trial: FrozenTrial) -> None:
        os._exit(9)

    fail_stale_trials(study(storage(url, die)))


def transient_error(url: str) -> str:
    """One heartbeat of a healthy worker fails with a database error."""
    kept, calls = storage(url), list[int]()
    record = kept.record_heartbeat

    def flaky(trial_id: int) -> None:
        calls.append(trial_id)
        if len(calls) == 2:
            raise ConnectionError("the database was away for a moment")
        record(trial_id)

    kept.record_heartbeat = flaky  # type: ignore[method-assign]
    one = study(kept)

    def objective(_: optuna.Trial) -> float:
        time.sleep(GRACE_SECONDS + 3.5)
        fail_stale_trials(study(storage(url)))
        return 0.5

    ended = refusal(lambda: one.optimize(objective, n_trials=1))
    return f"no heartbeat ever again; the trial is failed while it trains, and the optimisation {ended} ({told(one)})"


def foreign_worker(url: str) -> str:
    """A worker finishes a trial of another worker."""
    owner, stranger = study(storage(url)), study(storage(url))
    trial = owner.ask()
    theirs = refusal(lambda: stranger.tell(trial.number, 0.1))
    own = refusal(lambda: owner.tell(trial, 0.9))
    return f"the stranger's result {theirs}; the owner's {own} (value {owner.trials[0].value})"


def duplicate_step(url: str) -> str:
    """A worker reports another value for a step that was reported before."""
    one = study(storage(url))
    trial = one.ask()
    trial.report(0.5, step=1)
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        answer = refusal(lambda: trial.report(0.9, step=1))
    kept = one.trials[0].intermediate_values[1]
    return f"the other value {answer} and dropped, with {'a warning' if warned else 'no word'} (stored {kept})"


def late_finish(url: str) -> str:
    """A worker finishes its trial after the trial was failed as stale."""
    number = silent_worker(url)
    one = study(storage(url))
    fail_stale_trials(one)
    late = refusal(lambda: one.tell(number, 0.5))
    retried = [trial.number for trial in one.trials if trial.state is TrialState.WAITING]
    return f"the result {late} and is lost; the retry has another number, {retried[0]} ({told(one)})"


CASES: dict[str, tuple[Callable[[str], str], str]] = {
    "a worker dead before its first heartbeat": (
        dead_before_its_first_heartbeat,
        "the lease begins with the claim; the trial waits again, same number and parameters",
    ),
    "the reaper killed between loss and requeue": (
        reaper_killed,
        "one transaction: neither happened, and the next reaper does both",
    ),
    "one transient error in a heartbeat": (transient_error, "the next heartbeat renews the lease"),
    "a foreign worker finishing a trial": (foreign_worker, "refused (`lease_superseded`); the owner's result counts"),
    "a duplicate step with another value": (duplicate_step, "refused (`report_conflict`); the first value stays"),
    "a late finish": (late_finish, "counts while nobody else has begun; same number, no loss charged"),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, help="a Markdown file for the table")
    given = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.CRITICAL)
    warnings.simplefilter("ignore")  # Optuna marks heartbeats as experimental
    lines = [
        "# Six cases, and what becomes of the trial",
        "",
        f"Optuna {optuna.__version__}, RDB storage on SQLite, with the callback that retries; a heartbeat every",
        f"{HEARTBEAT_SECONDS} s, {GRACE_SECONDS} s of grace: what was observed. Here: what the tests of",
        "`tests/usecases/test_lost_results.py` assert, on SQLite and on Postgres.",
        "",
        "| case | Optuna | here |",
        "| --- | --- | --- |",
    ]
    for name, (case, here) in CASES.items():
        with tempfile.TemporaryDirectory() as folder:
            lines.append(f"| {name} | {case(f'sqlite:///{folder}/optuna.db')} | {here} |")
        print(lines[-1], flush=True)
    lines += ["", f"    python benchmarks/optuna_cases.py {shlex.join(sys.argv[1:])}"]
    if given.out is not None:
        given.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
