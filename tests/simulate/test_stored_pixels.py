"""Stored sets and saved estimators know their pixels: edges by table, arms that follow one another, what was cut."""

import h5py
import numpy as np
import pytest

from described import PLAIN, written
from specvit.documents import dump_toml
from specvit.errors import DataError
from specvit.estimators.choice import load_estimator
from specvit.inference import TemplateFit
from specvit.simulate import StoredSpectra, World, WriteJob
from specvit.spectra import WavelengthGrid


def edges_by_table(folder):
    """Pixels of a slit image that is narrower than the step: a twentieth of the light falls between them."""
    low = 8400 + 0.8 * np.arange(120)
    return written(
        folder, tables={"edges": np.stack([low, low + 0.76]), "wave": low + 0.38},
        grid={"table": "wave", "edges": "edges"},
    )  # fmt: skip


def two_arms(folder):
    """The second arm begins where the first ends, as in a spectrograph of two CCDs without a gap."""
    described = {key: value for key, value in PLAIN.items() if key != "grid"}
    arms = "".join(
        f'[[arm]]\nname = "{name}"\ngrid = {{ start = {start}, step = {step}, pixels = 60 }}\n'
        for name, start, step in (("a", 8400.0, 0.8), ("b", 8448.1, 0.9))
    )
    (folder / "arms.toml").write_text(dump_toml(described) + arms, encoding="utf-8")
    return folder / "arms.toml"


@pytest.mark.parametrize("make", [edges_by_table, two_arms])
def test_a_set_and_what_is_fitted_to_it_keep_the_pixels(tmp_path, make):
    world = World(instrument=str(make(tmp_path)))
    WriteJob(tmp_path / "set", world, "train", 1, 40).run()
    simulator, stored = world.build(), StoredSpectra(tmp_path / "set")
    fit = TemplateFit(simulator.observed, order=1).fit(stored, stored)
    fit.save(tmp_path / "fit")
    saved = load_estimator(tmp_path / "fit")
    for grid in (stored.grid, saved.origin.grid, saved.emulator.grid):
        np.testing.assert_array_equal(grid.lower, simulator.grid.lower)
        np.testing.assert_array_equal(grid.upper, simulator.grid.upper)
        assert (grid.arms, grid.segments) == (simulator.grid.arms, simulator.grid.segments)
    batch = simulator.draw("test", 2, 0, 4)
    np.testing.assert_array_equal(
        saved.predict(batch.flux, batch.sigma).mean, fit.predict(batch.flux, batch.sigma).mean
    )


def test_pixels_that_follow_from_their_centres_are_not_written(tmp_path):
    WriteJob(tmp_path / "set", World(instrument=str(written(tmp_path))), "train", 1, 40).run()
    (shard,) = (tmp_path / "set").glob("*.h5")
    with h5py.File(shard) as file:
        assert not {"pixel_bounds", "arms"} & set(file)
    falling = WavelengthGrid([1.0, 2.0, 3.0, 2.5, 3.5, 4.5], arms=(3,))
    assert falling.beside_centres() == {}
    cut = WavelengthGrid(np.arange(5000.0, 5100.0)).take(np.arange(100) > 20)
    assert cut.beside_centres() == {}


def test_damaged_pixels_of_a_set_are_named(tmp_path):
    WriteJob(tmp_path / "set", World(instrument=str(edges_by_table(tmp_path))), "train", 1, 40).run()
    (shard,) = (tmp_path / "set").glob("*.h5")
    with h5py.File(shard, "a") as file:
        file["pixel_bounds"][0, 7] = 9000.0
    with pytest.raises(DataError, match=r"'wavelength': .*pixel 7"):
        StoredSpectra(tmp_path / "set")
