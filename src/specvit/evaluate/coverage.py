"""How often stated intervals hold the truth, for all labels at once, over all spectra and in parts of their S/N."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from specvit.evaluate.metrics import rmse
from specvit.evaluate.scorer import COVERAGES, stated_intervals
from specvit.runs import Estimates

#: Parts of equal size by S/N, whatever the range of S/N is.
PARTS = 8


@dataclass(frozen=True)
class Coverage:
    """Shares of truths inside stated central intervals, of N spectra and P labels.

    Args:
        names: the labels.
        spectra: N.
        held: nominal share in % -> share inside, shape (P,).
        rmse: of the estimates, shape (P,), label units.
        edges: of the S/N of K parts of equal size, shape (K + 1,); None if the S/N is not known.
        held_by_snr: nominal share in % -> share inside, shape (K, P); K is 0 if the S/N is not known.
    """

    names: tuple[str, ...]
    spectra: int
    held: dict[int, np.ndarray]
    rmse: np.ndarray
    edges: np.ndarray | None
    held_by_snr: dict[int, np.ndarray]

    def scores(self) -> dict[str, dict[str, float]]:
        """Return label -> coverage_68, coverage_95 (shares, not %) and rmse, over all spectra."""
        return {
            name: {
                **{f"coverage_{share}": float(inside[at]) for share, inside in self.held.items()},
                "rmse": float(self.rmse[at]),
            }
            for at, name in enumerate(self.names)
        }


def coverage(estimates: Estimates, truth: np.ndarray, snr: np.ndarray | None) -> Coverage:
    """Return how often the intervals of `estimates` hold the truth.

    Args:
        estimates: of N spectra and P labels, with quantiles or errors.
        truth: shape (N, P), in the order of the labels.
        snr: shape (N,); None if it is not known.
    """
    names = tuple(str(name) for name in estimates.names)
    intervals = [stated_intervals(estimates, name) for name in names]
    # (N, P) of whether each is inside.
    inside = {
        share: np.stack(
            [
                (low <= truth[:, at]) & (truth[:, at] <= high)
                for at, (low, high) in enumerate(each[share] for each in intervals)
            ],
            axis=1,
        )
        for share in COVERAGES
    }
    parts = [] if snr is None else np.array_split(np.argsort(snr, kind="stable"), min(PARTS, len(snr)))
    return Coverage(
        names=names,
        spectra=len(truth),
        held={share: held.mean(axis=0) for share, held in inside.items()},
        rmse=rmse(truth.T, estimates.mean.T),
        edges=None if snr is None else np.quantile(snr, np.linspace(0, 1, len(parts) + 1)),
        held_by_snr={
            share: np.array([held[rows].mean(axis=0) for rows in parts]).reshape(len(parts), len(names))
            for share, held in inside.items()
        },
    )
