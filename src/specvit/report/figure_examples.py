"""Example spectra with their noise, and where in them the target's information lies."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from specvit.errors import DataError
from specvit.report.contents import RunContents
from specvit.report.features import mark_features
from specvit.report.gaps import broken_at_gaps
from specvit.report.palette import MUTED
from specvit.report.style import house_style
from specvit.report.words import label_name, number
from specvit.runs import Examples

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Spectra drawn, at most.
MOST_EXAMPLES = 4
OBSERVED = "#b6bdc6"
CLEAN = "#0b4f8a"
RISES, FALLS = "#d1495b", "#00798c"


def draw_examples(run: RunContents) -> Figure:
    """Return noisy and noise-free example spectra, each over the derivative with respect to the target.

    Raises:
        DataError: if the run holds no examples.
    """
    from matplotlib.figure import Figure

    if run.examples is None:
        raise DataError(f"{run.name}: no arrays/examples.npz, so there are no example spectra to draw")
    shown = min(MOST_EXAMPLES, len(run.examples.flux))
    with house_style():
        figure = Figure(figsize=(7.4, 2.3 * shown + 1.0))
        panels = _panels(figure, shown)
        for i in range(shown):
            _draw_spectrum(panels[2 * i], run.examples, i)
            _draw_jacobian(panels[2 * i + 1], run.examples, i, label_name(run.target))
        wavelength = run.examples.wavelength
        panels[0].set_xlim(wavelength.min(), wavelength.max())
        mark_features(panels, figure.get_figwidth())
        for axes in panels[:-1]:
            axes.tick_params(axis="x", length=0, labelbottom=False)
        panels[-1].set_xlabel("wavelength in vacuum [Å]")
        figure.align_ylabels(panels)
    return figure


def _panels(figure: Figure, shown: int) -> list[Axes]:
    """Return spectrum, derivative, spectrum, derivative, ...: each pair close together, one x axis."""
    pairs = figure.add_gridspec(shown, 1, hspace=0.14, left=0.1, right=0.99, bottom=0.07, top=0.9)
    panels: list[Axes] = []
    for row in range(shown):
        pair = pairs[row].subgridspec(2, 1, height_ratios=(2.3, 1), hspace=0.04)
        for i in range(2):
            panels.append(figure.add_subplot(pair[i], sharex=panels[0] if panels else None))
    return panels


def _draw_spectrum(axes: Axes, examples: Examples, i: int) -> None:
    from matplotlib.ticker import MaxNLocator

    wavelength, clean, sigma = examples.wavelength, examples.clean[i], examples.sigma[i]
    seen = np.where(np.isfinite(sigma), examples.flux[i], np.nan)
    at, seen, expected = broken_at_gaps(wavelength, seen, clean)
    axes.plot(at, seen, color=OBSERVED, linewidth=0.35, rasterized=True)
    axes.plot(at, expected, color=CLEAN, linewidth=0.7, rasterized=True)
    # Limits follow the noise between sky lines; pixels under a sky line may leave the panel.
    noise = float(np.median(sigma))
    axes.set_ylim(min(0.0, float(clean.min()) - 2.5 * noise), float(clean.max()) + 3.0 * noise)
    # Without its lowest tick, which would meet the highest of the panel below.
    axes.yaxis.set_major_locator(MaxNLocator(4, prune="lower"))
    axes.set_ylabel("relative flux")
    axes.spines["bottom"].set_visible(False)
    paper = {"facecolor": "white", "edgecolor": "none", "alpha": 0.85, "pad": 1.5}
    text = axes.text(0.006, 0.04, _describe(examples, i), transform=axes.transAxes, va="bottom", fontsize=8.5)
    text.set_bbox(paper)


def _draw_jacobian(axes: Axes, examples: Examples, i: int, target: str) -> None:
    from matplotlib.ticker import MaxNLocator

    jacobian = examples.jacobian[i]
    wavelength, drawn = broken_at_gaps(examples.wavelength, jacobian)
    for part, colour in ((drawn.clip(min=0), RISES), (drawn.clip(max=0), FALLS)):
        axes.fill_between(wavelength, part, color=colour, linewidth=0, rasterized=True)
    reach = 1.15 * float(np.quantile(np.abs(jacobian), 0.9995))
    axes.set_ylim(-reach, reach)
    axes.yaxis.set_major_locator(MaxNLocator(3, symmetric=True))
    axes.axhline(0, color=MUTED, linewidth=0.5)
    axes.set_ylabel(f"∂flux/∂{target}", fontsize=7.5)
    axes.tick_params(axis="y", labelsize=7)


def _describe(examples: Examples, i: int) -> str:
    values = dict(zip((str(n) for n in examples.label_names), examples.labels[i], strict=True))
    parts = [
        f"Teff {number(float(value), 0)} K"
        if name == "teff"
        else f"{label_name(name)} {number(float(value), 2)}"
        for name, value in values.items()
    ]
    band = "magnitude" if examples.band is None else str(examples.band)
    return f"S/N {examples.snr[i]:.1f}   {band} = {examples.mag[i]:.1f}   " + "   ".join(parts)
