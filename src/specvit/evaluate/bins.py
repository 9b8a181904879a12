"""Bins of signal-to-noise. Owns the named bin sets; S/N itself is defined in `spectra`.

specvit has one S/N: the median over pixels of noise-free flux / true sigma (definition b of the reference
work). The reference's own bins refer to its stored column (definition a, about 1.16 times larger); they are
here for comparison with published tables and must be used with that column.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from specvit.errors import ConfigError
from specvit.evaluate.metrics import as_float64

#: Stored S/N / median S/N on the reference work's test set of 10,000 stars: ratio of the medians. The stored one
#: is the 95th percentile over pixels (the estimator pfsspec was run with there).
STORED_OVER_MEDIAN = 1.16


@dataclass(frozen=True)
class SnrBins:
    """Contiguous bins [edge k, edge k+1), the last one closed.

    Args:
        name: how tables refer to the set.
        edges: increasing edges.
        definition: "median" (specvit's S/N) or "stored" (the reference's column).
    """

    name: str
    edges: tuple[float, ...]
    definition: Literal["median", "stored"] = "median"

    def __post_init__(self) -> None:
        """Check that the edges increase."""
        if len(self.edges) < 2 or any(a >= b for a, b in zip(self.edges, self.edges[1:], strict=False)):
            raise ConfigError(f"SNR bins '{self.name}': edges must increase; got {self.edges}")

    def __len__(self) -> int:
        """Return the number of bins."""
        return len(self.edges) - 1

    def assign(self, snr: ArrayLike) -> NDArray[np.int64]:
        """Return the bin of each spectrum, shape (N,); -1 outside the first and last edge."""
        values = as_float64(snr, "snr")
        at = np.searchsorted(self.edges, values, side="right") - 1
        at[values == self.edges[-1]] = len(self) - 1
        return np.where((at >= 0) & (at < len(self)), at, -1)

    def to_median(self) -> SnrBins:
        """Return a stored-S/N set with its edges divided by 1.16, for use with specvit's S/N."""
        if self.definition == "median":
            return self
        edges = tuple(round(edge / STORED_OVER_MEDIAN, 4) for edge in self.edges)
        return SnrBins(f"{self.name} / {STORED_OVER_MEDIAN}", edges)


#: "default" holds 8-18 % of i = 20.5-22.5 stars per bin and starts below the faintest of them.
_SETS = {
    "default": SnrBins("default", (2.0, 3.5, 4.5, 5.5, 7.0, 9.0, 11.0, 13.5, 20.0)),
    "fixed": SnrBins("fixed", (2.5, 3.5, 4.5, 5.5, 6.5, 8.5, 12.5, 18.0, 28.0), "stored"),
    "quantile": SnrBins("quantile", (2.79, 4.30, 5.30, 6.60, 8.21, 10.22, 12.53, 15.20, 27.68), "stored"),
    "publication": SnrBins("publication", (2.5, 4.0, 5.0, 6.0, 7.0, 8.0, 10.0, 15.0, 30.0), "stored"),
    "log": SnrBins("log", (2.8, 3.7, 5.0, 6.6, 8.8, 11.7, 15.6, 20.8, 27.7), "stored"),
}


def snr_bins(name: str = "default") -> SnrBins:
    """Return a named set of bins; ConfigError lists the names.

    "default" is made for specvit's S/N. "fixed", "quantile", "publication" and "log" are those of the
    reference work (docs/architecture.md), whose edges refer to its stored S/N; see `SnrBins.to_median`.
    """
    if name not in _SETS:
        raise ConfigError(f"unknown SNR bins '{name}'; known sets are {', '.join(_SETS)}")
    return _SETS[name]
