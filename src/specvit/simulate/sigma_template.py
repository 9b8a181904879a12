"""A σ that a pipeline could know, made from σ vectors that contain the star: one number per spectrum.

The reference work's σ was computed from each star's own noise-free counts, so σ(λ) is a noise-free copy of
the spectrum: its own logs report Ridge reading log g from σ alone with R² 0.99. Here σ is replaced by the
median shape of many stars of about the same level, scaled by the one number `level` (the median of σ over
pixels, i.e. about 1/SNR). By construction two spectra of equal level have the same visible σ.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from specvit.errors import DataError
from specvit.numerics import row_median

#: The shape depends on the level (sky-limited or star-limited), so it is taken in bins of level; the median
#: over at least this many stars leaves the lines of none of them.
SPECTRA_PER_BIN = 64
MAXIMUM_BINS = 8


class SigmaTemplate:
    """σ(λ; level) = level * shape(λ), with the shape interpolated between bins of log level.

    Args:
        log_level: centres of the bins, shape (M,), increasing.
        shape: median shapes, median over pixels 1, shape (M, L).
    """

    def __init__(self, log_level: Tensor, shape: Tensor) -> None:
        self.log_level, self.shape = log_level, shape

    @classmethod
    def fit(cls, sigma: np.ndarray) -> SigmaTemplate:
        """Return the template of N σ vectors, shape (N, L).

        Raises:
            DataError: with fewer than 64 vectors, whose median would still show single stars.
        """
        if len(sigma) < SPECTRA_PER_BIN:
            raise DataError(
                f"sigma template: expected at least {SPECTRA_PER_BIN} spectra, got {len(sigma)}; "
                "the median of so few would leak the stars' lines: use more"
            )
        values = torch.from_numpy(np.asarray(sigma, dtype=np.float32))
        level = row_median(values)
        order = torch.argsort(level)
        bins = min(MAXIMUM_BINS, len(sigma) // SPECTRA_PER_BIN)
        centres, shapes = [], []
        for rows in torch.tensor_split(order, bins):
            shape = row_median((values[rows] / level[rows, None]).T)
            shapes.append(shape / row_median(shape[None]))
            centres.append(level[rows].log().median())
        return cls(torch.stack(centres), torch.stack(shapes))

    def __call__(self, level: Tensor) -> Tensor:
        """Return the visible σ, shape (B, L), for levels of shape (B,)."""
        log_level = level.log().clamp(self.log_level[0], self.log_level[-1])
        upper = torch.searchsorted(self.log_level, log_level).clamp(1, max(len(self.log_level) - 1, 1))
        if len(self.log_level) == 1:
            return level[:, None] * self.shape[0]
        lower = upper - 1
        span = self.log_level[upper] - self.log_level[lower]
        weight = torch.where(span > 0, (log_level - self.log_level[lower]) / span, torch.zeros_like(span))
        return level[:, None] * torch.lerp(self.shape[lower], self.shape[upper], weight[:, None])
