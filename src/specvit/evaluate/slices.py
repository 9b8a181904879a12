"""Slices: named parts of the test spectra, as boolean masks that say where they come from.

Every score is of a slice. Bins in S/N, boxes in labels or S/N, cells and the spectra that all estimators share are
slices alike, so that no two scores of one name are of different stars.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from specvit.errors import ConfigError
from specvit.evaluate.bins import SnrBins
from specvit.runs import ALL, SliceFacts, StarTable

Values = np.ndarray

#: What a box may bound beside labels.
SNR, SNR_QUANTILE, MAG = "snr", "snr_quantile", "mag"
BESIDE_LABELS = (SNR, SNR_QUANTILE, MAG)

#: Name of the spectra that every estimator has an estimate for.
SHARED = "shared"


@dataclass(frozen=True)
class Slice:
    """A named part of N test spectra.

    Args:
        name: what tables and files call it.
        kind: see `SliceFacts`.
        definition: which spectra, in words.
        mask: shape (N,), bool.
        edges: of a bin in S/N.
    """

    name: str
    kind: Literal["all", "snr", "named"]
    definition: str
    mask: Values
    edges: tuple[float, float] | None = None

    def facts(self, snr: Values) -> SliceFacts:
        """Return what a summary says of it."""
        inside = snr[self.mask]
        return SliceFacts(
            kind=self.kind,
            definition=self.definition,
            spectra=len(inside),
            median_snr=float(np.median(inside)) if len(inside) else None,
            edges=self.edges,
        )


def everything(count: int) -> Slice:
    """Return the slice of all spectra."""
    return Slice(ALL, "all", "all test spectra", np.ones(count, dtype=bool))


def snr_slices(bins: SnrBins, snr: Values) -> list[Slice]:
    """Return one slice per bin of S/N."""
    at = bins.assign(snr)
    edges = list(zip(bins.edges, bins.edges[1:], strict=False))
    return [
        Slice(f"S/N {low:g}-{high:g}", "snr", f"S/N from {low:g} to {high:g}", at == k, (low, high))
        for k, (low, high) in enumerate(edges)
    ]


def box_slice(name: str, box: Mapping[str, tuple[float, float]], stars: StarTable) -> Slice:
    """Return the spectra inside a box.

    Args:
        name: of the slice.
        box: label, "snr", "snr_quantile" (0 to 1 over the test spectra) or "mag" -> [low, high], both included.
        stars: the test spectra.

    Raises:
        ConfigError: for a key that the test spectra do not have.
    """
    mask = np.ones(len(stars), dtype=bool)
    for key, (low, high) in box.items():
        values = _values(key, name, stars)
        mask &= (values >= low) & (values <= high)
    words = ", ".join(f"{key} from {low:g} to {high:g}" for key, (low, high) in box.items())
    return Slice(name, "named", words, mask)


def shared_slice(estimates: Sequence[Values]) -> Slice | None:
    """Return the spectra that every estimator has an estimate for; None if those are all."""
    mask = np.all([np.isfinite(values) for values in estimates], axis=0)
    if mask.all():
        return None
    return Slice(SHARED, "named", "spectra for which every estimator gives an estimate", mask)


def _values(key: str, name: str, stars: StarTable) -> Values:
    if key == SNR:
        return stars.snr
    if key == SNR_QUANTILE:
        # Ranks; equal values keep their order, so that a share holds the stated number of spectra.
        return np.argsort(np.argsort(stars.snr, kind="stable")) / max(len(stars) - 1, 1)
    if key == MAG and stars.mag is not None:
        return stars.mag
    if key in stars.names:
        return stars.truth(key)
    beside = (part for part in BESIDE_LABELS if part != MAG or stars.mag is not None)
    known = ", ".join((*stars.names, *beside))
    raise ConfigError(f"evaluate.slices.{name}: '{key}' is not known of the test spectra; choose {known}")
