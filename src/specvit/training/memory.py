"""Freed memory kept by the process while it trains on a CPU.

glibc gives blocks above 32 MB back to the kernel when they are freed, and the activations of a step are such
blocks: each step then waits for its memory to be zeroed page by page. Measured for SpecViT-reference in
batches of 16 on one core: 8 to 10 % of a step. Other C libraries are left as they are.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager

#: Parameters of mallopt(3) and its largest value.
_TRIM_THRESHOLD, _MMAP_THRESHOLD, _MMAP_MAX = -1, -3, -4
_LARGEST = 2**31 - 1

#: What glibc arrives at by itself after freeing large blocks, and its default number of mapped blocks.
_USUAL = {_MMAP_MAX: 65536, _MMAP_THRESHOLD: 32 * 1024**2, _TRIM_THRESHOLD: 64 * 1024**2}


@contextmanager
def freed_memory_kept() -> Iterator[bool]:
    """Keep what is freed within the block for the next allocation; give it back afterwards.

    Yields:
        Whether this C library can be told to.
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if library is None or not (hasattr(library, "mallopt") and hasattr(library, "malloc_trim")):
        yield False
        return
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, _LARGEST)
    try:
        yield True
    finally:
        for parameter, value in _USUAL.items():
            library.mallopt(parameter, value)
        library.malloc_trim(0)
