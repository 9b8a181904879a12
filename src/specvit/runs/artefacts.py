"""The artefacts of a job: what its stages hand to each other and to the report, one dataclass each.

`snr` is the one S/N definition: median over pixels of noise-free flux / true sigma. Labels are in their own units.
Numbers are computed by the stages; the report draws them and computes no score.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from specvit.errors import DataError
from specvit.runs.artefact import Array, Artefact, array, column
from specvit.runs.folder import MEND


@dataclass(frozen=True)
class StarTable(Artefact):
    """What is known of N test spectra.

    Args:
        label_names: the P labels.
        labels: true values, shape (N, P).
        snr: shape (N,).
        mag: magnitude in the instrument's band, shape (N,); None where the spectra have none.
    """

    FILE: ClassVar[str] = "test"

    label_names: Array = array("P", "U")
    labels: Array = array("N P", finite=True)
    snr: Array = array("N")
    mag: Array | None = array("N", optional=True)

    def check(self, where: str) -> None:
        """Raise DataError unless every spectrum has a positive S/N."""
        bad = int((~(np.isfinite(self.snr) & (self.snr > 0))).sum())
        if bad:
            raise DataError(f"{where}: 'snr' of {bad} spectra is not a positive number; {MEND}")

    def __len__(self) -> int:
        return len(self.snr)

    @property
    def names(self) -> tuple[str, ...]:
        """The label names as texts."""
        return tuple(str(name) for name in self.label_names)

    def truth(self, label: str) -> Array:
        """Return the true values of one label, shape (N,), float64."""
        # float64: scores sum squares of labels that are stored in float32.
        return self.labels[:, column(self.label_names, label, "test.npz")].astype(float)


@dataclass(frozen=True)
class Estimates(Artefact):
    """What one estimator says of the N test spectra.

    Args:
        names: the P labels it estimates.
        mean: estimates, shape (N, P); NaN where it gives none.
        std: 1 σ errors, shape (N, P); None if it states none.
        quantiles: of what it states, shape (N, P, Q); None if it states none.
        probabilities: of the quantiles, shape (Q,).
    """

    FILE: ClassVar[str] = "predictions"

    names: Array = array("P", "U")
    mean: Array = array("N P")
    std: Array | None = array("N P", optional=True)
    quantiles: Array | None = array("N P Q", optional=True)
    probabilities: Array | None = array("Q", optional=True)

    def check(self, where: str) -> None:
        """Raise DataError for quantiles without probabilities, or estimates none of which is finite."""
        if (self.quantiles is None) != (self.probabilities is None):
            raise DataError(f"{where}: 'quantiles' and 'probabilities' belong together; {MEND}")
        # One spectrum without an estimate is missing and counted; all of them are a fit that failed.
        for at, name in enumerate(self.names):
            if not np.isfinite(self.mean[:, at]).any():
                raise DataError(
                    f"{where}: 'mean' holds no finite {name}; the fit failed, run again with --fresh"
                )

    def knows(self, label: str) -> bool:
        """Return whether the estimator estimates a label."""
        return label in self.names

    def of(self, label: str) -> Array:
        """Return the estimates of one label, shape (N,), float64."""
        return self.mean[:, column(self.names, label, "predictions")].astype(float)


@dataclass(frozen=True)
class StarBounds(Artefact):
    """Cramér-Rao bounds of M test stars for P labels, in S sets of free labels.

    A set frees its own labels and the one the bound is of; the flux scale is free in all.

    Args:
        rows: row of the star table of each star, shape (M,).
        snr: shape (M,).
        label_names: shape (P,).
        sets: names of the sets, shape (S,): all labels first.
        free: labels that a set frees, shape (S, P).
        crlb: smallest variance of an unbiased estimate, label unit squared, shape (S, M, P).
        r2_max: clip(1 - crlb / prior variance, 0, 1), shape (S, M, P).
        schur: share of a label's information left after the others are fitted, shape (S, M, P).
    """

    FILE: ClassVar[str] = "bounds"

    rows: Array = array("M", "i")
    snr: Array = array("M", finite=True)
    label_names: Array = array("P", "U")
    sets: Array = array("S", "U")
    free: Array = array("S P", "b")
    crlb: Array = array("S M P")
    r2_max: Array = array("S M P")
    schur: Array = array("S M P")

    def check(self, where: str) -> None:
        """Raise DataError unless the rows can be rows of a table."""
        check_rows(self.rows, where)

    def of(self, quantity: str, at: int, label: str) -> Array:
        """Return one quantity of one set and label, shape (M,)."""
        values: Array = getattr(self, quantity)[at, :, column(self.label_names, label, "bounds.npz")]
        return values

    def free_labels(self, at: int, label: str) -> tuple[str, ...]:
        """Return the labels that are free when `label` is bounded in a set."""
        own = (str(name) for name, free in zip(self.label_names, self.free[at], strict=True) if free)
        return tuple(dict.fromkeys((*own, label)))


@dataclass(frozen=True)
class LineFocus(Artefact):
    """How much of what a network looks at in N test spectra lies in the windows of known lines, for one label.

    Every quantity is its share inside the windows over their share of the pixels: 1 if it were spread evenly.

    Args:
        response: of what the noise of each pixel does to the estimate, shape (N,).
        information: of the Fisher information on the label, shape (N,).
        attention: of the attention, mean over blocks and heads, shape (N,); None for a network without.
    """

    FILE: ClassVar[str] = "focus"

    response: Array = array("N")
    information: Array = array("N")
    attention: Array | None = array("N", optional=True)


@dataclass(frozen=True)
class FluxScores(Artefact):
    """How well a denoiser gives the noise-free flux of N test spectra, relative to their level; means over pixels.

    Args:
        error: of (flux - truth)², shape (N,).
        weighed: of |flux - truth| / sigma, shape (N,).
        inside_68, inside_95: share of pixels whose truth lies in the central part of the samples, shape (N,); None
            where none were drawn.
    """

    FILE: ClassVar[str] = "flux"

    error: Array = array("N")
    weighed: Array = array("N")
    inside_68: Array | None = array("N", optional=True)
    inside_95: Array | None = array("N", optional=True)


@dataclass(frozen=True)
class Posteriors(Artefact):
    """Moments of the exact posterior of M test stars for P labels.

    Args:
        rows: row of the star table of each star, shape (M,).
        label_names: shape (P,).
        mean, variance: shape (M, P), label units.
        ess: effective sample size behind them, shape (M,).
        converged: whether the samples suffice, shape (M,).
    """

    FILE: ClassVar[str] = "posteriors"

    rows: Array = array("M", "i")
    label_names: Array = array("P", "U")
    mean: Array = array("M P")
    variance: Array = array("M P")
    ess: Array = array("M")
    converged: Array = array("M", "b")

    def check(self, where: str) -> None:
        """Raise DataError unless the rows can be rows of a table and variances are not negative."""
        check_rows(self.rows, where)
        if (self.variance < 0).any():
            raise DataError(f"{where}: 'variance' holds negative values; {MEND}")

    def of(self, quantity: str, label: str) -> Array:
        """Return mean or variance of one label, shape (M,)."""
        values: Array = getattr(self, quantity)[:, column(self.label_names, label, "posteriors.npz")]
        return values


@dataclass(frozen=True)
class CellScores(Artefact):
    """Where in the plane of two labels, in slices of S/N, what can be attained is attained.

    K slices of S/N, each a plane of G x F cells; E estimators.

    Args:
        axes: the two labels, the horizontal one first.
        first_edges, second_edges, snr_edges: increasing.
        stars: number of spectra in each cell.
        ceiling: attainable R² there.
        exact: relative to the exact posterior, not to V·CRLB / (V + CRLB).
        least_stars: cells with fewer spectra are blank (NaN).
        estimators: the estimators.
        precision: attainable RMSE / RMSE, with its interval.
        efficiency: R² / ceiling about the prior's variance, with its interval.
    """

    FILE: ClassVar[str] = "cells"

    axes: Array = array("2", "U")
    first_edges: Array = array("F+1", finite=True)
    second_edges: Array = array("G+1", finite=True)
    snr_edges: Array = array("K+1", finite=True)
    stars: Array = array("K G F", "i")
    ceiling: Array = array("K G F")
    exact: Array = array("", "b")
    least_stars: Array = array("", "i")
    estimators: Array = array("E", "U")
    precision: Array = array("E K G F 3")
    efficiency: Array = array("E K G F 3")

    def check(self, where: str) -> None:
        """Raise DataError unless the edges rise."""
        for name in ("first_edges", "second_edges", "snr_edges"):
            # Spectra of one S/N share the edges of their slices.
            if (np.diff(getattr(self, name)) < 0).any():
                raise DataError(f"{where}: '{name}' do not increase; {MEND}")

    def of(self, quantity: str, estimator: str) -> Array:
        """Return value, low and high of one estimator's precision or efficiency, shape (K, G, F, 3)."""
        values: Array = getattr(self, quantity)[column(self.estimators, estimator, "cells.npz")]
        return values


