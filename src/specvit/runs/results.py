"""The results of a main job as they lie in a run folder: what both their writer and the report follow.

Arrays (`arrays/NAME.npz`; N test spectra, P labels of the library, M ceiling stars, S examples, L pixels):

    test                label_names (P,) str, labels (N, P), snr (N,), mag (N,) i-band AB
    predictions_MODEL   names (P',) str, mean (N, P'), optionally std (N, P'); label units; optionally
                        quantiles (N, P', Q) at probabilities (Q,); what the estimator says of how it came to
                        each answer as diagnostics/NAME (N, ...), see `models.prediction.Diagnostics`
    ceiling             rows (M,) int: row of `test` of each star; snr (M,);
                        for k = 3 and 5 free labels: crlb_k (M,) variance bound of the target,
                        r2_max_k (M,) = clip(1 - crlb_k / prior variance, 0, 1), schur_k (M,);
                        optionally bayes_mean and bayes_var (first M' <= M stars): posterior of the target
    cells               where in the label plane the attainable is attained; see `specvit.jobs.cells`.
                        axes (2,) str: the labels of the plane, first one horizontal; first_edges (F + 1,),
                        second_edges (G + 1,), snr_edges (K + 1,); for each S/N slice and cell, (K, G, F):
                        stars int, ceiling R², and per model precision_MODEL (attainable RMSE / RMSE) and
                        efficiency_MODEL (R² / ceiling), each with its interval in *_low and *_high; NaN in
                        cells with fewer stars than least_stars (scalar int);
                        exact (scalar bool): relative to the Bayes ceiling, not to V·CRLB / (V + CRLB)
    examples            wavelength (L,) Å vacuum, flux (S, L) noisy, clean (S, L), sigma (S, L) true 1 σ,
                        all relative to the median; jacobian (S, L) = ∂clean/∂target per unit of the target;
                        label_names (P,) str, labels (S, P), snr (S,), mag (S,)
    explain             what a network looks at in E test spectra, see `specvit.jobs.explanation`:
                        model, target () str; snr (E,); wavelength (L,) Å vacuum; windows (W,) str: groups of
                        lines; window (L,) int: group of each pixel; ranges (R,) str: groups of stars, all
                        first; stars (R,) int; quantities (Q,) str: of fisher (information on the target
                        given all else), response (what the noise of a pixel adds to the variance of the
                        estimate), ig (size of the integrated gradients), attention (mean of blocks) and
                        rollout, the last two where the network has them; density (Q, R, L): mean share
                        per Å; share (Q, R, W, 3): mean share of each group of lines, its 95 % interval;
                        likeness (Q, R): correlation with fisher, smoothed; gap (): RMS of what ig misses
                        of the change of the estimate, over the RMS of that; optionally blocks (D, L):
                        attention in each block, per Å

`snr` is the one S/N definition: median over pixels of noise-free flux / true sigma.
`summary.json` is `Summary`. Numbers are computed by the job (with `specvit.evaluate`); the report draws them
and computes no score.
"""

from __future__ import annotations

from collections.abc import Sized
from typing import Any

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, model_validator

from specvit.errors import DataError

#: array file -> keys it must hold. Predictions are checked by the key "predictions".
REQUIRED_ARRAYS = {
    "test": ("label_names", "labels", "snr", "mag"),
    "predictions": ("names", "mean"),
    "ceiling": ("rows", "snr", "crlb_3", "r2_max_3", "schur_3", "crlb_5", "r2_max_5", "schur_5"),
    "cells": ("axes", "first_edges", "second_edges", "snr_edges", "stars", "ceiling", "exact", "least_stars"),
    "examples": (
        *("wavelength", "flux", "clean", "sigma", "jacobian"),
        *("label_names", "labels", "snr", "mag"),
    ),
    "explain": (
        *("model", "target", "snr", "wavelength", "windows", "window", "ranges", "stars"),
        *("quantities", "density", "share", "likeness", "gap"),
    ),
}


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Score(_Part):
    """One number with its bootstrap interval; None where it cannot be computed."""

    value: float | None
    low: float | None = None
    high: float | None = None


class Spread(_Part):
    """A quantity's distribution over stars."""

    median: float | None
    p10: float | None
    p90: float | None
    mean: float | None = None


class SnrBins(_Part):
    """Bins in S/N: B + 1 edges, and per bin the number of test spectra and their median S/N."""

    edges: list[float]
    counts: list[int]
    median: list[float | None]
    outside: int = Field(default=0, description="test spectra in no bin")


