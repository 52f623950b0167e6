"""Tracebacks of one fault have equal fingerprints, those of different faults different ones."""

from __future__ import annotations

from service.contract.attempt import Outcome
from service.domain.error_fingerprint import error_fingerprint

TRACEBACK = """Traceback (most recent call last):
  File "/home/ann/train/model.py", line 12, in build
    return Net(width)
  File "/home/ann/train/net.py", line 7, in __init__
    self.layer = Linear(width)
  File "/opt/venv/lib/python3.12/site-packages/torch/nn/modules/linear.py", line 99, in __init__
    torch.empty(size)
RuntimeError: bad size 64 at 0x7f00
"""


def of(traceback: str | None, message: str = "") -> str:
    return error_fingerprint(Outcome(result="failed", message=message, traceback=traceback))


def test_lines_addresses_messages_homes_and_library_frames_do_not_matter() -> None:
    moved = (
        TRACEBACK.replace("line 12", "line 13")
        .replace("bad size 64 at 0x7f00", "bad size 128 at 0x8888")
        .replace("/home/ann/", "/srv/bob/")
        .replace("torch/nn/modules/linear.py", "torch/nn/linear.py")
    )
    assert moved != TRACEBACK
    assert of(moved) == of(TRACEBACK)


def test_class_and_own_frames_do() -> None:
    others = [TRACEBACK.replace("RuntimeError", "ValueError"), TRACEBACK.replace("in build", "in rebuild")]
    assert len({of(TRACEBACK), *map(of, others)}) == 3


def test_the_last_exception_of_a_chain_counts() -> None:
    cause = TRACEBACK.replace("RuntimeError", "KeyError").replace("in build", "in load")
    chain = cause + "\nDuring handling of the above exception, another exception occurred:\n\n" + TRACEBACK
    assert of(chain) == of(TRACEBACK)


def test_where_all_code_is_installed_its_innermost_frames_count() -> None:
    installed = TRACEBACK.replace("/home/ann", "/opt/venv/lib/python3.12/site-packages")
    assert of(installed) != of(installed.replace("linear.py", "conv.py"))


def test_without_a_traceback_the_message_speaks_but_for_its_numbers() -> None:
    assert of(None, "exited with status 3") == of(None, "exited with status 4")
    assert of(None, "exited") != of(None, "vanished")


def test_it_fits_its_column() -> None:
    assert len(of("x" * 20_000)) == 64
