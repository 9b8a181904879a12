"""Dead pixels and arms with detectors of their own, from the simulator to limits and estimators: never a NaN."""

import copy

import numpy as np
import pytest
import torch

from specvit.documents import dump_toml
from specvit.inference import TemplateFit
from specvit.instrument import Instrument
from specvit.library import Emulator
from specvit.limits.bayes import Observation
from specvit.limits.forecast import Forecaster, FreeParameters
from specvit.models.usable import usable_median
from specvit.simulate import Simulator, StoredSpectra
from specvit.simulate.writer import WriteJob
from specvit.spectra import median_snr

GAP = {
    "wavelength": [8399.0, 8449.0, 8449.5, 8480.0, 8480.5, 8800.0],
    "value": [0.2, 0.2, 0.0, 0.0, 0.2, 0.2],
}
COMMON = {
    "format_version": 1,
    "name": "mine",
    "description": "a spectrograph",
    "lsf": {"kind": "gaussian", "resolving_power": 4000.0},
    "band": {"name": "grid"},
    "sky": {"background": 0.2},
    "detector": {"read_noise": 3.0, "sky_floor": 0.01},
    "conditions": {"mag": {"low": 17.0, "high": 20.0}, "exposure_time": 1200.0, "exposure_count": 1},
}
DEAD = {
    **COMMON,
    "grid": {"start": 8400.0, "step": 0.8, "pixels": 400},
    "object": {"area": 10.0, "throughput": GAP},
}
ARMS = {
    **COMMON,
    "object": {"area": 10.0, "throughput": 0.2},
    "arm": [
        {"name": "r", "grid": {"start": 8400.0, "step": 0.8, "pixels": 200}},
        {
            "name": "z",
            "grid": {"start": 8440.0, "step": 0.6, "pixels": 300},
            "read_noise": 9.0,
            "throughput": GAP,
        },
    ],
}


@pytest.fixture(scope="module", params=["dead", "arms"])
def simulator(request, tmp_path_factory):
    path = tmp_path_factory.mktemp(request.param) / "mine.toml"
    path.write_text(dump_toml(DEAD if request.param == "dead" else ARMS))
    return Simulator.build(str(path))


@pytest.fixture(scope="module")
def batch(simulator):
    return simulator.draw("train", 3, 0, 64)


def test_a_dead_pixel_has_no_flux_and_infinite_sigma(simulator, batch):
    dead = torch.from_numpy(~simulator.instrument.live)
    assert dead.any()
    assert bool((batch.flux[:, dead] == 0).all())
    for sigma in (batch.sigma, batch.truth.sigma):
        assert bool(torch.isinf(sigma[:, dead]).all())
        assert bool(torch.isfinite(sigma[:, ~dead]).all())
    assert bool(torch.isfinite(batch.flux).all())
    assert bool(torch.isfinite(batch.truth.flux).all())


def test_level_and_snr_are_those_of_the_live_pixels(simulator, batch):
    live = torch.from_numpy(simulator.instrument.live)
    usable = live.expand_as(batch.flux)
    np.testing.assert_allclose(usable_median(batch.flux, usable), 1, rtol=1e-6)
    alone = median_snr(batch.truth.flux[:, live], batch.truth.sigma[:, live])
    np.testing.assert_allclose(batch.snr, alone, rtol=1e-5)


def test_accelerators_and_processors_see_the_same_but_for_the_noise(simulator, batch):
    device = simulator._draw_on_device("train", 3, 0, 64, 0, torch.device("cpu"), True)
    torch.testing.assert_close(device.labels, batch.labels)
    torch.testing.assert_close(device.snr, batch.snr)
    # Relative to its own noise-free level, as the noise is another.
    first, second = (b.truth.sigma / b.truth.scale[:, None] for b in (device, batch))
    torch.testing.assert_close(first, second, rtol=2e-5, atol=0)


@pytest.mark.parametrize(
    "options", [{"noise_level": 0.0}, {"visible_sigma": "tilted"}, {"visible_sigma": "true"}]
)
def test_no_convention_makes_a_nan(simulator, options):
    other = Simulator(simulator.observed, simulator.instrument, simulator.prior, **options)
    seen = other.draw("train", 3, 0, 8)
    assert not any(bool(torch.isnan(values).any()) for values in (seen.flux, seen.sigma, seen.snr))


