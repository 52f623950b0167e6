"""The command `worker data-curve`: trains a study file's configuration on parts of its data, and records nothing."""

from __future__ import annotations

import argparse
import json
import math
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING

from rich.console import Console

from service.client import ClientError
from service.client.study_file import load
from service.contract.command_line import parse
from service.contract.study import StudySpec
from worker.agent import DeviceError, cpu, gpus, num_cores
from worker.settings import add_code_and_data_options, data_folders, positive_count

if TYPE_CHECKING:
    from worker.trial.data_curve import Trained

_EPILOG = """\
Prints a line of JSON for each training as soon as it is done. `study data-curve` starts this command, and shows what
the lines say.

examples:
  worker data-curve study.yaml
  worker data-curve study.yaml --seeds 5 --gpu 0"""

FRACTIONS = (0.1, 0.3, 1.0)
"""The parts of the training examples."""


def main(arguments: Sequence[str]) -> int:
    """Train on parts of the data of a study file.

    Args:
        arguments: The command line after `worker data-curve`.

    Returns:
        The exit status: 0 when all trainings are done, 2 when the study cannot be trained here, 130 after Ctrl-C.
    """
    args = _parse(arguments)
    notes = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    try:
        spec = load(args.file, note=notes.print)
        device = gpus([args.gpu])[0] if args.gpu is not None else cpu()
        os.environ["CUDA_VISIBLE_DEVICES"] = device.visible  # torch reads it when it is loaded
        sys.path.insert(0, os.getcwd())  # noqa: PTH109 - as a worker that is started here
        _train(spec, args, device.device.kind)
    except KeyboardInterrupt:
        return 130
    except (ClientError, DeviceError, _CannotTrain) as error:
        notes.print(f"worker data-curve: {error}")
        return 2
    return 0


class _CannotTrain(Exception):
    """The study cannot be trained on this machine; the message says why."""


def _train(spec: StudySpec, args: argparse.Namespace, device: str) -> None:
    try:
        import torch  # noqa: PLC0415 - slow to load, and the device is set only now
    except ImportError as error:
        raise _CannotTrain(f"torch cannot be imported ({error}); pip install 'assayer[worker]'") from None

    from worker.training import TrainingError  # noqa: PLC0415
    from worker.trial.data_curve import train_on_parts  # noqa: PLC0415
    from worker.trial.registration import RegistrationFailed, register  # noqa: PLC0415

    torch.set_num_threads(args.threads)
    try:
        register(args.register)
        train_on_parts(
            spec,
            fractions=FRACTIONS,
            seeds=args.seeds,
            device=device,
            readable=data_folders(args.data),
            on_trained=_print,
        )
    except (RegistrationFailed, TrainingError) as error:
        raise _CannotTrain(str(error)) from None


def _print(trained: Trained) -> None:
    plain = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in asdict(trained).items()
    }
    sys.stdout.write(json.dumps(plain) + "\n")
    sys.stdout.flush()


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="worker data-curve",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", metavar="FILE", help="the study file")
    parser.add_argument(
        "--seeds", type=positive_count, default=3, metavar="N", help="trainings on each part (%(default)s)"
    )
    parser.add_argument("--gpu", type=int, metavar="N", help="train on this GPU (default: on the CPU)")
    parser.add_argument(
        "--threads", type=positive_count, default=num_cores(), metavar="N", help="CPU threads (%(default)s)"
    )
    add_code_and_data_options(parser)
    return parse(parser, arguments)
