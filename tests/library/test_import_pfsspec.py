"""The importer of pfsspec grids, on small HDF5 files with the keys their source code writes."""

import h5py
import numpy as np
import pytest

from specvit.errors import DataError, LabelError, WavelengthRangeError
from specvit.library.importers import LibraryWindow, import_pfsspec
from specvit.spectra.air import vacuum_to_air

WINDOW = LibraryWindow(8500.0, 8600.0, 20_000.0)
AXES = {"M_H": [-0.5, 0.0, 0.5], "T_eff": [4000.0, 4250.0], "log_g": [1.0, 1.5], "C_M": [0.0], "a_M": [0.0]}
LINE = 8544.438


def write_grid(path, early=False, air=False, attributes=None, empty=((0, 0, 0, 0, 0),), continuum=True):
    vacuum = np.exp(np.arange(np.log(8450.0), np.log(8650.0), 1 / 100_000))
    shape = tuple(len(v) for v in AXES.values())
    flux = np.full((*shape, vacuum.size), np.nan)
    index = np.zeros(shape, dtype=bool)
    for cell in np.ndindex(shape):
        if cell not in empty:
            depth = 0.1 + 0.2 * cell[0] + 0.05 * cell[1]
            flux[cell] = 1 - depth * np.exp(-0.5 * ((vacuum - LINE) / 0.5) ** 2)
            index[cell] = True
    with h5py.File(path, "w") as file:
        for order, (name, values) in enumerate(AXES.items()):
            file[f"grid/axes/{name}" if early else f"grid/axes/{order}/{name}"] = np.array(values)
        file["grid"].attrs["type"] = "ArrayGrid"
        file["grid/arrays/flux/value"], file["grid/arrays/flux/index"] = flux, index
        if continuum:
            file["grid/arrays/cont/value"] = np.where(np.isnan(flux), np.nan, 1.0)
        if early:
            file["wave"] = vacuum
            return
        file["modelgrid/wave"] = vacuum_to_air(vacuum) if air else vacuum
        group = file["modelgrid"].attrs
        group["type"], group["config"], group["config_pca"], group["config_rbf"] = (
            "ModelGrid",
            "Bosz",
            False,
            False,
        )
        group["is_wave_regular"], group["is_wave_lin"], group["is_wave_log"] = True, False, True
        if air:
            group["is_wave_vacuum"] = False
        for name, value in (attributes or {}).items():
            group[name] = value


@pytest.mark.parametrize("options", [{}, {"early": True}, {"air": True}, {"continuum": False}])
def test_filled_cells_become_spectra_with_their_labels(tmp_path, options):
    write_grid(tmp_path / "grid.h5", **options)
    library = import_pfsspec(tmp_path / "grid.h5", 50_000, WINDOW)
    assert library.label_space.names == ("teff", "log_g", "m_h")
    assert len(library) == 11
    assert library.provenance["empty_cells"] == 1
    assert library.provenance["fixed_labels"] == {"alpha_m": 0.0, "c_m": 0.0}
    assert (library.continuum is None) == (options == {"continuum": False})
    equivalent_width = (1 - library.flux).sum(axis=1)
    row = {tuple(labels): k for k, labels in enumerate(library.labels)}
    weak, strong = row[(4250.0, 1.0, -0.5)], row[(4250.0, 1.0, 0.5)]
    assert equivalent_width[strong] / equivalent_width[weak] == pytest.approx(0.55 / 0.15, rel=1e-3)
    centre = ((1 - library.flux[strong]) * library.grid.wavelength).sum() / equivalent_width[strong]
    assert centre == pytest.approx(LINE, abs=2e-3)


def test_limits_and_workers(tmp_path):
    write_grid(tmp_path / "grid.h5")
    one = import_pfsspec(tmp_path / "grid.h5", 50_000, WINDOW, {"m_h": (0, 1)})
    two = import_pfsspec(tmp_path / "grid.h5", 50_000, WINDOW, {"m_h": (0, 1)}, workers=2)
    assert len(one) == 8
    np.testing.assert_array_equal(one.flux, two.flux)


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"continuum_model": "alex"}, r"divided by a fitted continuum \('alex'\)"),
        ({"config_pca": True}, "compressed or interpolated"),
        ({"config_rbf": True}, "compressed or interpolated"),
    ],
)
def test_derived_grids_are_refused(tmp_path, attributes, message):
    write_grid(tmp_path / "grid.h5", attributes=attributes)
    with pytest.raises(DataError, match=f"grid.h5: .*{message}"):
        import_pfsspec(tmp_path / "grid.h5", 50_000, WINDOW)


