"""Starts a slot's zygote, as the agent does: `python -m worker.trial FD DEVICE [MODULE…]`.

FD is the descriptor of its control socket. The modules add custom entries to the training core.
"""

from __future__ import annotations

import importlib
import sys

import torch

from worker.protocol import UNREGISTERED, Ready
from worker.trial.execute import execute
from worker.trial.provenance import code_fingerprint
from worker.trial.registration import RegistrationFailed, register
from worker.trial.zygote import serve


def main() -> None:
    """Import once what every training process needs, then serve."""
    if sys.argv[2] == "cuda" and torch.version.cuda is None:
        sys.exit("torch is installed here without CUDA; install torch's CUDA build, or train with --cpu")
    # torch's optimizers import it on first use. Importing it here saves every training process a second.
    importlib.import_module("torch._dynamo")
    serve(int(sys.argv[1]), execute, _ready(sys.argv[3:]))


def _ready(modules: list[str]) -> Ready:
    """Import the custom modules and return the zygote's first message; exit if a module cannot be registered."""
    try:
        registration = register(modules)
    except RegistrationFailed as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(UNREGISTERED)
    custom_code = code_fingerprint(custom_sources=registration.sources) if modules else None
    return Ready(code_fingerprint(), custom_code, registration.entries)


if __name__ == "__main__":
    main()
