"""The figures of a probe: what is known by layer and pooling, how alike layers are, what survives."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from specvit.report.palette import CEILING_BAND, INK, MARKERS, MODEL_COLOURS, MUTED
from specvit.report.probe_tables import LABEL, NONE
from specvit.report.style import house_style
from specvit.report.words import label_name, number
from specvit.runs.probe_record import ProbeRecord

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Above this share of its scale a cell is light, and its number dark.
LIGHT = 0.6
VECTOR, LEVEL = "vector", "level"


def probe_map(record: ProbeRecord, label: str) -> Figure:
    """Return layer by pooling for every network, coloured by R², with baselines beside; of the best readout each."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize
    from matplotlib.figure import Figure

    names = list(record.networks)
    top = record.ceiling[label].value if label in record.ceiling else 1.0
    norm = Normalize(0, top or 1.0)
    grids = {name: _grid(record, name, label) for name in names}
    sizes = [max(len(grid[1]), 1) for grid in grids.values()]
    with house_style():
        rows = max(len(grid[0]) for grid in grids.values())
        figure = Figure(figsize=(3.6 + 1.0 * sum(sizes), 1.4 + 0.34 * max(rows, 9)), layout="constrained")
        panels = figure.subplots(1, len(names) + 1, width_ratios=[*sizes, 2.2], squeeze=False)[0]
        for axes, name in zip(panels, names, strict=False):
            _draw_grid(axes, name, grids[name], norm)
        _draw_baselines(panels[-1], record, label)
        bar = figure.colorbar(ScalarMappable(norm, "cividis"), ax=list(panels[:-1]), shrink=0.8)
        bar.set_label(f"R² of {label_name(label)}, up to the ceiling")
    return figure


def likeness_map(record: ProbeRecord) -> Figure:
    """Return the CKA of every pair of layers."""
    from matplotlib.figure import Figure

    found = record.likeness
    assert found is not None
    values = np.array([[np.nan if v is None else v for v in row] for row in found.values])
    with house_style():
        side = 2.4 + 0.3 * len(found.places)
        figure = Figure(figsize=(side + 0.8, side), layout="constrained")
        axes = figure.subplots()
        shown = axes.imshow(np.ma.masked_invalid(values), cmap="cividis", vmin=0, vmax=1)
        places = range(len(found.places))
        axes.set_xticks(places, found.places, rotation=90, fontsize=6)
        axes.set_yticks(places, found.places, fontsize=6)
        figure.colorbar(shown, ax=axes, shrink=0.8).set_label("linear CKA")
    return figure


def information_by_layer(record: ProbeRecord, label: str) -> Figure:
    """Return what survives of the information on a label along the layers, one line per network and pooling."""
    from matplotlib.figure import Figure

    with house_style():
        figure = Figure(figsize=(7.4, 3.0), layout="constrained")
        panels = figure.subplots(1, len(record.networks), sharey=True, squeeze=False)[0]
        for axes, name in zip(panels, record.networks, strict=True):
            mine = [one for one in record.information if one.source == name]
            # The noise level does not see the flux: it keeps nothing, by definition.
            layers = [one for one in dict.fromkeys(one.layer for one in mine) if one != LEVEL]
            poolings = [p for p in dict.fromkeys(one.pooling for one in mine) if p != VECTOR] or [VECTOR]
            axes.axhline(1, color=MUTED, linewidth=0.8)
            for at, pooling in enumerate(poolings):
                line = {one.layer: one for one in mine if one.pooling in (pooling, VECTOR)}
                scores = [line[layer].survives[label] if layer in line else None for layer in layers]
                heights = [
                    np.nan if score is None or score.value is None else score.value for score in scores
                ]
                look = {"color": MODEL_COLOURS[at % len(MODEL_COLOURS)], "marker": MARKERS[at % len(MARKERS)]}
                axes.plot(range(len(layers)), heights, label=pooling, markersize=4, **look)
            axes.set_xticks(range(len(layers)), layers, rotation=60, fontsize=7)
            axes.set_title(name, fontsize=9)
            axes.legend(fontsize=7)
        panels[0].set_ylabel(f"information on {label_name(label)}\nthat survives", fontsize=8)
    return figure


def _grid(record: ProbeRecord, name: str, label: str) -> tuple[list[str], list[str], np.ndarray]:
    """Return layers, poolings and the R² of the best readout, (layers, poolings), NaN where there is none."""
    rows = [r for r in record.of(source=name, target=LABEL, control=NONE, label=label) if r.layer]
    layers = list(dict.fromkeys(row.layer for row in rows))
    poolings = [p for p in dict.fromkeys(row.pooling for row in rows) if p != VECTOR] or [VECTOR]
    values = np.full((len(layers), len(poolings)), np.nan)
    for row in rows:
        # A vector is what it is, however its neighbours are pooled.
        columns = range(len(poolings)) if row.pooling == VECTOR else [poolings.index(row.pooling)]
        for column in columns:
            at = (layers.index(row.layer), column)
            values[at] = np.fmax(values[at], np.nan if row.r2.value is None else row.r2.value)
    return layers, poolings, values


def _draw_grid(axes: Axes, name: str, grid: tuple[list[str], list[str], np.ndarray], norm: object) -> None:
    layers, poolings, values = grid
    axes.imshow(np.ma.masked_invalid(values), cmap="cividis", norm=norm, aspect="auto")  # type: ignore[arg-type]
    for (i, j), value in np.ndenumerate(values):
        if np.isfinite(value):
            light = value > LIGHT * norm.vmax  # type: ignore[attr-defined]
            ink = INK if light else "white"
            axes.annotate(number(float(value), 2), (j, i), color=ink, fontsize=7, ha="center", va="center")
    axes.set_xticks(range(len(poolings)), poolings, rotation=45, fontsize=7)
    axes.set_yticks(range(len(layers)), layers, fontsize=7)
    axes.set_title(name, fontsize=9)


def _draw_baselines(axes: Axes, record: ProbeRecord, label: str) -> None:
    names = set(record.networks)
    best: dict[str, tuple[float, float, float]] = {}
    for row in record.of(target=LABEL, control=NONE, label=label):
        score = row.r2
        if (row.layer and row.source in names) or score.value is None:
            continue
        name = f"{row.source} itself" if row.source in names else row.source
        if name not in best or score.value > best[name][0]:
            low, high = (score.value if end is None else end for end in (score.low, score.high))
            best[name] = (score.value, low, high)
    for at, (value, low, high) in enumerate(best.values()):
        axes.errorbar(
            value, at, xerr=[[value - low], [high - value]], fmt="o", color=MODEL_COLOURS[0], markersize=4
        )
    ceiling = record.ceiling.get(label)
    if ceiling is not None and ceiling.value is not None:
        if ceiling.low is not None and ceiling.high is not None:
            axes.axvspan(ceiling.low, ceiling.high, color=CEILING_BAND, linewidth=0)
        axes.axvline(ceiling.value, color=INK, linewidth=0.9)
    axes.set_yticks(range(len(best)), list(best), fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel(f"R² of {label_name(label)}", fontsize=8)
