"""Starts a slot's zygote, as the agent does it: `python -m worker.trial FD DEVICE`, FD being its control socket."""

from __future__ import annotations

import importlib
import sys

import torch

from worker.trial.provenance import code_fingerprint
from worker.trial.task import carry_out
from worker.trial.zygote import serve


def main() -> None:
    """Import once what every training process needs, then serve."""
    if sys.argv[2] == "cuda" and torch.version.cuda is None:
        sys.exit("this torch is built without CUDA; install torch's CUDA build, or train with --cpu")
    # torch's optimizers import it on first use: a second in every training process, once here.
    importlib.import_module("torch._dynamo")
    serve(int(sys.argv[1]), carry_out, code_fingerprint())


if __name__ == "__main__":
    main()
