"""The library object, its file, its compression, and the spectra shipped with specvit."""

from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import specvit.library
from specvit.errors import DataError, DomainError, RunError, ShapeError
from specvit.library import SyntheticLibrary, load_builtin, lowrank
from specvit.spectra import LOW_T_BOX, WavelengthGrid

#: Some of the spectra as they were computed; the README beside them says which.
COMPUTED = Path(__file__).parent / "data" / "lte_checks.npz"
PACKAGE_DATA = Path(specvit.library.__file__).parent / "data"
LINES = np.array([8190.0, 8500.0, 8544.0])


def small_library(count: int = 30, seed: int = 0) -> SyntheticLibrary:
    """Return spectra with three lines whose depth follows the labels."""
    rng = np.random.default_rng(seed)
    low, high = np.array(LOW_T_BOX.low), np.array(LOW_T_BOX.high)
    labels = low + (high - low) * rng.random((count, 5))
    grid = WavelengthGrid.log(8150.0, 30.0, 500)
    depth = 0.3 + 0.1 * labels[:, 1:4] / np.array([5, 2.5, 0.5])
    profile = np.exp(-0.5 * ((grid.wavelength - LINES[:, None]) / 5.0) ** 2)
    flux = 1e6 * (labels[:, :1] / 5000) ** 4 * (1 - depth @ profile)
    return SyntheticLibrary(labels, flux, grid, 3000.0, LOW_T_BOX, {"name": "three lines"})


@pytest.mark.parametrize("components", [None, 8])
def test_a_saved_library_comes_back(tmp_path, components):
    library = small_library()
    library.save(tmp_path / "three.h5", components)
    back = SyntheticLibrary.load(tmp_path / "three.h5")
    np.testing.assert_allclose(back.flux, library.flux, rtol=6e-4 if components else 0)
    np.testing.assert_array_equal(back.labels, library.labels)
    assert back.grid.matches(library.grid, 0.0)
    assert back.label_space == LOW_T_BOX
    assert (back.resolution, dict(back.provenance)) == (3000.0, {"name": "three lines"})
    assert not list(tmp_path.glob("*.partial"))


def test_the_continuum_is_kept(tmp_path):
    library = small_library()
    nodes = np.array([8150.0, 8300.0, 8500.0])
    with_continuum = SyntheticLibrary(
        library.labels, library.flux, library.grid, 3000.0, LOW_T_BOX, {}, np.ones((30, 3), np.float32), nodes
    )
    with_continuum.save(tmp_path / "c.h5")
    back = SyntheticLibrary.load(tmp_path / "c.h5").select(np.array([3, 4]))
    assert back.continuum.shape == (2, 3)
    np.testing.assert_array_equal(back.continuum_wavelength, nodes)


def test_a_truncated_file_gives_one_clear_error(tmp_path):
    path = tmp_path / "three.h5"
    small_library().save(path)
    path.write_bytes(path.read_bytes()[:-4000])
    with pytest.raises(DataError, match=r"three\.h5: .*cut short"):
        SyntheticLibrary.load(path)


@pytest.mark.parametrize("name", ["labels", "flux_plain", "wavelength"])
def test_a_changed_number_is_found_by_the_checksum(tmp_path, name):
    path = tmp_path / "three.h5"
    small_library().save(path)
    with h5py.File(path, "r+") as file:
        file[name][0] = file[name][0] * 1.0001
    with pytest.raises(DataError, match="does not match its checksum"):
        SyntheticLibrary.load(path)


def test_a_changed_description_is_found_by_the_checksum(tmp_path):
    path = tmp_path / "three.h5"
    small_library().save(path)
    with h5py.File(path, "r+") as file:
        file.attrs["metadata"] = file.attrs["metadata"].replace("3000.0", "4000.0")
    with pytest.raises(DataError, match="does not match its checksum"):
        SyntheticLibrary.load(path)


def test_another_hdf5_file_is_refused(tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["flux"] = np.ones(3)
    with pytest.raises(DataError, match="expected format specvit-library-1"):
        SyntheticLibrary.load(tmp_path / "other.h5")
    with pytest.raises(DataError, match="no such file, expected a library file"):
        SyntheticLibrary.load(tmp_path / "absent.h5")


def test_an_unwritable_place_gives_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(RunError, match=r"cannot write .*a file stands where a folder is needed"):
        small_library().save(tmp_path / "file" / "three.h5")


def test_wrong_shapes_and_values_name_what_is_wrong():
    library = small_library()
    with pytest.raises(ShapeError, match=r"flux \(N, 500\)"):
        SyntheticLibrary(library.labels, library.flux[:, :-1], library.grid, 3000.0, LOW_T_BOX)
    bad = library.flux.copy()
    bad[7, 3] = np.nan
    with pytest.raises(DataError, match="spectrum 7"):
        SyntheticLibrary(library.labels, bad, library.grid, 3000.0, LOW_T_BOX)
    with pytest.raises(DomainError, match="teff"):
        SyntheticLibrary(library.labels + 3000, library.flux, library.grid, 3000.0, LOW_T_BOX)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 12), st.integers(0, 10_000), st.sampled_from([2e-4, 5e-4, 2e-3]))
def test_compression_never_misses_by_more_than_the_tolerance(components, seed, tolerance):
    rng = np.random.default_rng(seed)
    flux = rng.uniform(1, 1e6, (9, 1)) * np.exp(rng.normal(0, 0.3, (9, 40)))
    error = np.abs(lowrank.decode(lowrank.encode(flux, components, tolerance)) / flux - 1)
    assert error.max() <= tolerance + 1e-6


def test_the_builtin_library_is_the_stated_one():
    library = load_builtin()
    assert (len(library), library.grid.size, library.resolution) == (2098, 12288, 20000.0)
    assert library.label_space.names == LOW_T_BOX.names
    library.label_space.check(np.array([LOW_T_BOX.low, LOW_T_BOX.high]))
    assert library.grid.medium == "vacuum"
    assert library.continuum.shape == (2098, 313)
    assert len(library.provenance["design_index"]) == 2098
    assert (library.flux <= 1.02 * library.continuum.max(axis=1, keepdims=True)).all()


def test_package_data_stay_below_their_limit():
    assert sum(path.stat().st_size for path in PACKAGE_DATA.rglob("*") if path.is_file()) <= 15e6


def test_the_builtin_library_holds_the_computed_spectra():
    library = load_builtin()
    with np.load(COMPUTED) as stored:
        computed = dict(stored)
    np.testing.assert_array_equal(library.labels[computed["row"]], computed["labels"])
    np.testing.assert_allclose(library.grid.wavelength[::7], computed["wavelength"], rtol=1e-12)
    flux = computed["flux_u16"].astype(np.float64) * computed["flux_scale"][:, None]
    error = np.abs(library.flux[computed["row"], ::7] / flux - 1)
    stated = library.provenance["compression"]["relative_error"]
    assert error.max() <= 5.1e-4
    assert np.median(error) <= 2e-4
    np.testing.assert_allclose(np.sqrt(np.mean(error**2)), stated["rms"], rtol=0.1)
