"""Recognises exceptions that say that memory ran out, on a GPU or on the host."""

import torch


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether an exception says that memory ran out; torch's CPU allocator raises a plain RuntimeError."""
    if isinstance(error, RuntimeError) and "can't allocate memory" in str(error):
        return True
    return isinstance(error, torch.OutOfMemoryError | MemoryError)