@dataclass(frozen=True)
class Examples(Artefact):
    """S example spectra of L pixels.

    Args:
        wavelength: Å in vacuum, shape (L,).
        flux: with noise; clean: without; sigma: true 1 σ; all relative to the median, shape (S, L).
        jacobian: ∂clean/∂target per unit of the target, shape (S, L).
        label_names, labels, snr, mag: see `StarTable`.
        band: name of the band of the magnitudes, a scalar; None in runs of before it was kept.
    """

    FILE: ClassVar[str] = "examples"

    wavelength: Array = array("L", finite=True)
    flux: Array = array("S L")
    clean: Array = array("S L", finite=True)
    sigma: Array = array("S L")
    jacobian: Array = array("S L", finite=True)
    label_names: Array = array("P", "U")
    labels: Array = array("S P")
    snr: Array = array("S")
    mag: Array = array("S")
    band: Array | None = array("", "U", optional=True)

    def check(self, where: str) -> None:
        """Raise DataError for an unknown sigma; that of a dead pixel is infinite."""
        if np.isnan(self.sigma).any():
            raise DataError(f"{where}: 'sigma' holds NaN; {MEND}")


@dataclass(frozen=True)
class DenoisedExamples(Artefact):
    """S test spectra of L pixels and what a denoiser makes of them.

    Args:
        wavelength: Å in vacuum, shape (L,).
        flux, sigma: as observed, (S, L); sigma is infinite on dead pixels.
        clean: without noise, (S, L).
        mean: what came out, (S, L).
        snr: shape (S,).
        std: stated error of the mean, (S, L); None where none is stated.
    """

    FILE: ClassVar[str] = "denoised"

    wavelength: Array = array("L", finite=True)
    flux: Array = array("S L", finite=True)
    sigma: Array = array("S L")
    clean: Array = array("S L", finite=True)
    mean: Array = array("S L", finite=True)
    snr: Array = array("S", finite=True)
    std: Array | None = array("S L", optional=True)

    def check(self, where: str) -> None:
        """Raise DataError for an unknown sigma; that of a dead pixel is infinite."""
        if np.isnan(self.sigma).any():
            raise DataError(f"{where}: 'sigma' holds NaN; {MEND}")


