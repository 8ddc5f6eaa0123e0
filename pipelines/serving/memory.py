"""Memory of sessions that are gone: the C library keeps it for later, and this hands it back to the machine.

Without it a worker grows with the first swaps of policies. ONNX Runtime frees a session whole; what stays are pages of
the allocator, in the arena of the thread that loaded it.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any


def give_back() -> bool:
    """Return free pages to the machine; return whether the C library can do it."""
    trim = _malloc_trim()
    if trim is None:
        return False
    trim(0)
    return True


@cache
def _malloc_trim() -> Any:
    """Return glibc's malloc_trim; None with another C library, where pages come back by themselves or not at all."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (OSError, AttributeError):
        return None
