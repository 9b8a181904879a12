"""The scan's χ² by Fourier transforms is the sum it stands for, and velocities have the right sign."""

import numpy as np
import torch

from specvit.library import Emulator
from specvit.observed.spectrum import RawSpectrum, checked_spectrum
from specvit.spectra import SPEED_OF_LIGHT_KM_S
from specvit.stellar import StarFitSettings
from specvit.stellar.objective import StarArrays
from specvit.stellar.pixels import fit_pixels
from specvit.stellar.scan import TemplateBank, _correlation
from specvit.stellar.templates import WidthTemplates


def test_a_correlation_is_a_sum_of_products():
    rng = np.random.default_rng(0)
    data, models = rng.standard_normal(50), rng.standard_normal((3, 50))
    found = _correlation(torch.from_numpy(data), torch.from_numpy(models), 64).numpy()
    for shift in (-4, -1, 0, 3, 7):
        expected = [sum(data[i] * row[i - shift] for i in range(50) if 0 <= i - shift < 50) for row in models]
        np.testing.assert_allclose(found[:, shift], expected, rtol=1e-4, atol=1e-4)


def test_the_best_start_is_the_star_and_its_velocity():
    bank = TemplateBank(WidthTemplates(Emulator.builtin(), 2000.0))
    number, velocity = 93, -640.0
    fine = np.exp(bank.templates.log_wavelength) * (1 + velocity / SPEED_OF_LIGHT_KM_S)
    wavelength = np.arange(7020.0, 8930.0, 1.0)
    flux = np.interp(wavelength, fine, bank.spectra[number].numpy()) * (2 - wavelength / 9000)
    raw = RawSpectrum("star", "test", wavelength, flux, 0.01 * flux, medium="vacuum")
    raw.fwhm = wavelength / 2000
    settings = StarFitSettings()
    star = fit_pixels(checked_spectrum(raw, "a"), settings, 7000.0, 8950.0)
    arrays = StarArrays.of([star], [1 / star.sigma**2], bank.templates, settings)
    labels, speeds = bank.starts(arrays, settings)
    torch.testing.assert_close(labels[0, 0], bank.labels[number])
    # One point of the fine grid is 30 km/s.
    assert abs(float(speeds[0, 0]) - velocity) < 30
