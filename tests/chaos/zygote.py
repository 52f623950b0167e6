"""The worker's own zygote with the stub behind it: `python -m tests.chaos.zygote FD DEVICE`."""

from __future__ import annotations

import sys

from tests.chaos.training import carry_out
from worker.protocol import Ready
from worker.trial.zygote import serve

if __name__ == "__main__":
    serve(int(sys.argv[1]), carry_out, Ready("stub training"))
