"""Templates at a resolution, velocity and width are what direct smoothing makes of the emulator; derivatives are its."""

import numpy as np
import pytest
import torch

from specvit.library import Emulator
from specvit.spectra import SPEED_OF_LIGHT_KM_S
from specvit.stellar.compiled import see_rows
from specvit.stellar.templates import WIDTHS, WidthTemplates

LABELS = torch.tensor([[4600.0, 2.0, -0.7, 0.2, 0.0], [5800.0, 4.4, 0.1, 0.0, 0.1]], dtype=torch.float64)
WAVELENGTH = np.linspace(7100.0, 8850.0, 1500)
PIXELS = torch.from_numpy(np.log(WAVELENGTH)).repeat(2, 1)
VELOCITY = torch.tensor([-170.0, 233.0], dtype=torch.float64)


@pytest.fixture(scope="module")
def templates():
    return WidthTemplates(Emulator.builtin(), 3000.0)


def directly(resolution, velocity):
    """The emulator times Gaussians, summed by the trapezoidal rule at each pixel: no grid in between."""
    emulator = Emulator.builtin()
    flux = emulator(LABELS.float()).double().numpy()
    grid, seen = emulator.grid.wavelength, []
    for row, speed in zip(flux, velocity, strict=True):
        at = WAVELENGTH / (1 + float(speed) / SPEED_OF_LIGHT_KM_S)
        sigma = at * np.sqrt(resolution**-2.0 - emulator.resolution**-2.0) / 2.354820045
        kernel = np.exp(-0.5 * ((grid - at[:, None]) / sigma[:, None]) ** 2) * np.gradient(grid)
        seen.append(kernel @ row / kernel.sum(1))
    return np.array(seen)


def see(templates, labels=LABELS, velocity=VELOCITY, width=0.0):
    own = torch.zeros(PIXELS.shape, dtype=torch.float64)
    widths = torch.full((2,), width, dtype=torch.float64)
    return templates.see(labels, velocity, widths, PIXELS, own)


@pytest.mark.parametrize("width", [-0.15, 0.0, 0.1, 0.2])
def test_a_template_is_the_smoothed_emulator(templates, width):
    seen = see(templates, width=width).flux.numpy()
    expected = directly(3000.0 / np.exp(width), VELOCITY)
    # Compression and interpolation in width: a tenth of the model error that a fit grants.
    assert np.sqrt(np.mean((seen - expected) ** 2)) < 5e-4
    assert np.abs(seen - expected).max() < 6e-3


def test_a_constant_stays_a_constant(templates):
    """Weights of widths and of spline taps each sum to one, their slopes to nothing, at widths off the nodes too."""
    rng = np.random.default_rng(0)
    rows = np.full((1, 2, 3, 40), 0.7, np.float32)
    seen = np.empty((1, 4, 200), np.float32)
    position, width = rng.uniform(2, 37, (1, 200)), rng.uniform(-0.4, 0.4, (1, 200))
    see_rows(rows, position, width, templates.log_nodes, WIDTHS, seen)
    np.testing.assert_allclose(seen[0, :2], 0.7, rtol=1e-6)
    np.testing.assert_allclose(seen[0, 2:], 0.0, atol=1e-6)


def test_a_quadratic_in_ln_width_and_a_cubic_in_wavelength_are_exact(templates):
    """What Lagrange's and the splines' weights must reproduce, by the formulas of these polynomials."""
    nodes, at = templates.log_nodes, np.arange(60.0) - 30
    # Values of x³ have splines' coefficients x³ - x at unit spacing.
    rows = ((1 + 2 * nodes + 3 * nodes**2)[:, None] * 1e-3 * (at**3 - at))[None, None].astype(np.float32)
    position, width = np.random.default_rng(1).uniform(3, 56, (1, 100)), np.full((1, 100), 0.11)
    seen = np.empty((1, 3, 100), np.float32)
    see_rows(rows, position, width, nodes, WIDTHS, seen)
    x, w = position[0] - 30, 0.22
    quadratic = 1 + 2 * w + 3 * w**2
    np.testing.assert_allclose(seen[0, 0], quadratic * 1e-3 * x**3, atol=1e-4)
    np.testing.assert_allclose(seen[0, 1], quadratic * 3e-3 * x**2, atol=1e-4)
    np.testing.assert_allclose(seen[0, 2], 2 * (2 + 6 * w) * 1e-3 * x**3, atol=3e-4)


@pytest.mark.parametrize("label", range(5))
def test_slopes_by_labels_are_differences(templates, label):
    step = torch.zeros_like(LABELS)
    step[:, label] = 20.0 if label == 0 else 0.02
    difference = see(templates, LABELS + step).flux - see(templates, LABELS - step).flux
    slope = see(templates).by_label[:, label]
    expected = difference / (2 * step[:, label : label + 1])
    assert float((slope - expected).abs().max() / expected.abs().max()) < 0.01


def test_slopes_by_velocity_and_width_are_differences(templates):
    found = see(templates)
    by_velocity = (
        see(templates, velocity=VELOCITY + 1).flux - see(templates, velocity=VELOCITY - 1).flux
    ) / 2
    by_width = (see(templates, width=1e-3).flux - see(templates, width=-1e-3).flux) / 2e-3
    for slope, expected in ((found.by_velocity, by_velocity), (found.by_width, by_width)):
        assert float((slope - expected).abs().max() / expected.abs().max()) < 2e-3


def test_a_positive_velocity_is_a_red_shift(templates):
    at_rest, moving = (
        see(templates, velocity=0 * VELOCITY).flux[0],
        see(templates, velocity=0 * VELOCITY + 300).flux[0],
    )
    near = (WAVELENGTH > 8520) & (WAVELENGTH < 8570)
    line = [WAVELENGTH[near][int(flux[torch.from_numpy(near)].argmin())] for flux in (at_rest, moving)]
    assert line[1] - line[0] == pytest.approx(8544.4 * 300 / SPEED_OF_LIGHT_KM_S, abs=1.5)
