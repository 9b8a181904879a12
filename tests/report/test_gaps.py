"""Figures of spectrographs with gaps: nothing is drawn where there is no pixel."""

import numpy as np
import pytest
from matplotlib.axes import Axes

from specvit.report.figure_panels import Panel, panels_over_wavelength
from specvit.report.gaps import broken_at_gaps
from specvit.spectra import WavelengthGrid

GAP = np.concatenate([np.arange(7000.0, 7050.0), np.arange(7100.0, 7150.0)])
ARMS = np.concatenate([np.arange(7000.0, 7050.0), np.arange(7020.0, 7070.0)])


@pytest.mark.parametrize("wavelength", [GAP, ARMS])
def test_a_curve_is_broken_between_segments(wavelength):
    at, values = broken_at_gaps(wavelength, np.arange(100.0))
    assert np.isnan(at[50])
    assert np.isnan(values[50])
    np.testing.assert_array_equal(np.delete(at, 50), wavelength)
    np.testing.assert_array_equal(np.delete(values, 50), np.arange(100.0))


def test_without_gaps_a_curve_is_as_it_was_but_for_dead_pixels():
    values = np.array([1.0, np.inf, 3.0, np.nan])
    at, drawn = broken_at_gaps(np.arange(4.0) + 1, values)
    np.testing.assert_array_equal(at, np.arange(4.0) + 1)
    np.testing.assert_array_equal(drawn, [1, np.nan, 3, np.nan])


def test_panels_leave_out_dead_pixels_and_gaps():
    sigma = np.where(np.arange(100) == 7, np.inf, 10.0 ** (np.arange(100) / 20))
    grid = WavelengthGrid.joined(ARMS)
    figure = panels_over_wavelength(
        "mine", ARMS, grid.segments, [Panel("sigma", sigma, True), Panel("R", sigma)]
    )
    axes = figure.axes
    assert all(isinstance(axis, Axes) for axis in axes)
    assert [axis.get_yscale() for axis in axes] == ["log", "linear"]
    lines = axes[0].get_lines()
    assert [len(line.get_xdata()) for line in lines] == [50, 50]
    assert np.isnan(lines[0].get_ydata()[7])
    # Powers as people read them: the house style shows a $ as it is.
    assert "$" not in axes[0].yaxis.get_major_formatter()(1e-3)
    assert "mine" in [axes[0].get_title(place) for place in ("left", "center")]