def test_nan_in_a_filled_cell_names_it(tmp_path):
    write_grid(tmp_path / "grid.h5")
    with h5py.File(tmp_path / "grid.h5", "a") as file:
        file["grid/arrays/flux/value"][2, 1, 0, 0, 0, 1000] = np.nan
    with pytest.raises(DataError, match=r"grid\.h5\[2, 1, 0, 0, 0\]: flux is not finite"):
        import_pfsspec(tmp_path / "grid.h5", 50_000, WINDOW)


@pytest.mark.parametrize("missing", ["grid/axes", "modelgrid/wave", "grid/arrays/flux/value"])
def test_missing_keys_are_named(tmp_path, missing):
    write_grid(tmp_path / "grid.h5")
    with h5py.File(tmp_path / "grid.h5", "a") as file:
        del file[missing]
    with pytest.raises(DataError, match=f"has no '{missing}'"):
        import_pfsspec(tmp_path / "grid.h5", 50_000, WINDOW)


def test_files_that_are_no_grids(tmp_path):
    with pytest.raises(DataError, match="no such file"):
        import_pfsspec(tmp_path / "absent.h5", 50_000)
    (tmp_path / "text.h5").write_text("not hdf5")
    with pytest.raises(DataError, match=r"text\.h5: not an HDF5 file"):
        import_pfsspec(tmp_path / "text.h5", 50_000)
    write_grid(tmp_path / "grid.h5")
    with h5py.File(tmp_path / "grid.h5", "a") as file:
        del file["modelgrid/wave"]
        file["modelgrid/wave"] = np.linspace(8400, 8700, 50)
    with pytest.raises(DataError, match="but the axes"):
        import_pfsspec(tmp_path / "grid.h5", 50_000)


def test_nan_in_the_continuum_of_a_filled_cell_names_it(tmp_path):
    write_grid(tmp_path / "grid.h5")
    with h5py.File(tmp_path / "grid.h5", "a") as file:
        file["grid/arrays/cont/value"][2, 1, 0, 0, 0, 1000] = np.nan
    with pytest.raises(DataError, match=r"grid\.h5\[2, 1, 0, 0, 0\]: continuum is not finite"):
        import_pfsspec(tmp_path / "grid.h5", 50_000, WINDOW)


def test_indices_of_flux_and_continuum_are_honoured(tmp_path):
    write_grid(tmp_path / "grid.h5")
    with h5py.File(tmp_path / "grid.h5", "a") as file:
        # Values of a model that failed may be anything; its index says so.
        file["grid/arrays/flux/index"][2, 1, 0, 0, 0] = False
        file["grid/arrays/flux/value"][2, 1, 0, 0, 0] = 7.0
        file["grid/arrays/cont/index"] = file["grid/arrays/flux/index"][()]
    library = import_pfsspec(tmp_path / "grid.h5", 50_000, WINDOW)
    assert len(library) == 10
    assert library.continuum is not None
    assert library.provenance["left_out"] == {"empty cells": 2}
    with h5py.File(tmp_path / "grid.h5", "a") as file:
        file["grid/arrays/cont/index"][1, 0, 0, 0, 0] = False
        file["grid/arrays/cont/value"][1, 0, 0, 0, 0] = np.nan
    library = import_pfsspec(tmp_path / "grid.h5", 50_000, WINDOW, {"m_h": (0, 1)})
    assert library.continuum is None
    assert library.provenance["left_out"] == {
        "empty cells": 2,
        "outside the limits": 3,
        "continua, as some are not valid": 1,
    }
    with pytest.raises(LabelError, match="unknown label 'vmic'"):
        import_pfsspec(tmp_path / "grid.h5", 50_000, WINDOW, {"vmic": (0, 1)})


def test_the_reach_of_the_file_is_told_not_that_of_the_part_read(tmp_path):
    write_grid(tmp_path / "grid.h5")
    with pytest.raises(WavelengthRangeError, match=r"covers 8450\.0-8650\.0 .*inside 8452\.\d-8647\.\d Å"):
        import_pfsspec(tmp_path / "grid.h5", 50_000, LibraryWindow(8000.0, 8600.0, 20_000.0))
