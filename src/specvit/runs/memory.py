"""Freed memory kept by the process instead of given back to the kernel.

glibc gives blocks above 32 MB back when they are freed, and what a step of training or a round of posterior
draws needs are such blocks: each waits for its memory to be zeroed page by page. Measured on one core: 8 to
10 % of a training step of SpecViT-reference in batches of 16, 8 to 15 % of a Bayes ceiling, half of posterior
draws without spectra. The process stays as large as it was at its largest. Other C libraries are left as they
are.
"""

from __future__ import annotations

import ctypes
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

#: Parameters of mallopt(3) and its largest value.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_LARGEST = 2**31 - 1

#: What glibc arrives at by itself after freeing large blocks, and its default number of mapped blocks.
_USUAL = {_MMAP_MAX: 65536, _MMAP_THRESHOLD: 32 * 1024**2, _TRIM_THRESHOLD: 64 * 1024**2}

#: One setting for the whole process, however many blocks want it at once and in whichever threads.
_LOCK = threading.Lock()
_wanted = 0


def keep_freed_memory() -> bool:
    """Keep what is freed from now on for the next allocation, to the end of the process.

    For processes that are the program's own: its workers.

    Returns:
        Whether this C library can be told to.
    """
    return _change(+1)


@contextmanager
def freed_memory_kept() -> Iterator[bool]:
    """Keep what is freed within the block for the next allocation; give it back after the outermost one.

    Yields:
        Whether this C library can be told to.
    """
    can = _change(+1)
    try:
        yield can
    finally:
        _change(-1)


def _change(by: int) -> bool:
    global _wanted
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not (hasattr(library, "mallopt") and hasattr(library, "malloc_trim")):
        return False
    with _LOCK:
        before, _wanted = _wanted, _wanted + by
        if not before:
            library.mallopt(_MMAP_MAX, 0)
            library.mallopt(_TRIM_THRESHOLD, _LARGEST)
        elif not _wanted:
            for parameter, value in _USUAL.items():
                library.mallopt(parameter, value)
            library.malloc_trim(0)
    return True
