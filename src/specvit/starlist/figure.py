"""One picture per star: data, best template, continuum, what was left out, residuals, names of lines."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from specvit.runs.atomic import write_atomic
from specvit.runs.identity import content_digest
from specvit.spectra import SPEED_OF_LIGHT_KM_S
from specvit.spectra.lines import FEATURES
from specvit.stellar.parameters import FittedSpectrum, StellarParameters


def plain_name(star: StellarParameters) -> str:
    """Return the name of a star's picture or page, without ending: a digest keeps stars of one name apart."""
    plain = re.sub(r"[^A-Za-z0-9.+-]+", "_", star.name).strip("_.")[:60] or "star"
    return f"{plain}-{content_digest({'star': star.source})[:6]}"


def draw_star(star: StellarParameters, fitted: FittedSpectrum, path: Path) -> None:
    """Write the picture of a fit as PNG.

    Raises:
        RunError: if it cannot be written.
    """
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"font.size": 8}):
        figure = Figure(figsize=(11, 5.5), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        used = np.isfinite(fitted.sigma)
        level = np.where(fitted.continuum == 0, 1.0, fitted.continuum)
        above.plot(fitted.wavelength, _shown(fitted.flux, used), color="0.2", lw=0.7, label="spectrum")
        above.plot(fitted.wavelength, fitted.model, color="C1", lw=0.9, label="best template")
        below.plot(
            fitted.wavelength, _shown((fitted.flux - fitted.model) / np.abs(level), used), color="0.2", lw=0.6
        )
        below.axhline(0, color="C1", lw=0.8)
        for panel in (above, below):
            panel.fill_between(
                fitted.wavelength, 0, 1, where=~used, color="0.9", transform=panel.get_xaxis_transform(), lw=0
            )
        _name_lines(above, star.velocity, fitted.wavelength)
        top = float(np.nanpercentile(np.where(used, fitted.flux, np.nan), 99.5))
        above.set_ylim(0, 1.15 * top)
        below.set_ylim(-0.12, 0.12)
        below.set_xlabel("wavelength (Å, vacuum)")
        above.set_ylabel("flux / median")
        below.set_ylabel("residual")
        labels, errors = star.labels, star.errors
        words = ", ".join(
            f"{name} {value:.0f} ± {errors[name]:.0f}"
            if name == "teff"
            else f"{name} {value:.2f} ± {errors[name]:.2f}"
            for name, value in labels.items()
        )
        above.set_title(f"{star.name}: {words}, χ² {star.chi2:.2f}\n{' '.join(star.flags)}", loc="left")
        above.legend(loc="lower right", frameon=False)
        FigureCanvasAgg(figure)
        write_atomic(path, lambda stream: figure.savefig(stream, format="png"))


def _shown(values: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Return values with gaps where a pixel is left out."""
    return np.where(used, values, np.nan)


def _name_lines(panel: object, velocity: float, wavelength: np.ndarray) -> None:
    for feature in FEATURES:
        at = feature.wavelength * (1 + velocity / SPEED_OF_LIGHT_KM_S)
        if wavelength[0] < at < wavelength[-1]:
            panel.axvline(at, ymin=0.95, color="C0", lw=0.6)  # type: ignore[attr-defined]
            panel.text(  # type: ignore[attr-defined]
                at,
                0.94,
                feature.name,
                rotation=90,
                va="top",
                ha="center",
                fontsize=6,
                color="C0",
                transform=panel.get_xaxis_transform(),  # type: ignore[attr-defined]
            )
