"""Where in the plane of two labels, and at which S/N, a model attains what is attainable."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from specvit.errors import DataError
from specvit.report.contents import RunContents
from specvit.report.palette import DASHES, INK, MUTED
from specvit.report.style import house_style
from specvit.report.words import count, label_name, number, rank
from specvit.runs import CellScores

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLANK = "#f1f3f5"


def efficiency_map(run: RunContents) -> Figure:
    """Return attainable RMSE / RMSE in cells of labels and S/N: the best model above, the template fit below.

    Large in each cell: the ratio; small: stars. Cells with too few stars are blank.

    Raises:
        DataError: if the run holds no cells.
    """
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    if run.cells is None:
        raise DataError(f"{run.name}: no arrays/cells.npz, so there is no efficiency map to draw")
    models, slices = mapped_models(run), len(run.cells.snr_edges) - 1
    colours, norm = colormaps["cividis"], Normalize(0, 1, clip=True)
    with house_style():
        figure = Figure(figsize=(7.4, 0.6 + 2.4 * len(models)), layout="constrained")
        panels = figure.subplots(len(models), slices, squeeze=False, sharex=True, sharey=True)
        for row, model in zip(panels, models, strict=True):
            for k, axes in enumerate(row):
                _draw_cells(axes, run.cells, run.cells.of("precision", model)[k, ..., 0], k, norm, colours)
            row[0].set_ylabel(f"{run.title(model)}\n{_axis_name(run, 1)}")
        edges = run.cells.snr_edges
        for k, axes in enumerate(panels[0]):
            axes.set_title(f"S/N {number(edges[k], 1)} – {number(edges[k + 1], 1)}")
        figure.supxlabel(_axis_name(run, 0), fontsize=9.5)
        bar = figure.colorbar(ScalarMappable(norm, colours), ax=panels.ravel().tolist(), aspect=30, pad=0.02)
        bar.outline.set_visible(False)
        bar.ax.set_title(
            "attainable\nRMSE / RMSE", fontsize=8.5, fontweight="normal", loc="left", color=MUTED
        )
    return figure


def mapped_models(run: RunContents) -> list[str]:
    """Return the models of the map: the best of those that learned from spectra, and the template fit."""
    family = {name: run.summary.estimators[name].family for name in run.names}
    learned = [name for name in run.names if family[name] not in DASHES] or run.names
    best = max(learned, key=lambda name: rank(run.summary.score(name, "r2")))
    fits = [name for name in run.names if family[name] == "template" and name != best]
    return [best, *fits[:1]]


def _draw_cells(
    axes: Axes, cells: CellScores, precision: np.ndarray, k: int, norm: Any, colours: Any
) -> None:
    first, second = cells.first_edges, cells.second_edges
    known = np.ma.masked_invalid(precision)
    axes.set_facecolor(BLANK)
    axes.pcolormesh(first, second, known, cmap=colours, norm=norm, edgecolors="white", linewidth=1.5)
    for j in range(len(second) - 1):
        for i in range(len(first) - 1):
            at = ((first[i] + first[i + 1]) / 2, (second[j] + second[j + 1]) / 2)
            _write_cell(axes, at, float(precision[j, i]), int(cells.stars[k, j, i]), norm, colours)
    axes.set_xticks(first, [number(edge, 0 if first[-1] > 100 else 2) for edge in first], rotation=90)
    axes.set_yticks(second, [number(edge, 0 if second[-1] > 100 else 2) for edge in second])
    axes.tick_params(length=0, labelsize=7)
    axes.spines[:].set_visible(False)


def _write_cell(
    axes: Axes, at: tuple[float, float], precision: float, stars: int, norm: Any, colours: Any
) -> None:
    centred: dict[str, Any] = {"textcoords": "offset points", "ha": "center", "va": "center"}
    if not np.isfinite(precision):
        axes.annotate(count(stars), at, xytext=(0, 0), color=MUTED, fontsize=5.5, **centred)
        return
    red, green, blue, _ = colours(norm(precision))
    # Luma (ITU-R BT.601): dark cells get white figures.
    ink = "white" if 0.299 * red + 0.587 * green + 0.114 * blue < 0.5 else INK
    axes.annotate(number(precision, 2), at, xytext=(0, 3.2), color=ink, fontsize=7.5, **centred)
    axes.annotate(count(stars), at, xytext=(0, -5), color=ink, fontsize=5.5, **centred)


def _axis_name(run: RunContents, which: int) -> str:
    assert run.cells is not None
    name = str(run.cells.axes[which])
    return f"{label_name(name)} [K]" if name == "teff" else label_name(name)
