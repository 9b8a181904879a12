"""Names of known lines above panels that share a wavelength axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from specvit.report.palette import INK, MUTED
from specvit.report.placing import spread_apart
from specvit.spectra.lines import features_between

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Height of a row of text set on its side, inch: how close line names may stand.
NAME_WIDTH = 0.115


def mark_features(panels: Sequence[Axes], width_inches: float, height: float = 1.12) -> None:
    """Draw a hair line at every known feature and its name above the top panel, names kept apart.

    Args:
        panels: the axes, top first.
        width_inches: of the figure.
        height: where the names begin, in heights of the top panel.
    """
    start, stop = panels[0].get_xlim()
    features = features_between(start, stop)
    size = NAME_WIDTH * (stop - start) / (0.9 * width_inches)
    places = spread_apart([f.wavelength for f in features], [size] * len(features), start, stop)
    for axes in panels:
        for feature in features:
            axes.axvline(feature.wavelength, color=INK, alpha=0.16, linewidth=0.5, zorder=0.5)
    for feature, place in zip(features, places, strict=True):
        panels[0].annotate(
            feature.name,
            (feature.wavelength, 1.0),
            xytext=(place, height),
            xycoords=("data", "axes fraction"),
            textcoords=("data", "axes fraction"),
            rotation=90,
            ha="center",
            va="bottom",
            fontsize=7,
            color=INK if feature.kind == "atom" else MUTED,
            arrowprops={
                "arrowstyle": "-",
                "color": INK,
                "alpha": 0.35,
                "linewidth": 0.5,
                "shrinkA": 0,
                "shrinkB": 0,
            },
            annotation_clip=False,
        )
