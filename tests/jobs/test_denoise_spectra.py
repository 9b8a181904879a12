"""`specvit denoise` and `specvit train --model ...-denoiser`: files, stored sets, runs, and what is refused."""

import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from specvit.cli import main
from specvit.denoise import DenoisedSpectra
from specvit.denoise.making import load_denoiser, make_denoiser
from specvit.errors import ConfigError, DataError
from specvit.jobs.denoise_inputs import SeenSpectrum, known_spectra, spectra_of
from specvit.jobs.denoise_spectra import DenoisedBatch, facts_of, optimum_of, world_for
from specvit.models.origin import Origin
from specvit.observed import ReadOptions
from specvit.simulate import Simulator, StoredSpectra, World
from specvit.simulate.writer import WriteJob
from specvit.spectra import LOW_T_BOX, SPEED_OF_LIGHT_KM_S, WavelengthGrid

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


def read(path, grid=GRID, velocity=0.0, lsf=None, **options):
    """Return the spectra of a file, and what was refused."""
    refused = []
    origin = Origin(grid, LOW_T_BOX.select(["log_g"]), lsf=lsf)
    return spectra_of(
        path, origin, 1, ReadOptions(medium="vacuum", **options), velocity, refused.append
    ), refused


def test_a_file_is_brought_to_the_pixels_in_the_rest_frame(tmp_path):
    rest = np.arange(8380, 8720, 0.2)
    shape = 1 - 0.5 * np.exp(-0.5 * ((rest - 8544.44) / 3) ** 2)
    sigma = np.full_like(rest, 0.1)
    path = table(tmp_path / "star.csv", rest * (1 + 100 / SPEED_OF_LIGHT_KM_S), shape, sigma)
    (found,), _ = read(path, velocity=100)
    expected = 1 - 0.5 * np.exp(-0.5 * ((GRID.wavelength - 8544.44) / 3) ** 2)
    np.testing.assert_allclose(found.flux, expected, atol=2e-3)
    assert np.isfinite(found.sigma).all()


def test_pixels_a_file_does_not_reach_are_dead(tmp_path):
    wavelength = np.arange(8380, 8500, 0.2)
    path = table(tmp_path / "star.csv", wavelength, np.ones_like(wavelength), np.full_like(wavelength, 0.1))
    (found,), _ = read(path)
    assert np.array_equal(np.isinf(found.sigma), GRID.wavelength > wavelength[-1])
    found, (reason,) = read(path, WavelengthGrid.linear(9000, 0.5, 600))
    assert not found
    assert "covers none of the pixels" in reason
    assert str(path) in reason


def test_what_a_file_does_not_say_is_kept_and_another_resolution_is_told(tmp_path):
    wavelength = np.arange(8380, 8720, 0.5)
    path = table(tmp_path / "star.csv", wavelength, np.ones_like(wavelength), np.full_like(wavelength, 0.1))
    lsf = {"wavelength": [8300.0, 8800.0], "fwhm": [1.7, 1.7]}
    (found,), _ = read(path, lsf=lsf)
    assert any("resolution is not stated" in text for text in found.assumptions)
    assert not found.warnings
    (same,), _ = read(path, lsf=lsf, resolution=8550 / np.hypot(1.7, 0.5 * (8 * np.log(2) / 12) ** 0.5))
    assert not same.warnings
    (other,), _ = read(path, lsf=lsf, resolution=4200)
    assert "λ/FWHM = 42" in other.warnings[0]


@pytest.fixture(scope="module")
def files(run, tmp_path_factory):
    """Spectra of the same test stars: as they are, moved by 100 km/s, and two of one stem in other folders."""
    folder = tmp_path_factory.mktemp("files")
    stars = Simulator.build().draw("test", 42, 0, 40)
    at = int(stars.known_snr().argmax())
    grid = load_denoiser(run / "models" / "wiener-denoiser").origin.grid.wavelength
    flux, sigma = stars.flux[at].double().numpy(), stars.sigma[at].double().numpy()
    for name, moved in (("same", 1.0), ("moved", 1 + 100 / SPEED_OF_LIGHT_KM_S)):
        table(folder / f"{name}.csv", grid * moved, flux, sigma)
    for name in ("a", "b"):
        (folder / name).mkdir()
        table(folder / name / "star.csv", grid, flux, sigma)
    (folder / "broken.csv").write_text("wavelength,flux\n1,nonsense\n")
    return folder


def denoised(capsys, *words):
    code = main(["denoise", "--medium", "vacuum", *map(str, words)])
    found = capsys.readouterr()
    return code, found.out + " ".join(found.err.split())


def test_a_forgotten_velocity_is_told_with_its_probability(run, files, tmp_path, capsys):
    out = tmp_path / "x.npz"
    code, text = denoised(capsys, files / "same.csv", files / "moved.csv", "--model", run, "--out", out)
    assert code == 0
    assert "warning: moved.csv: more was taken out than its noise" in text
    assert "warning: same.csv" not in text
    assert "assumed: the resolution is not stated" in text
    with np.load(out) as found:
        assert found["chi2"][0] == pytest.approx(1, abs=0.1)
        assert found["chi2"][1] > 1.1
        assert found["p_larger"][1] < 1e-4 < found["p_larger"][0]
        assert "not at rest" in str(found["warnings"][1])
        assert "resolution is not stated" in str(found["assumptions"][0])
        assert "truth" not in found


