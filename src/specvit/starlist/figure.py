"""What is drawn of one star: its spectrum with the best template, and the corner of its posterior."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from specvit.report.palette import INK, MODEL_COLOURS, MUTED
from specvit.report.style import house_style
from specvit.report.words import label_name
from specvit.runs.identity import content_digest
from specvit.spectra import SPEED_OF_LIGHT_KM_S
from specvit.spectra.lines import FEATURES
from specvit.stellar import FittedSpectrum, StellarParameters

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Of what is left out: masks in the order they are given, then what the file itself leaves out.
SHADES = ("#cfe3f1", "#f6dcc4", "#d3ead9", "#ecd9e6")
FILE_SHADE = "#e3e6ea"
#: Radii of the ellipses that hold 68.27 and 95.45 % of a normal distribution in two dimensions.
RADII = (1.515, 2.486)
#: Axes of a corner reach this many σ.
REACH = 3.5


def plain_name(star: StellarParameters) -> str:
    """Return the name of a star's picture or page, without ending: a digest keeps stars of one name apart."""
    plain = re.sub(r"[^A-Za-z0-9.+-]+", "_", star.name).strip("_.")[:60] or "star"
    return f"{plain}-{content_digest({'star': star.source})[:6]}"


def spectrum_figure(
    star: StellarParameters, fitted: FittedSpectrum, masks: Mapping[str, np.ndarray], title: bool = True
) -> Figure:
    """Return data and best template, residuals below, what is left out shaded, lines named.

    Args:
        star: what was found.
        fitted: L pixels.
        masks: name -> pixels that it leaves out, shape (L,), bool.
        title: whether the answer stands above.
    """
    from matplotlib.figure import Figure

    with house_style():
        figure = Figure(figsize=(11, 5.2), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
        used = np.isfinite(fitted.sigma)
        level = np.maximum(np.abs(fitted.model), 0.1)
        above.plot(
            fitted.wavelength, np.where(used, fitted.flux, np.nan), color=INK, lw=0.7, label="spectrum"
        )
        above.plot(fitted.wavelength, fitted.model, color=MODEL_COLOURS[1], lw=0.9, label="best template")
        residual = np.where(used, (fitted.flux - fitted.model) / level, np.nan)
        below.plot(fitted.wavelength, residual, color=INK, lw=0.6)
        below.axhline(0, color=MODEL_COLOURS[1], lw=0.8)
        for axes in (above, below):
            _shade(axes, fitted.wavelength, ~used, masks)
        name_lines(above, star.velocity, fitted.wavelength[0], fitted.wavelength[-1])
        low, high = np.nanpercentile(np.where(used, fitted.flux, np.nan), [0.5, 99.5])
        # Names of lines stand above, lines that go deep below.
        above.set_ylim(float(np.fmin(low, fitted.model.min())) - 0.05 * high, 1.15 * high)
        below.set_ylim(-0.12, 0.12)
        below.set_xlabel("wavelength (Å, vacuum)")
        above.set_ylabel("flux / median")
        below.set_ylabel("residual / flux")
        if title:
            above.set_title(f"{star.name}: {answer_words(star)}\n{' '.join(star.flags)}")
        figure.legend(loc="outside lower center", ncols=6)
    return figure


def answer_words(star: StellarParameters) -> str:
    """Return the labels with their total errors in words."""
    total = star.total_errors
    words = [
        f"{label_name(name)} {value:.{digits_of(name)}f} ± {total[name]:.{digits_of(name)}f}"
        for name, value in star.labels.items()
    ]
    return ", ".join([*words, f"χ²/dof {star.chi2:.2f}"])


def digits_of(label: str) -> int:
    """Return how many decimals of a label are shown."""
    return 0 if label == "teff" else 2


def corner_figure(star: StellarParameters) -> Figure:
    """Return the posterior of the labels as normal ellipses of 68 and 95 % about the best minimum, others as crosses."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Ellipse

    names = list(star.labels)
    best = np.array(list(star.labels.values()))
    sigma = np.sqrt(np.diag(star.covariance))
    others = [minimum for minimum in star.minima[1:] if minimum.excess < RADII[1] ** 2]
    with house_style():
        count = len(names)
        figure = Figure(figsize=(1.7 * count, 1.6 * count), layout="constrained")
        grid = figure.subplots(count, count, squeeze=False, sharex="col")
        for row in range(count):
            for column in range(count):
                axes = grid[row, column]
                if column > row:
                    axes.set_visible(False)
                    continue
                low, high = best[column] - REACH * sigma[column], best[column] + REACH * sigma[column]
                if row == column:
                    at = np.linspace(low, high, 120)
                    axes.plot(at, np.exp(-0.5 * ((at - best[row]) / sigma[row]) ** 2), color=MODEL_COLOURS[0])
                    axes.set_ylim(0, 1.15)
                    axes.set_yticks([])
                else:
                    pair = star.covariance[np.ix_([column, row], [column, row])]
                    values, vectors = np.linalg.eigh(
                        pair / np.outer(sigma[[column, row]], sigma[[column, row]])
                    )
                    _ellipses(axes, best[[column, row]], sigma[[column, row]], values, vectors, Ellipse)
                    for minimum in others:
                        axes.plot(
                            minimum.values[names[column]],
                            minimum.values[names[row]],
                            "x",
                            color=MODEL_COLOURS[1],
                        )
                    axes.set_ylim(best[row] - REACH * sigma[row], best[row] + REACH * sigma[row])
                axes.set_xlim(low, high)
                axes.locator_params(nbins=3)
                if row == count - 1:
                    axes.set_xlabel(label_name(names[column]))
                if column == 0 and row > 0:
                    axes.set_ylabel(label_name(names[row]))
                elif column > 0:
                    axes.set_yticklabels([])
    return figure


def _ellipses(
    axes: Axes, centre: np.ndarray, sigma: np.ndarray, values: np.ndarray, vectors: np.ndarray, ellipse: type
) -> None:
    from matplotlib.transforms import Affine2D

    angle = float(np.degrees(np.arctan2(vectors[1, 1], vectors[0, 1])))
    for radius in RADII:
        size = 2 * radius * np.sqrt(values.clip(0))
        patch = ellipse((0, 0), size[1], size[0], angle=angle, fill=False, color=MODEL_COLOURS[0], lw=1.2)
        # In units of σ first: the axes have other units than each other.
        patch.set_transform(Affine2D().scale(*sigma).translate(*centre) + axes.transData)
        axes.add_patch(patch)
    axes.plot(*centre, ".", color=MODEL_COLOURS[0])


def name_lines(axes: Axes, velocity: float, low: float, high: float) -> None:
    """Write the names of strong lines between `low` and `high` (Å) at the top, shifted by `velocity` (km/s)."""
    last = -np.inf
    for feature in FEATURES:
        at = feature.wavelength * (1 + velocity / SPEED_OF_LIGHT_KM_S)
        if not low < at < high:
            continue
        axes.axvline(at, ymin=0.95, color=MODEL_COLOURS[0], lw=0.6)
        # Names that would lie upon each other are left out, their lines stay.
        if at - last < (high - low) / 110:
            continue
        last = at
        where = axes.get_xaxis_transform()
        axes.text(
            at,
            0.94,
            feature.name,
            rotation=90,
            va="top",
            ha="center",
            fontsize=6,
            color=MUTED,
            transform=where,
        )


def _shade(axes: Axes, wavelength: np.ndarray, left_out: np.ndarray, masks: Mapping[str, np.ndarray]) -> None:
    rest = left_out.copy()
    for (name, mask), colour in zip(masks.items(), SHADES, strict=False):
        _fill(axes, wavelength, mask, colour, name)
        rest &= ~mask
    _fill(axes, wavelength, rest, FILE_SHADE, "left out by the file, or clipped")


def _fill(axes: Axes, wavelength: np.ndarray, where: np.ndarray, colour: str, name: str) -> None:
    if where.any():
        axes.fill_between(
            wavelength,
            0,
            1,
            where=where,
            color=colour,
            transform=axes.get_xaxis_transform(),
            lw=0.4,
            # Of both panels one tells the legend.
            label=name if axes.get_subplotspec().is_first_row() else None,  # type: ignore[union-attr]
        )