def test_noise_has_the_stated_sigma_in_every_live_pixel(simulator):
    live = torch.from_numpy(simulator.instrument.live)
    seen = simulator.draw("test", 5, 0, 512)
    residual = ((seen.flux - seen.truth.flux) / seen.truth.sigma)[:, live]
    np.testing.assert_allclose(residual.std(0), 1, atol=6 / np.sqrt(2 * 512))


def test_limits_and_fits_know_only_the_live_pixels(simulator, batch):
    emulator, instrument = Emulator.builtin(), simulator.instrument
    free = FreeParameters(velocity=True, line_width=True)
    some = {name: values[:4] for name, values in batch.conditions.items()}
    (found,) = Forecaster(emulator, instrument, free).forecast(batch.labels[:4], [some])
    np.testing.assert_allclose(found.snr, batch.snr[:4], rtol=1e-4)
    assert bool(torch.isfinite(found.fisher).all())
    source = simulator.source("train", 1, 4)
    fit = TemplateFit(simulator.observed).fit(source, source)
    answer = fit.predict(batch.flux[:8], batch.sigma[:8])
    assert bool(torch.isfinite(answer.mean).all())
    live = int(instrument.live.sum())
    assert bool((answer.diagnostics.degrees_of_freedom < live).all())
    assert bool((answer.diagnostics.chi2 < 1.5 * live).all())
    observation = Observation.from_batch(batch, instrument)
    assert all(bool(torch.isfinite(values).all()) for values in (observation.flux, observation.base))


def test_stored_spectra_are_the_same_and_say_their_band(simulator, batch, tmp_path):
    import h5py

    WriteJob(tmp_path / "set", simulator.world, "train", 3, 64, truth=True).run()
    stored = StoredSpectra(tmp_path / "set")
    assert stored.grid.fingerprint == simulator.grid.fingerprint
    assert stored.grid.arms == simulator.grid.arms
    again = stored.draw(0, 64)
    torch.testing.assert_close(again.flux, batch.flux, rtol=0, atol=0)
    torch.testing.assert_close(again.sigma, batch.sigma, rtol=0, atol=0)
    with h5py.File(stored.paths[0]) as file:
        assert file["conditions/mag"].attrs["unit"] == f"AB, {simulator.instrument.band.name}"
    # The kept copy of the file is the instrument.
    kept = Instrument.load(stored.world.instrument)
    assert kept.grid.fingerprint == simulator.grid.fingerprint


def test_a_copy_of_the_instrument_is_as_it_was(simulator):
    # As it is made for every accelerator.
    twin, flux = copy.deepcopy(simulator.instrument), torch.ones(1, simulator.grid.size)
    sigma = [one.noise_sigma(flux, one.fixed_conditions(1)) for one in (twin, simulator.instrument)]
    torch.testing.assert_close(*sigma)
    assert twin.live_pixels().tolist() == simulator.instrument.live_pixels().tolist()


def test_the_calculators_outputs_are_kept_with_a_set(tmp_path):
    wavelength = 840 + 0.083 * np.arange(200)
    row = "1 {:4d} {:9.3f} 1.0 2.0 200.0 202.0 22.5 2.5E+29 1.0 90.0\n"
    (tmp_path / "ref.snc.dat").write_text("".join(row.format(k, w) for k, w in enumerate(wavelength)))
    noise = {"mag": 0.0, "exposure_time": 450.0, "electrons": "electrons", "variance": "variance"}
    described = {key: value for key, value in COMMON.items() if key not in ("sky", "detector")}
    described |= {
        "tables": {"file": "ref.snc.dat", "arm": 1},
        "grid": {"table": "wavelength"},
        "noise": noise,
    }
    (tmp_path / "mine.toml").write_text(dump_toml(described))
    world = Simulator.build(str(tmp_path / "mine.toml")).world
    WriteJob(tmp_path / "set", world, "train", 3, 4).run()
    (tmp_path / "ref.snc.dat").unlink()
    (tmp_path / "set").rename(tmp_path / "moved")
    stored = StoredSpectra(tmp_path / "moved")
    assert Instrument.load(stored.world.instrument).grid.fingerprint == stored.grid.fingerprint
