"""Nuisance columns against the derivatives of explicit models."""

import numpy as np
import pytest
import torch
from numpy.polynomial import legendre

from specvit.errors import ConfigError
from specvit.limits import broadening_operator, continuum_columns, fisher_information, velocity_operator
from specvit.spectra import SPEED_OF_LIGHT_KM_S, WavelengthGrid

GRID = WavelengthGrid.linear(8400.0, 0.15, 3200)
CENTRES = np.array([8498.0, 8542.1, 8662.1])


def spectrum(velocity=0.0, fwhm=60.0):
    """1 minus three Gaussian lines of `fwhm` km/s, seen at `velocity` km/s."""
    axis = SPEED_OF_LIGHT_KM_S * np.log(GRID.wavelength[:, None] / CENTRES) - velocity
    width = fwhm / 2.354820045
    # Unit area in velocity, so that broadening conserves the line's flux.
    return torch.tensor(1 - (8.0 / width * np.exp(-0.5 * (axis / width) ** 2)).sum(axis=1))[None]


def test_continuum_columns_are_legendre_polynomials_times_flux():
    flux = spectrum()
    columns = continuum_columns(flux, GRID, 4)
    u = np.linspace(-1, 1, GRID.size)
    expected = flux[0].numpy()[:, None] * legendre.legvander(u, 4)
    np.testing.assert_allclose(columns[0], expected, atol=1e-12)
    assert continuum_columns(flux, GRID, 0).shape == (1, GRID.size, 1)
    with pytest.raises(ConfigError, match="order"):
        continuum_columns(flux, GRID, -1)


def test_every_arm_has_a_polynomial_of_its_own():
    centres = np.concatenate([np.linspace(8400, 8500, 50), np.linspace(8480, 8600, 41), [8700.0]])
    grid = WavelengthGrid(centres, arms=(50, 91))
    flux = torch.rand(2, 92, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    columns = continuum_columns(flux, grid, 2) / flux[..., None]
    # The last arm is one pixel: a constant is all it can have.
    assert columns.shape == (2, 92, 7)
    np.testing.assert_allclose(columns[0, :50, :3], legendre.legvander(np.linspace(-1, 1, 50), 2), atol=1e-12)
    np.testing.assert_allclose(
        columns[1, 50:91, 3:6], legendre.legvander(np.linspace(-1, 1, 41), 2), atol=1e-12
    )
    assert columns[0, 91, 6] == pytest.approx(1)
    assert (columns != 0).sum() <= 2 * (50 * 3 + 41 * 3 + 1)
    assert continuum_columns(flux, grid, 0).shape == (2, 92, 1)


def test_velocity_operator_is_the_derivative_of_the_shifted_spectrum():
    expected = (spectrum(velocity=0.5) - spectrum(velocity=-0.5))[0].numpy()
    found = velocity_operator(GRID) @ spectrum()[0].numpy()
    assert np.abs(found - expected).max() < 1e-3 * np.abs(expected).max()


def test_broadening_operator_is_the_derivative_of_the_broadened_spectrum():
    expected = (spectrum(fwhm=60.3) - spectrum(fwhm=59.7))[0].numpy() / 0.01
    fwhm = 60.0 / SPEED_OF_LIGHT_KM_S * GRID.wavelength
    found = broadening_operator(GRID, fwhm) @ spectrum()[0].numpy()
    assert np.abs(found - expected).max() < 3e-3 * np.abs(expected).max()


def test_operators_conserve_a_flat_spectrum():
    flat = np.ones(GRID.size)
    np.testing.assert_allclose(velocity_operator(GRID) @ flat, 0, atol=1e-13)
    np.testing.assert_allclose(broadening_operator(GRID, 0.5 * flat) @ flat, 0, atol=1e-9)


def test_a_free_amplitude_removes_a_label_that_only_scales_the_flux():
    flux = spectrum()
    tilt = torch.linspace(-1, 1, GRID.size, dtype=torch.float64)[None]
    jacobian = torch.stack([flux * 1.0, flux * tilt, flux.log()], dim=-1)
    ivar = torch.full_like(flux, 100.0)
    free = fisher_information(jacobian, ivar, continuum_columns(flux, GRID, 0))[0]
    assert abs(float(free[0, 0])) < 1e-9 * float(fisher_information(jacobian, ivar)[0, 0, 0])
    assert float(free[1, 1]) > 1.0
    tilted = fisher_information(jacobian, ivar, continuum_columns(flux, GRID, 1))[0]
    assert abs(float(tilted[1, 1])) < 1e-9 * float(free[1, 1])
