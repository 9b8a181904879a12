"""The figure of one denoised spectrum: what was observed, what is made of it, and how certain that is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from specvit.report.palette import INK, MODEL_COLOURS, MUTED
from specvit.report.style import house_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Å on either side of the deepest line, and samples that are drawn there.
NEAR, DRAWN = 25.0, 8


def denoised_figure(
    name: str,
    wavelength: np.ndarray,
    flux: np.ndarray,
    sigma: np.ndarray,
    mean: np.ndarray,
    std: np.ndarray | None = None,
    clean: np.ndarray | None = None,
    samples: np.ndarray | None = None,
) -> Figure:
    """Return a spectrum as observed and denoised, and below what was taken out over its noise, and its deepest line.

    Args:
        name: of the star.
        wavelength: Å in vacuum, shape (L,).
        flux, sigma: as observed, (L,); sigma is `inf` on dead pixels.
        mean, std: what came out, (L,); errors or None.
        clean: noise-free flux, if it is known.
        samples: of the posterior, (D, L), or None; the first few are drawn about the deepest line.
    """
    from matplotlib.figure import Figure

    live = np.isfinite(sigma)
    with house_style():
        figure = Figure(figsize=(7.4, 4.0), layout="constrained")
        grid = figure.add_gridspec(2, 2, height_ratios=(1.6, 1), width_ratios=(1.6, 1))
        top = figure.add_subplot(grid[0, :])
        below, near = figure.add_subplot(grid[1, 0], sharex=top), figure.add_subplot(grid[1, 1])
        observed = np.where(live, flux, np.nan)
        top.plot(wavelength, observed, color=MUTED, linewidth=0.4, label="observed")
        if clean is not None:
            top.plot(wavelength, clean, color=INK, linewidth=0.8, label="without noise")
        top.plot(wavelength, mean, color=MODEL_COLOURS[0], linewidth=0.8, label="denoised")
        if std is not None:
            ends = mean - 2 * std, mean + 2 * std
            top.fill_between(wavelength, *ends, color=MODEL_COLOURS[0], alpha=0.3, linewidth=0)
        low, high = np.nanpercentile(observed, [0.5, 99.5])
        top.set_ylim(low, high)
        top.set_ylabel("flux")
        top.set_title(name, fontsize=8)
        top.legend(fontsize=7)
        taken = (observed - mean) / np.where(live, sigma, np.nan)
        below.plot(wavelength, taken, color=MUTED, linewidth=0.4)
        below.axhline(0, color=INK, linewidth=0.6)
        below.set_ylabel("taken out / σ")
        below.set_xlabel("wavelength, Å in vacuum")
        shown = np.abs(wavelength - wavelength[int(np.nanargmin(np.where(live, mean, np.nan)))]) < NEAR
        near.plot(wavelength[shown], observed[shown], ".", markersize=2, color=MUTED)
        for one in [] if samples is None else samples[:DRAWN]:
            near.plot(wavelength[shown], one[shown], color=MODEL_COLOURS[1], linewidth=0.4)
        if clean is not None:
            near.plot(wavelength[shown], clean[shown], color=INK, linewidth=0.8)
        near.plot(wavelength[shown], mean[shown], color=MODEL_COLOURS[0], linewidth=0.8)
        near.set_xlabel("Å" if samples is None else "Å, with samples of the posterior")
    return figure
