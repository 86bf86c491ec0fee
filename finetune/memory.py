"""The memory of a run: the most that was held, and what becomes of what is freed.

Owns both. What there is of it on the disk is `disk_space`. Imports torch only inside a function.
"""

import resource
import sys
from pathlib import Path
from typing import Final

# Of mallopt(3), in malloc.h.
TRIM_THRESHOLD, MAP_THRESHOLD = -1, -3
LARGEST_KEPT: Final = 2**30
"""Bytes from which a tensor has pages of its own, which go back to the system with it."""


def peak_memory_megabytes() -> float:
    """Return the most memory this process has held, on the GPU where there is one."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    status = Path("/proc/self/status")
    if status.is_file():
        # Not ru_maxrss: a new process begins with that of the process that started it.
        held = next(
            (line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM")), None
        )
        if held is not None:
            return int(held.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform != "darwin" else peak / 2**20


def keep_freed_memory() -> None:
    """Have the C library keep the pages of freed tensors for those to come, on a CPU under glibc; elsewhere nothing changes.

    By default the gradient of an embedding table, 47 MB, goes back to the system in each step and comes anew, page by page, each
    filled with zeros (mallopt(3); docs/log.md has what it is worth).
    """
    import torch

    if torch.accelerator.is_available():
        return
    import ctypes

    library = ctypes.CDLL(None)
    # Of glibc alone.
    if hasattr(library, "mallopt"):
        library.mallopt(MAP_THRESHOLD, LARGEST_KEPT)
        library.mallopt(TRIM_THRESHOLD, 2**31 - 1)
