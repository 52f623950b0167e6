"""Starts a slot's zygote, as the agent does: `python -m worker.trial FD DEVICE [MODULE…]`.

FD is the descriptor of its control socket. The modules add custom entries to the training core.
"""

from __future__ import annotations

import importlib
import sys

import torch

from worker.protocol import UNREGISTERED, Ready
from worker.trial.provenance import code_fingerprint
from worker.trial.registration import RegistrationFailed, register
from worker.trial.tasks.dispatch import carry_out
from worker.trial.zygote import serve


def main() -> None:
    """Import once what every training process needs, then serve."""
    if sys.argv[2] == "cuda" and torch.version.cuda is None:
        sys.exit("this torch is built without CUDA; install torch's CUDA build, or train with --cpu")
    # torch's optimizers import it on first use. Importing it here saves every training process a second.
    importlib.import_module("torch._dynamo")
    serve(int(sys.argv[1]), carry_out, _ready(sys.argv[3:]))


def _ready(modules: list[str]) -> Ready:
    """Import the custom modules and return the zygote's first message; exit if a module cannot be registered."""
    try:
        own = register(modules)
    except RegistrationFailed as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(UNREGISTERED)
    return Ready(code_fingerprint(), code_fingerprint(own=own.sources) if modules else None, own.entries)


if __name__ == "__main__":
    main()
