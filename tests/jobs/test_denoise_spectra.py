"""`specvit denoise` and `specvit train --model ...-denoiser`: files, stored sets, runs, and what is refused."""

import numpy as np
import pytest

from specvit.cli import main
from specvit.denoise.making import load_denoiser, make_denoiser
from specvit.errors import ConfigError, DataError
from specvit.jobs.denoise_spectra import spectra_of
from specvit.observed import ReadOptions
from specvit.spectra import SPEED_OF_LIGHT_KM_S, WavelengthGrid

GRID = WavelengthGrid.linear(8400, 0.5, 600)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A Wiener denoiser, trained by the command."""
    folder = tmp_path_factory.mktemp("runs") / "wiener"
    command = ["train", "--model", "wiener-denoiser", "--spectra", "300", "--set", "components=16"]
    assert main([*command, "--validation", "20", "--test", "30", "--out", str(folder)]) == 0
    return folder


def table(path, wavelength, flux, sigma):
    rows = "\n".join(f"{w:.6f},{f:.8f},{s:.8f}" for w, f, s in zip(wavelength, flux, sigma, strict=True))
    path.write_text(f"wavelength,flux,sigma\n{rows}\n")
    return path


def test_a_training_leaves_a_denoiser_with_its_scores(run):
    denoiser = load_denoiser(run / "models" / "wiener-denoiser")
    assert denoiser.name == "wiener-denoiser"
    assert 0 < denoiser.metrics["mse_ratio, all"] < 0.01


def test_the_test_stars_of_a_run_are_denoised(run, tmp_path, capsys):
    out = tmp_path / "denoised.npz"
    command = ["denoise", str(run), "--model", str(run), "--count", "2", "--draws", "2", "--out", str(out)]
    assert main([*command, "--plot", str(tmp_path / "figures")]) == 0
    with np.load(out) as found:
        assert found["denoised"].shape == found["truth"].shape == (2, 4096)
        assert found["samples"].shape == (2, 2, 4096)
        left = np.square(found["denoised"] - found["truth"]).mean()
        assert left < 0.01 * np.square(found["flux"] - found["truth"]).mean()
    assert len(list((tmp_path / "figures").glob("*.png"))) == 2
    assert "stated error" in capsys.readouterr().out


def test_a_file_is_brought_to_the_pixels_in_the_rest_frame(tmp_path):
    rest = np.arange(8380, 8720, 0.2)
    shape = 1 - 0.5 * np.exp(-0.5 * ((rest - 8544.44) / 3) ** 2)
    sigma = np.full_like(rest, 0.1)
    path = table(tmp_path / "star.csv", rest * (1 + 100 / SPEED_OF_LIGHT_KM_S), shape, sigma)
    found = spectra_of(path, GRID, 1, ReadOptions(medium="vacuum"), velocity=100)
    expected = 1 - 0.5 * np.exp(-0.5 * ((GRID.wavelength - 8544.44) / 3) ** 2)
    np.testing.assert_allclose(found.flux[0], expected, atol=2e-3)
    assert np.isfinite(found.sigma).all()


def test_pixels_a_file_does_not_reach_are_dead(tmp_path):
    wavelength = np.arange(8380, 8500, 0.2)
    path = table(tmp_path / "star.csv", wavelength, np.ones_like(wavelength), np.full_like(wavelength, 0.1))
    found = spectra_of(path, GRID, 1, ReadOptions(medium="vacuum"), velocity=0)
    assert np.array_equal(np.isinf(found.sigma[0]), GRID.wavelength > wavelength[-1])
    far = WavelengthGrid.linear(9000, 0.5, 600)
    with pytest.raises(DataError, match="covers none of the pixels"):
        spectra_of(path, far, 1, ReadOptions(medium="vacuum"), velocity=0)


def test_what_is_not_known_is_refused_by_name(run, tmp_path, capsys):
    def nothing():
        raise ConfigError("no world")

    with pytest.raises(ConfigError, match="components"):
        make_denoiser("wiener-denoiser", {"component": 3}, nothing)
    with pytest.raises(ConfigError, match="components"):
        make_denoiser("wiener-denoiser", {"components": 0}, nothing)
    with pytest.raises(ConfigError, match="no sizes"):
        make_denoiser("wiener-denoiser", {}, nothing, size="nano")
    with pytest.raises(ConfigError, match="no world"):
        make_denoiser("subspace-denoiser", {}, nothing)
    with pytest.raises(ConfigError, match="is no denoiser"):
        make_denoiser("ridge", {}, nothing)
    assert main(["denoise", str(run), "--out", str(tmp_path / "x.csv")]) == 2
    assert "ends in .npz" in capsys.readouterr().err
    assert main(["denoise", str(run), "--model", str(tmp_path), "--out", str(tmp_path / "x.npz")]) == 2
    assert "neither a saved denoiser nor a run" in capsys.readouterr().err
