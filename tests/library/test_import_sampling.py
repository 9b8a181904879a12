"""What an import loses because its source has only two samples per resolution element: the numbers of docs/import.md."""

import numpy as np
import pytest

from specvit.library.importers.window import LibraryWindow, Transfer
from specvit.spectra.resample import FWHM_PER_SIGMA

SOURCE = 50_000


def unresolved_lines(wavelength, resolution, depth):
    """Lines as narrow as the resolution, at all phases of the samples."""
    flux = np.ones_like(wavelength)
    for centre in np.arange(8500.0, 8600.0, 3.137):
        sigma = centre / resolution / FWHM_PER_SIGMA
        flux -= depth * np.exp(-0.5 * ((wavelength - centre) / sigma) ** 2)
    return flux


@pytest.mark.parametrize(
    ("samples", "wanted", "rms"),
    [(2.0, 50_000, 4.4e-3), (2.0, 25_000, 7.2e-5), (2.32145, 50_000, 2.1e-3), (2.32145, 25_000, 3.6e-5)],
)
def test_error_of_the_spline(samples, wanted, rms):
    wavelength = np.exp(np.arange(np.log(8450), np.log(8650), 1 / (samples * SOURCE)))
    window = LibraryWindow(8500.0, 8600.0, wanted)
    found = Transfer(wavelength, SOURCE, window).flux(unresolved_lines(wavelength, SOURCE, 0.5))
    true = unresolved_lines(window.grid.wavelength, wanted, 0.5 * wanted / SOURCE)
    assert np.sqrt(np.mean((found / true - 1) ** 2)) == pytest.approx(rms, rel=0.1)
