"""The S/N axis that figures share: logarithmic, with round ticks, over the test spectra."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from specvit.report.contents import RunContents

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Round numbers for a logarithmic axis.
TICKS = (
    *(0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 3, 4, 5, 7),
    *(10, 15, 20, 30, 50, 70, 100, 150, 200, 300, 500, 1000),
)


def dress_snr_axis(axes: Axes, run: RunContents, name: bool = True) -> None:
    """Give `axes` the S/N of the test spectra as its x axis, named if `name`."""
    # The few brightest and faintest stars would squeeze all others together.
    low, high = np.quantile(run.test.snr, (0.002, 0.99))
    if not low < high:  # spectra of one S/N
        low, high = 0.9 * low, 1.1 * high
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    set_log_ticks(axes, low, high)
    if name:
        axes.set_xlabel("signal-to-noise ratio per pixel (median over pixels)")


def set_log_ticks(axes: Axes, low: float, high: float) -> None:
    """Put round numbers on the logarithmic x axis from `low` to `high`."""
    from matplotlib.ticker import FixedLocator, NullLocator

    ticks = [t for t in TICKS if low <= t <= high]
    axes.xaxis.set_major_locator(FixedLocator(ticks))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(ticks, [f"{t:g}" for t in ticks])
