"""Code compiled by Numba and kept on disk, whatever may be wrong with the disk. Imported only where Numba is there."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numba

P = ParamSpec("P")
R = TypeVar("R")

#: No fast arithmetic: code compiled now and the same code read from the disk may be inlined differently, and
#: only IEEE arithmetic is then sure to give the same bits.
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


def kept_on_disk(function: Callable[P, R]) -> Callable[P, R]:
    """Compile `function`, which raises nothing itself, at its first call, or take what a process before compiled.

    Where code cannot be kept, or what was kept is damaged, it is compiled for this process alone.
    """
    alone: Callable[P, R] = numba.njit(**OPTIONS)(function)
    try:
        kept = numba.njit(cache=True, **OPTIONS)(function)
    except RuntimeError:  # no place: neither beside this file nor in the user's cache
        return alone
    chosen: Callable[P, R] = kept

    @functools.wraps(function)
    def call(*arguments: P.args, **named: P.kwargs) -> R:
        nonlocal chosen
        try:
            return chosen(*arguments, **named)
        except Exception as error:  # a full disk, or anything a damaged pickle can raise
            if chosen is alone:
                raise
            warnings.warn(
                f"compiled code could not be kept in or read from {kept.stats.cache_path} ({error}); it is compiled "
                "anew in every process, a few seconds each, until that folder is deleted or has space",
                RuntimeWarning,
                stacklevel=2,
            )
            chosen = alone
            return chosen(*arguments, **named)

    return call
