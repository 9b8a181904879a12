"""Learning-rate schedules as functions of progress, the share of the run that is done.

Progress is steps over steps, or time over the time budget: the same curve serves both.
"""

from __future__ import annotations

import math

from specvit.training.recipe import Recipe


def rate_factor(progress: float, recipe: Recipe) -> float:
    """Return the learning rate over its peak at `progress` in [0, 1].

    Linear warm-up to 1, then a half cosine to `floor`, or ("wsd") 1 until the last `decay` of the run and a
    line to `floor`. The first step of a run has a small positive rate, never zero.
    """
    progress = min(max(progress, 0.0), 1.0)
    if progress < recipe.warmup:
        return max(progress / recipe.warmup, 1e-3)
    # Loshchilov & Hutter 2017, ICLR (SGDR, one cycle).
    if recipe.schedule == "cosine":
        done = (progress - recipe.warmup) / max(1 - recipe.warmup, 1e-12)
        return recipe.floor + (1 - recipe.floor) * 0.5 * (1 + math.cos(math.pi * done))
    # Hu et al. 2024, arXiv:2404.06395 (warm-up, stable, decay).
    left = (1 - progress) / max(recipe.decay, 1e-12)
    return recipe.floor + (1 - recipe.floor) * min(left, 1.0)
