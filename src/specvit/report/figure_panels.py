"""Curves over wavelength, one panel below the other: the figure of a spectrograph."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from specvit.report.palette import INK, MODEL_COLOURS, MUTED
from specvit.report.style import house_style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

#: Inches.
WIDTH, HEIGHT = 7.0, 1.25
#: Less than a decade of values has too few ticks on a logarithmic axis.
DECADE = 10.0


#: A curve that varies by less than this share is drawn above zero.
FLAT = 1e-3


class Panel(NamedTuple):
    """One curve: what its axis is called, its values (L,), and whether the axis is logarithmic."""

    label: str
    values: np.ndarray
    logarithmic: bool = False


def panels_over_wavelength(
    title: str, wavelength: np.ndarray, segments: Sequence[slice], panels: Sequence[Panel]
) -> Figure:
    """Return a figure of curves over the same pixels.

    No line is drawn across a gap; values that are not finite, and on a logarithmic axis not positive, are left out.

    Args:
        title: of the figure.
        wavelength: shape (L,), Å.
        segments: pieces without a gap, in the order of the pixels.
        panels: from top to bottom.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import FuncFormatter, NullFormatter

    with house_style():
        figure = Figure(figsize=(WIDTH, 0.8 + HEIGHT * len(panels)), layout="constrained")
        axes = figure.subplots(len(panels), sharex=True, squeeze=False)[:, 0]
        for axis, panel in zip(axes, panels, strict=True):
            known = np.isfinite(panel.values) & ((panel.values > 0) | (not panel.logarithmic))
            values = np.where(known, panel.values, np.nan)
            for number, segment in enumerate(segments):
                colour = MODEL_COLOURS[number % 2]
                axis.plot(wavelength[segment], values[segment], color=colour, linewidth=0.8)
            if panel.logarithmic and known.any() and np.nanmax(values) > DECADE * np.nanmin(values):
                axis.set_yscale("log")
                # The house style shows a $ as it is, and so the powers that Matplotlib writes.
                axis.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
                axis.yaxis.set_minor_formatter(NullFormatter())
            elif known.any() and np.nanmax(values) - np.nanmin(values) < FLAT * abs(np.nanmax(values)):
                # A scale of its own would show the rounding of a constant.
                low, high = sorted((0.0, 1.2 * float(np.nanmax(values))))
                axis.set_ylim(low, high)
            axis.set_ylabel(panel.label, color=INK)
            axis.tick_params(colors=MUTED)
        figure.align_ylabels(axes)
        axes[0].set_title(title)
        axes[-1].set_xlabel("vacuum wavelength (Å)")
    return figure