def test_a_bad_file_is_named_and_the_others_are_done(run, files, tmp_path, capsys):
    out = tmp_path / "x.npz"
    words = (files / "same.csv", files / "broken.csv", run, "--count", 1, "--model", run, "--out", out)
    code, text = denoised(capsys, *words, "--json")
    assert code == 0
    assert str(files / "broken.csv") in text
    with np.load(out) as found:
        assert list(found["names"]) == ["same.csv", f"{run.name}:0"]
        # Of the star of the file no noise-free flux is known.
        assert np.isnan(found["truth"][0]).all()
        assert np.isfinite(found["truth"][1]).all()
    code, text = denoised(capsys, files / "broken.csv", files / "gone.csv", "--model", run, "--out", out)
    assert code == 1
    assert "none of 2 spectra" in text


def test_files_of_one_name_keep_their_paths_and_pictures(run, files, tmp_path, capsys):
    out, figures = tmp_path / "x.npz", tmp_path / "figures"
    paths = files / "a" / "star.csv", files / "b" / "star.csv"
    assert denoised(capsys, *paths, "--model", run, "--out", out, "--plot", figures)[0] == 0
    with np.load(out) as found:
        assert list(found["names"]) == [str(path) for path in paths]
    assert len(list(figures.glob("*.png"))) == 2


def test_nothing_is_overwritten_that_is_not_its_own(run, files, tmp_path, capsys):
    other = tmp_path / "other.npz"
    np.savez(other, flux=np.ones(3))
    code, text = denoised(capsys, files / "same.csv", "--model", run, "--out", other)
    assert (code, "not made by `specvit denoise`" in text) == (1, True)
    code, text = denoised(capsys, other, "--model", run, "--out", other)
    assert (code, "is one of the spectra" in text) == (2, True)
    own = tmp_path / "own.npz"
    assert [denoised(capsys, files / "same.csv", "--model", run, "--out", own)[0] for _ in range(2)] == [0, 0]


def test_what_contradicts_itself_is_refused(run, files, tmp_path, capsys):
    out = ("--out", tmp_path / "x.npz")
    code, text = denoised(capsys, files / "same.csv", "--model", run, "--instrument", "nope", *out)
    assert (code, "--instrument: of the exact posterior mean" in text) == (2, True)
    code, text = denoised(capsys, run, "--prior", "lattice", *out)
    assert (code, "is of another world" in text) == (2, True)


def test_signal_to_noise_is_of_live_pixels(files):
    one = SeenSpectrum("x", "x", np.ones(10), np.where(np.arange(10) < 3, 0.1, np.inf))
    batch = DenoisedBatch([one], DenoisedSpectra(torch.ones(1, 10)), [None])
    assert facts_of(batch)[0]["snr"] == pytest.approx(10)


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """Sets of another world than the default one, and a run that was trained on them."""
    folder = tmp_path_factory.mktemp("stored")
    world = World(prior="lattice", bounds={"m_h": (-2.0, -1.0)}, noise_level=0.5)
    for split, count in (("train", 60), ("validation", 12), ("test", 12)):
        WriteJob(folder / split, world, split, 5, count, truth=True).run()
    command = ["train", "--model", "wiener-denoiser", "--set", "components=4", "--out", str(folder / "run")]
    for option, name in (("data", "train"), ("validation-data", "validation"), ("test-data", "test")):
        command += [f"--{option}", str(folder / name)]
    assert main(command) == 0
    return folder


def test_the_stars_of_a_run_on_stored_spectra_are_those_and_its_world_is_theirs(
    stored, run, tmp_path, capsys
):
    source, world = known_spectra(stored / "run")
    expected = StoredSpectra(stored / "test").draw(0, 3)
    assert torch.equal(source.draw(0, 3).flux, expected.flux)
    assert (world.prior, world.bounds, world.noise_level) == ("lattice", {"m_h": (-2.0, -1.0)}, 0.5)
    assert world_for([stored / "run", stored / "test"], {}).prior == "lattice"
    with pytest.raises(ConfigError, match="of another world"):
        world_for([stored / "run", run], {})
    exact = optimum_of(replace(world, library="builtin"))
    assert exact.origin.label_space.low[exact.origin.label_space.index("m_h")] == -2.0
    assert exact.prior == "lattice"
    shard = next((stored / "test").glob("*.h5"))
    code, text = denoised(capsys, shard, "--model", run, "--out", tmp_path / "x.npz")
    assert (code, f"give its folder, {stored / 'test'}" in text) == (2, True)


def test_a_run_whose_stored_spectra_are_gone_is_refused_in_one_line(stored, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(stored / "run", copy)
    text = (copy / "config.toml").read_text().replace(str(stored / "test"), str(tmp_path / "gone"))
    (copy / "config.toml").write_text(text)
    with pytest.raises(DataError, match="its test stars are stored spectra"):
        known_spectra(copy)


def test_what_is_not_known_is_refused_by_name(run, tmp_path, capsys):
    def nothing():
        raise ConfigError("no world")

    with pytest.raises(ConfigError, match="components"):
        make_denoiser("wiener-denoiser", {"component": 3}, nothing)
    with pytest.raises(ConfigError, match="components"):
        make_denoiser("wiener-denoiser", {"components": 0}, nothing)
    with pytest.raises(ConfigError, match="unknown option 'lr'"):
        make_denoiser("wiener-denoiser", {"lr": "banana"}, nothing)
    with pytest.raises(ConfigError, match="basis-denoiser has none but 'basis', got 'clean'"):
        make_denoiser("basis-denoiser", {"objective": "clean"}, nothing)
    with pytest.raises(ConfigError, match="take that model instead of unet-denoiser"):
        make_denoiser("unet-denoiser", {"objective": "basis"}, nothing)
    assert main(["train", "--model", "wiener-denoisr", "--out", str(tmp_path / "t")]) == 2
    assert "did you mean 'wiener-denoiser'?" in " ".join(capsys.readouterr().err.split())
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
