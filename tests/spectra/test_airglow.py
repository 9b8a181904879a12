"""The lines of the night sky are those of two sources that know nothing of each other."""

from importlib.resources import files

import numpy as np
from scipy.signal import find_peaks

from specvit.spectra import air_to_vacuum
from specvit.spectra.airglow import NIGHT_SKY_LINES

#: Å in air: lines of the bands 8-3, 4-0, 9-4, 5-1, 6-2 and 7-3 that Osterbrock et al. 1996 (PASP 108, 277) list.
OSTERBROCK = (
    *(7276.405, 7316.282, 7340.885, 7750.640, 7794.112, 7821.503, 7913.708, 7964.650, 7993.332, 8344.602),
    *(8382.392, 8399.170, 8415.231, 8430.174, 8452.250, 8493.389, 8761.314, 8767.912, 8778.333, 8827.096),
    *(8885.850, 8903.114, 8943.395),
)


def test_they_are_the_bright_lines_of_the_calculator_of_pfs():
    with np.load(str(files("specvit.instrument") / "presets" / "pfs_red_mr.npz")) as table:
        wavelength, rate = table["wave_A"], table["sky_line_rate"]
    peaks, _ = find_peaks(rate, height=2.0)
    inside = [line for line in NIGHT_SKY_LINES if line < 8850]
    np.testing.assert_allclose(inside, wavelength[peaks], atol=0.051)


def test_osterbrocks_lines_are_among_them():
    lines = np.array(NIGHT_SKY_LINES)
    assert (np.diff(lines) > 0).all()
    # The calculator's pixels are 0.4 Å wide.
    off = [np.abs(lines - line).min() for line in air_to_vacuum(np.array(OSTERBROCK))]
    assert max(off) < 0.5
