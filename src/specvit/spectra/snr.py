"""The one signal-to-noise definition of specvit: median over pixels of flux / sigma."""

from __future__ import annotations

from torch import Tensor

from specvit.numerics.medians import row_median


def median_snr(flux: Tensor, sigma: Tensor) -> Tensor:
    """Return the median over pixels of flux / sigma, shape (...,), for inputs of shape (..., L).

    A dead pixel (`sigma = inf`) counts as zero. This is definition (b) of the reference work; its stored
    column (definition a) is the 95th percentile over pixels and about 1.16-1.2 times larger.
    """
    return row_median(flux / sigma)
