"""Fitting an emulator to any library: it learns, holds out honestly, and reports."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from specvit.errors import DataError, LabelError
from specvit.library import Emulator, FitSettings, SyntheticLibrary, fit_emulator
from specvit.library.emulator_fit import relative_flux, split_library
from specvit.spectra import LOW_T_BOX, LabelSpace, WavelengthGrid

SPACE = LabelSpace(("teff", "log_g"), ("K", "dex"), (4000.0, 1.0), (6000.0, 5.0))
QUICK = FitSettings(components=4, width=32, depth=2, steps=1200, batch=64, coordinates="labels", seed=5)


def two_line_library(count: int = 200, seed: int = 1) -> SyntheticLibrary:
    """Return spectra with one line of depth linear in 5040/Teff and one in log g."""
    rng = np.random.default_rng(seed)
    labels = np.array(SPACE.low) + (np.array(SPACE.high) - np.array(SPACE.low)) * rng.random((count, 2))
    grid = WavelengthGrid.linear(8000.0, 1.0, 120)
    profile = np.exp(-0.5 * ((grid.wavelength - np.array([[8030.0], [8080.0]])) / 4) ** 2)
    depth = np.stack([0.5 * 5040 / labels[:, 0] - 0.2, 0.1 + 0.1 * labels[:, 1]], axis=1)
    return SyntheticLibrary(labels, 7e5 * (1 - depth @ profile), grid, 2000.0, SPACE, {"name": "two lines"})


@pytest.fixture(scope="module")
def fitted() -> Emulator:
    return fit_emulator(two_line_library(), None, QUICK)


def test_it_learns_spectra_it_has_not_seen(fitted):
    fresh = two_line_library(50, seed=99)
    emulated = fitted(torch.from_numpy(fresh.labels).float()).numpy()
    error = np.abs(emulated / relative_flux(fresh) - 1)
    assert np.quantile(error, 0.95) < 3e-3
    assert fitted.errors["native"]["p95"] < 3e-3


def test_its_derivative_is_that_of_the_law_it_learned(fitted):
    labels = torch.tensor([[5000.0, 3.0]])
    jacobian = fitted.jacobian(labels)[0, :, 1].numpy()
    step = 0.01
    pair = [two_line_flux(np.array([[5000.0, 3.0 + s]])) for s in (-step, step)]
    expected = (pair[1] - pair[0])[0] / (2 * step)
    np.testing.assert_allclose(jacobian, expected, atol=0.05 * np.abs(expected).max())


def two_line_flux(labels: np.ndarray) -> np.ndarray:
    grid = WavelengthGrid.linear(8000.0, 1.0, 120)
    profile = np.exp(-0.5 * ((grid.wavelength - np.array([[8030.0], [8080.0]])) / 4) ** 2)
    flux = 1 - np.stack([0.5 * 5040 / labels[:, 0] - 0.2, 0.1 + 0.1 * labels[:, 1]], axis=1) @ profile
    return flux / flux.mean(axis=1, keepdims=True)


def test_held_out_spectra_leave_no_trace_in_the_weights(fitted):
    library = two_line_library()
    _, held_out = split_library(library, SPACE, QUICK.held_out, QUICK.seed)
    flux = library.flux.copy()
    flux[held_out] = flux[held_out][:, ::-1]
    other = fit_emulator(replace(library, flux=flux), None, QUICK)
    for a, b in zip(fitted.state_dict().values(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=0)
    assert other.errors["native"]["p95"] > 10 * fitted.errors["native"]["p95"]


def test_only_spectra_inside_the_domain_are_held_out():
    library = two_line_library()
    domain = SPACE.replace(teff=(4500.0, 5500.0))
    rows, held_out = split_library(library, domain, 0.2, 3)
    assert ((library.labels[held_out, 0] >= 4500) & (library.labels[held_out, 0] <= 5500)).all()
    assert len(rows) + len(held_out) == len(library)
    assert not set(rows) & set(held_out)


def test_progress_is_reported_and_the_callers_random_numbers_are_left_alone():
    seen = []
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    quick = replace(QUICK, steps=600)
    fit_emulator(
        two_line_library(80), None, quick, lambda done, total, loss: seen.append((done, total, loss))
    )
    assert [(done, total) for done, total, _ in seen] == [(500, 600), (600, 600)]
    torch.testing.assert_close(torch.rand(3), expected)


def test_the_fit_can_be_saved_and_its_settings_read(fitted, tmp_path):
    fitted.save(tmp_path / "own.safetensors")
    back = Emulator.load(tmp_path / "own.safetensors")
    assert back.provenance["settings"]["coordinates"] == "labels"
    assert back.provenance["library"] == "two lines"
    labels = torch.tensor([[5000.0, 3.0]])
    torch.testing.assert_close(back(labels), fitted(labels), rtol=0, atol=0)


def test_too_few_spectra_are_refused():
    with pytest.raises(DataError, match="needs at least 40"):
        fit_emulator(two_line_library(30), None, QUICK)


def test_chemical_coordinates_need_a_temperature():
    library = two_line_library()
    nameless = replace(
        library, label_space=LabelSpace(("age", "log_g"), ("Gyr", "dex"), SPACE.low, SPACE.high)
    )
    with pytest.raises(LabelError, match="unknown label 'teff'"):
        fit_emulator(nameless, None, replace(QUICK, coordinates="chemical", steps=1))
    assert LOW_T_BOX.index("teff") == 0