class ModelResults(_Part):
    """One estimator of the target.

    `overall` and `bins` go by metric:

    - r2, mae, rmse, bias (label unit);
    - residual_50, residual_68: the absolute error that 50 % and 68 % of the spectra stay below (label unit);
    - coverage_68, coverage_95: share of true values within the central 68 and 95 % of the stated errors, only
      for estimators that state errors;
    - efficiency: R² / ceiling R², and headroom: ceiling R² - R², on the spectra that have a ceiling, see
      `CeilingResults.definition`;
    - efficiency_expected: with the exact Bayes ceiling, what the efficiency is expected to be given the
      spectra: 1 - mean (estimate - posterior mean)² / (variance of the truth - mean posterior variance);
    - efficiency_crlb: where that is the Bayes ceiling, a bound, the same spectra against its approximation
      from the CRLB, 1 - mean of V·CRLB / (V + CRLB) / variance of the truth, which no estimator is bound by.
    """

    title: str
    overall: dict[str, Score]
    bins: dict[str, list[Score]]
    missing: int = Field(default=0, description="test spectra without an estimate, left out of all scores")
    above_ceiling: bool | None = Field(
        default=None,
        description="R² above the exact Bayes ceiling beyond its interval, as only leakage or a bug can be; "
        "None where that ceiling was not computed",
    )
    seconds: dict[str, float] = Field(default_factory=dict, description="wall time, e.g. fit, predict")
    cost: dict[str, float] = Field(
        default_factory=dict,
        description="parameters, train_spectra; for networks forward_flops per spectrum and train_flops",
    )
    facts: dict[str, Any] = Field(default_factory=dict, description="what the fit chose, e.g. alpha, rounds")


class CeilingResults(_Part):
    """The information ceiling of the target in the simulated world.

    `overall` and `bins` are spreads over stars of r2_max_3 and r2_max_5, sigma_min_3 and sigma_min_5 (square
    root of the CRLB, label unit) and, with the Bayes ceiling, posterior_std (label unit). `bayes` is the R²
    of the exact posterior mean, if it was computed.
    """

    stars: int
    definition: str = Field(description="one sentence: which ceiling the efficiencies are relative to")
    labels: dict[str, list[str]] = Field(description="'3' and '5' -> names of the free labels")
    overall: dict[str, Spread]
    bins: dict[str, list[Spread]]
    bayes: Score | None = None
    bayes_bins: list[Score] | None = None
    sampler_error: float | None = Field(
        default=None, description="standard error of `bayes` from the finite number of posterior samples"
    )
    converged: bool | None = Field(
        default=None,
        description="whether every posterior has enough effective samples and `sampler_error` is below 0.003; "
        "None without the Bayes ceiling, or if the run did not record it",
    )


class Summary(_Part):
    """`summary.json` of a main job."""

    schema_version: int = 1
    target: str = Field(description="the label the scores are about")
    unit: str = "dex"
    counts: dict[str, int] = Field(description="train, validation, test -> spectra")
    bootstrap: int = Field(description="resamples behind each interval")
    interval: float = Field(default=0.95, description="probability the intervals hold")
    seed: int
    prior_variance: float = Field(description="variance of the target under the prior, unit squared")
    snr_definition: str = "median over pixels of noise-free flux / true sigma"
    snr_bins: SnrBins
    models: dict[str, ModelResults]
    ceiling: CeilingResults | None = None

    @model_validator(mode="after")
    def _one_score_per_bin(self) -> Summary:
        count = len(self.snr_bins.edges) - 1
        columns: dict[str, Sized] = {
            "snr_bins.counts": self.snr_bins.counts,
            "snr_bins.median": self.snr_bins.median,
        }
        for name, model in self.models.items():
            columns |= {f"models.{name}.bins.{metric}": scores for metric, scores in model.bins.items()}
        if self.ceiling is not None:
            columns |= {f"ceiling.bins.{kind}": spreads for kind, spreads in self.ceiling.bins.items()}
            columns["ceiling.bayes_bins"] = self.ceiling.bayes_bins or [None] * count
        for name, column in columns.items():
            if len(column) != count:
                raise ValueError(
                    f"{name}: expected one entry for each of {count} S/N bins, got {len(column)}"
                )
        return self


def check_arrays(kind: str, arrays: dict[str, np.ndarray], where: str) -> None:
    """Raise DataError unless `arrays` holds the keys of `kind` ('test', 'predictions', ...)."""
    for key in REQUIRED_ARRAYS[kind]:
        if key not in arrays:
            raise DataError(f"{where}: no array '{key}'; it holds {', '.join(sorted(arrays)) or 'nothing'}")
