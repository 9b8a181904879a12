"""The stated interpolation errors of the built-in emulator, recomputed with an independent fold."""

from pathlib import Path

import numpy as np
import pytest
import torch

from specvit.library import Emulator, load_builtin
from specvit.library.emulator_fit import split_library

#: The calculator's numbers; the README beside them says which.
CHECKS = Path(__file__).parents[1] / "instrument" / "data" / "etc_checks.npz"
CENTRES = 7100.2136 + 0.427246 * np.arange(4096)


def fold_to_pfs(wavelength: np.ndarray, spectra: np.ndarray) -> np.ndarray:
    """Return spectra (N, L) seen through a Gaussian of total FWHM 1.35 Å and 0.427 Å pixels, (N, 4096).

    Midpoint rule over seven points per pixel and trapezoids over the spectrum: no error functions.
    """
    out = np.empty((len(spectra), CENTRES.size))
    sub_pixel = 0.427246 * (np.arange(7) - 3) / 7
    for i, centre in enumerate(CENTRES):
        sigma = np.sqrt(1.35**2 - (centre / 20000) ** 2) / (2 * np.sqrt(2 * np.log(2)))
        near = slice(*np.searchsorted(wavelength, [centre - 4.5, centre + 4.5]))
        kernel = np.exp(-0.5 * ((wavelength[near] - centre - sub_pixel[:, None]) / sigma) ** 2).sum(axis=0)
        kernel *= np.gradient(wavelength[near])
        out[:, i] = spectra[:, near] @ (kernel / kernel.sum())
    return out


@pytest.fixture(scope="module")
def held_out() -> tuple[Emulator, np.ndarray, np.ndarray]:
    """Emulator, labels and |relative error| on the PFS grid of the spectra no fit has seen."""
    emulator, library = Emulator.builtin(), load_builtin()
    settings = emulator.provenance["settings"]
    _, rows = split_library(library, emulator.label_space, settings["held_out"], settings["seed"])
    truth = library.flux[rows].astype(np.float64)
    truth /= truth.mean(axis=1, keepdims=True)
    with torch.no_grad():
        emulated = emulator(torch.from_numpy(library.labels[rows])).numpy()
    wavelength = library.grid.wavelength
    error = np.abs(fold_to_pfs(wavelength, emulated) / fold_to_pfs(wavelength, truth) - 1)
    return emulator, library.labels[rows], error


def test_a_tenth_of_the_box_was_held_out(held_out):
    emulator, labels, _ = held_out
    assert len(labels) == emulator.errors["held_out_spectra"] >= 140
    assert emulator.provenance["fitted_spectra"] == 2098 - len(labels)


@pytest.mark.parametrize("part", ["all", "above_4300", "below_4300"])
def test_stated_errors_are_the_true_ones(held_out, part):
    emulator, labels, error = held_out
    chosen = {"all": labels[:, 0] > 0, "above_4300": labels[:, 0] > 4300, "below_4300": labels[:, 0] <= 4300}[
        part
    ]
    stated = emulator.errors["pfs_mr"][part]
    measured = np.quantile(error[chosen], [0.5, 0.95, 0.99])
    np.testing.assert_allclose(measured, [stated["median"], stated["p95"], stated["p99"]], rtol=0.05)


def test_errors_meet_their_aims(held_out):
    _, labels, error = held_out
    hot = labels[:, 0] > 4300
    assert np.median(error) <= 0.0006
    assert np.quantile(error[hot], 0.95) <= 0.006
    assert np.quantile(error[~hot], 0.95) <= 0.025


def test_errors_are_far_below_the_noise(held_out):
    emulator, _, error = held_out
    with np.load(CHECKS) as checks:
        share = float((error * checks["snr_i20_5"] < 0.3).mean())
    assert share >= 0.99
    assert abs(share - emulator.errors["pfs_mr"]["noise_units_i20_5"]["share_below_0.3"]) < 1e-3