#: Quantities of every explanation, and those of a network that attends to the whole spectrum.
LOOKED_AT, ATTENDED = ("fisher", "response", "ig"), ("attention", "rollout")


@dataclass(frozen=True)
class Explanation(Artefact):
    """What a network looks at in E test spectra of L pixels.

    Args:
        model, target: the network's title, and the label.
        snr: shape (E,).
        wavelength: Å in vacuum, shape (L,).
        windows: names of groups of lines, shape (W,); window: group of each pixel, shape (L,).
        ranges: names of groups of stars, all first, shape (R,); stars: their numbers.
        quantities: of fisher (information on the target given all else), response (what the noise of a pixel adds
            to the variance of the estimate), ig (size of the integrated gradients), attention (mean of blocks)
            and rollout, the last two where the network has them, shape (Q,).
        density: mean share per Å, shape (Q, R, L).
        share: mean share of each group of lines and its 95 % interval, shape (Q, R, W, 3).
        likeness: correlation with fisher, smoothed, shape (Q, R).
        gap: RMS of what ig misses of the change of the estimate, over the RMS of that.
        blocks: attention in each of D blocks, per Å, shape (D, L).
    """

    FILE: ClassVar[str] = "explain"

    model: Array = array("", "U")
    target: Array = array("", "U")
    snr: Array = array("E", finite=True)
    wavelength: Array = array("L", finite=True)
    windows: Array = array("W", "U")
    window: Array = array("L", "i")
    ranges: Array = array("R", "U")
    stars: Array = array("R", "i")
    quantities: Array = array("Q", "U")
    density: Array = array("Q R L", finite=True)
    share: Array = array("Q R W 3")
    likeness: Array = array("Q R")
    gap: Array = array("")
    blocks: Array | None = array("D L", optional=True)

    def check(self, where: str) -> None:
        """Raise DataError unless all quantities that belong together are there."""
        names = [str(name) for name in self.quantities]
        for name in LOOKED_AT + (ATTENDED if set(ATTENDED) & set(names) else ()):
            if name not in names:
                raise DataError(f"{where}: 'quantities' lack {name}; {MEND}")


def check_rows(rows: Array, where: str) -> None:
    """Raise DataError unless `rows` are distinct and not negative."""
    if rows.size and (rows.min() < 0 or len(np.unique(rows)) < rows.size):
        raise DataError(f"{where}: 'rows' names a spectrum twice, or one below zero; {MEND}")
