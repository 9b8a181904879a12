"""What a trained network looks at, over wavelength, beside where the information lies; and shares of lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from specvit.errors import DataError
from specvit.report.contents import RunContents
from specvit.report.features import mark_features
from specvit.report.gaps import broken_at_gaps
from specvit.report.palette import INK, MODEL_COLOURS, MUTED
from specvit.report.style import house_style
from specvit.report.words import label_name
from specvit.runs import Explanation

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Quantity of `Explanation` -> colour, marker and name.
LOOKS = {
    "fisher": (INK, "o", "Fisher information"),
    "response": (MODEL_COLOURS[1], "s", "response to noise"),
    "ig": (MODEL_COLOURS[5], "D", "|integrated gradients|"),
    "rollout": (MODEL_COLOURS[0], "^", "attention rollout"),
    "attention": (MODEL_COLOURS[4], "v", "attention"),
}
PIXELS = "#dfe3e8"
#: Densities are drawn in units of this, 1/Å.
UNIT = 1e-3
#: Heights of a panel over wavelength, of the shares and of what is between, inch.
PANEL, SHARES, BETWEEN = 1.35, 1.9, 0.85
TICKS = (1, 5, 10, 20, 40, 80)


def network_explained(run: RunContents) -> Figure:
    """Return Fisher information, integrated gradients and attention over wavelength, with shares of lines.

    Raises:
        DataError: if the run holds none.
    """
    if run.explain is None:
        raise DataError(f"{run.name}: no arrays/explain.npz; train a network in the run to have one")
    return draw_explanation(run.explain)


def draw_explanation(found: Explanation) -> Figure:
    """Return the figure of one network."""
    from matplotlib.figure import Figure

    attention = "rollout" in found.quantities
    rows = 3 if attention else 2
    with house_style():
        figure = Figure(figsize=(7.4, PANEL * rows + SHARES + 1.4))
        heights = (PANEL * rows, SHARES)
        gap = BETWEEN / np.mean(heights)
        outer = figure.add_gridspec(
            2, 1, height_ratios=heights, hspace=gap, left=0.09, right=0.99, bottom=0.08, top=0.89
        )
        inner = outer[0].subgridspec(rows, 1, hspace=0.09)
        panels: list[Axes] = []
        for row in range(rows):
            panels.append(figure.add_subplot(inner[row], sharex=panels[0] if panels else None))
        _draw_information(panels[0], found)
        _draw_contributions(panels[1], found)
        if attention:
            _draw_attention(panels[2], found)
        panels[0].set_xlim(found.wavelength[0], found.wavelength[-1])
        mark_features(panels, figure.get_figwidth(), height=1.16)
        for axes in panels[:-1]:
            axes.tick_params(axis="x", length=0, labelbottom=False)
        panels[-1].set_xlabel("wavelength in vacuum [Å]")
        shares = figure.add_subplot(outer[1])
        _draw_shares(shares, found)
        figure.align_ylabels([*panels, shares])
    return figure


def _draw_information(axes: Axes, found: Explanation) -> None:
    _fill(axes, found, "fisher")
    _finish(axes, [_density(found, "fisher")], TICKS)
    _name(axes, [(f"Fisher information on {label_name(str(found.target))}", LOOKS["fisher"][0])])


def _draw_contributions(axes: Axes, found: Explanation) -> None:
    colour, _, size = LOOKS["ig"]
    curve = broken_at_gaps(found.wavelength, _density(found, "ig"))
    axes.plot(*curve, color=colour, linewidth=0.6, rasterized=True)
    _fill(axes, found, "response")
    _finish(axes, [_density(found, name) for name in ("ig", "response")], TICKS)
    response = LOOKS["response"]
    _name(axes, [(f"{found.model}: {response[2]}", response[0]), (size, colour)])


def _draw_attention(axes: Axes, found: Explanation) -> None:
    wavelength, shown = found.wavelength, ("rollout", "attention")
    for quantity in shown:
        curve = broken_at_gaps(wavelength, _density(found, quantity))
        axes.plot(*curve, color=LOOKS[quantity][0], linewidth=1.1)
    even = 1 / (wavelength.max() - wavelength.min()) / UNIT
    axes.axhline(even, color=MUTED, linewidth=0.7, linestyle=(0, (4, 2)))
    densities = [_density(found, quantity) for quantity in shown]
    # Room for the names: attention has no gaps to write into.
    _finish(axes, [1.25 * max(densities, key=np.max)])
    rollout, attention = (LOOKS[name] for name in shown)
    _name(axes, [(f"{found.model}: {rollout[2]}", rollout[0]), (attention[2], attention[0])])


def _fill(axes: Axes, found: Explanation, quantity: str) -> None:
    at, density = broken_at_gaps(found.wavelength, _density(found, quantity))
    look: dict[str, Any] = {"color": LOOKS[quantity][0], "linewidth": 0, "zorder": 2.5}
    axes.fill_between(at, density, rasterized=True, **look)


def _finish(axes: Axes, densities: Sequence[np.ndarray], ticks: tuple[int, ...] = ()) -> None:
    from matplotlib.ticker import MaxNLocator

    if ticks:
        _root_scale(axes, ticks)
    axes.set_ylim(0, 1.05 * max(float(density.max()) for density in densities))
    if not ticks:
        axes.yaxis.set_major_locator(MaxNLocator(4, prune="upper"))
    axes.set_ylabel("share per Å [10⁻³]", fontsize=8)


def _root_scale(axes: Axes, ticks: tuple[int, ...]) -> None:
    """Let heights go as the square root: weak lines beside strong ones, and zero at the bottom."""
    axes.set_yscale("function", functions=(lambda y: np.sqrt(np.clip(y, 0, None)), np.square))
    axes.set_yticks((0, *ticks))


def _name(axes: Axes, names: Sequence[tuple[str, str]]) -> None:
    """Write what the curves are, each in its colour, from the left."""
    place = 0.045
    for text, colour in names:
        axes.text(place, 0.95, text, transform=axes.transAxes, va="top", fontsize=8.5, color=colour)
        place += 0.0092 * len(text) + 0.02


def _draw_shares(axes: Axes, found: Explanation) -> None:
    """Draw what each group of lines holds of each quantity: points with intervals over bars of pixels."""
    windows = [str(name) for name in found.windows]
    place = np.arange(len(windows))
    pixels = [100 * float(np.mean(found.window == at)) for at in place]
    axes.bar(place, pixels, width=0.82, color=PIXELS, label="pixels")
    shown = [name for name in LOOKS if name in found.quantities]
    for at, quantity in enumerate(shown):
        value, low, high = 100 * found.share[_at(found, quantity), 0].T
        colour, marker, name = LOOKS[quantity]
        offset = 0.13 * (at - 0.5 * (len(shown) - 1))
        points: dict[str, Any] = {"color": colour, "linestyle": "none", "marker": marker, "markersize": 4}
        axes.errorbar(
            place + offset, value, (value - low, high - value), label=name, elinewidth=0.9, **points
        )
    _root_scale(axes, (1, 5, 10, 20, 40, 60, 80))
    axes.set_ylim(0, 1.1 * max(*pixels, 100 * float(np.nanmax(found.share[:, 0]))))
    axes.set_xticks(place, windows)
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel("share [%]", fontsize=8)
    legend: dict[str, Any] = {
        "fontsize": 7.5,
        "handletextpad": 0.2,
        "columnspacing": 1.2,
        "borderaxespad": 0.0,
    }
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1.02), ncols=len(shown) + 1, **legend)


def _density(found: Explanation, quantity: str) -> np.ndarray:
    """Return the mean density of all stars, shape (L,), in `UNIT`."""
    density: np.ndarray = found.density[_at(found, quantity), 0] / UNIT
    return density


def _at(found: Explanation, quantity: str) -> int:
    return [str(name) for name in found.quantities].index(quantity)
