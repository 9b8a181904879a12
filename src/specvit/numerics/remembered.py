"""Functions of arrays that keep their last results: `functools.lru_cache` for arguments that have no hash.

For what many spectra share and only one of them needs to be asked for: pixels, widths, windows.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

import numpy as np

P = ParamSpec("P")
R = TypeVar("R")

#: Results that are kept of each function: the arms of a spectrograph may come by turns.
KEPT = 4
#: Numbers of the largest array for which a result is kept: what is kept is to stay a matter of megabytes.
LARGEST = 2**15


def remembered(function: Callable[P, R]) -> Callable[P, R]:
    """Return `function` with its last results kept, by the values of its arguments.

    Arrays are the same if dtype, shape and numbers are; NaN is never the same, nor is what is large. What is returned
    is shared by all who ask: its arrays are not to be written to. Exceptions are not kept.
    """
    kept: tuple[tuple[tuple[Any, ...], R], ...] = ()

    @functools.wraps(function)
    def call(*arguments: P.args, **named: P.kwargs) -> R:
        nonlocal kept
        asked = (*arguments, *sum(sorted(named.items()), ()))
        for known, result in kept:
            if len(known) == len(asked) and all(map(_same, known, asked)):
                return result
        found = function(*arguments, **named)
        if any(isinstance(value, np.ndarray) and value.size > LARGEST for value in asked):
            return found
        # Whoever owns an array may write to it later. One assignment: threads see the old results or the new ones.
        key = tuple(value.copy() if isinstance(value, np.ndarray) else value for value in asked)
        kept = ((key, found), *kept[: KEPT - 1])
        return found

    return call


def locked(values: np.ndarray) -> np.ndarray:
    """Return an array that cannot be written to any more, for results that are shared."""
    values.flags.writeable = False
    return values


def _same(known: Any, asked: Any) -> bool:
    if isinstance(known, np.ndarray):
        return (
            isinstance(asked, np.ndarray)
            and known.shape == asked.shape
            and known.dtype == asked.dtype
            # Other pixels most often begin or end elsewhere, which is seen in a tenth of the time.
            and (not known.size or (known.item(0) == asked.item(0) and known.item(-1) == asked.item(-1)))
            and bool((known == asked).all())
        )
    return known is asked or (not isinstance(asked, np.ndarray) and bool(known == asked))
