"""Libraries, emulators and grids whose checksums are right and whose content is not: one line, whatever changed."""

import json
import re
from functools import partial

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from damage import damaged_arrays, damaged_documents, refusal
from specvit.library import Emulator, SyntheticLibrary, emulator_file, library_file
from specvit.library.catalogue import describe_library
from specvit.library.importers import import_pfsspec
from specvit.library.regressor import CoefficientNetwork
from specvit.spectra import LOW_T_BOX, WavelengthGrid
from test_import_pfsspec import WINDOW, write_grid

GRID = WavelengthGrid.linear(8000.0, 0.5, 16)
SPACE = LOW_T_BOX.select(["teff", "log_g"])
WRONG = re.compile(r"deleted|= (nan|seven|\{'a': 1\}|\[1\])$")


def small_library():
    rng = np.random.default_rng(0)
    labels = rng.uniform(SPACE.low, SPACE.high, (6, 2))
    continuum = np.ones((6, 3), np.float32)
    flux = rng.uniform(0.5, 1, (6, 16)).astype(np.float32)
    return SyntheticLibrary(
        labels, flux, GRID, 5000.0, SPACE, {"name": "small"}, continuum, GRID.wavelength[[0, 8, 15]]
    )


def small_emulator():
    torch.manual_seed(0)
    regressor = CoefficientNetwork(SPACE, 3, 4, 2)
    return Emulator(regressor, torch.ones(16), torch.randn(3, 16), GRID, 5000.0, SPACE, {"date": "now"})


def write_hdf5(path, arrays, description):
    """Write what may be a library, with a checksum that is right."""
    with h5py.File(path, "w") as file:
        for name, values in arrays.items():
            file[name] = values.astype("S") if values.dtype.kind == "U" else values
        # Of what lies in the file, as a reader would find it.
        stored = {name: file[name][()] for name in file}
        file.attrs["format"], file.attrs["metadata"] = library_file.FORMAT, description
        file.attrs["sha256"] = library_file._digest(stored, description)


@pytest.fixture(params=[None, 3], ids=["plain", "compressed"])
def library(request, tmp_path):
    """Path, arrays and description of a small library."""
    path = tmp_path / "l.h5"
    small_library().save(path, request.param)
    with h5py.File(path) as file:
        return path, {name: file[name][()] for name in file}, json.loads(file.attrs["metadata"])


def test_every_array_of_a_library_is_checked(library):
    path, arrays, description = library
    for done, changed in damaged_arrays(arrays):
        if re.search("other float|flux_exact_.* empty", done):
            continue  # both are libraries still
        write_hdf5(path, changed, json.dumps(description, sort_keys=True))
        message = refusal(lambda: SyntheticLibrary.load(path))
        # Compressed flux holds for any finite numbers; that is what its checksum is for.
        assert str(path) in message or re.search("flux_exact_gap", done), done


def test_every_entry_of_a_library_is_checked(library):
    path, arrays, description = library
    taken = []
    for done, changed in damaged_documents(description):
        write_hdf5(path, arrays, json.dumps(changed, sort_keys=True))
        message = refusal(lambda: SyntheticLibrary.load(path))
        assert bool(refusal(lambda: describe_library(str(path)))) <= bool(message)
        taken += [] if message else [done]
    meant = re.compile("provenance( =|[.])|label_space.(units|names).[01] = seven")
    assert [done for done in taken if WRONG.search(done) and not meant.match(done)] == []


@pytest.mark.parametrize(
    "name", ["labels", "wavelength", "flux_plain", "continuum", "format", "metadata", "sha256"]
)
def test_other_things_under_the_names_of_a_library(tmp_path, name):
    """A group instead of an array, a huge shape with nothing in it, an attribute of another kind."""
    path = tmp_path / "l.h5"
    for other in ("group", "huge", "gone"):
        small_library().save(path)
        with h5py.File(path, "a") as file:
            if name in file.attrs:
                file.attrs[name] = {"group": 7, "huge": np.zeros(3), "gone": b"\xff"}[other]
            else:
                shape = file[name].shape
                del file[name]
                if other == "group":
                    file.create_group(name)
                if other == "huge":
                    file.create_dataset(name, (10**9, *shape[1:]), "f8", chunks=(16, *shape[1:]))
        assert str(path) in refusal(lambda: SyntheticLibrary.load(path))


def write_emulator(path, arrays, description):
    """Write what may be an emulator, with a checksum that is right."""
    tensors = {name: torch.from_numpy(np.array(values)) for name, values in arrays.items()}
    header = {"format": emulator_file.FORMAT, "metadata": description}
    save_file(tensors, path, header | {"sha256": emulator_file._digest(tensors, description)})


@pytest.fixture(params=[False, True], ids=["plain", "compact"])
def emulator(request, tmp_path):
    """Path, arrays and description of a small emulator."""
    path = tmp_path / "e.safetensors"
    small_emulator().save(path, compact=request.param)
    with emulator_file.safe_open(path, "np") as file:
        arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
        return path, arrays, json.loads(file.metadata()["metadata"])


def test_every_tensor_of_an_emulator_is_checked(emulator):
    path, arrays, description = emulator
    for done, changed in damaged_arrays(arrays, texts=False):
        write_emulator(path, changed, json.dumps(description, sort_keys=True))
        assert str(path) in refusal(lambda: Emulator.load(path)), done


def test_every_entry_of_an_emulator_is_checked(emulator):
    path, arrays, description = emulator
    taken = []
    for done, changed in damaged_documents(description):
        write_emulator(path, arrays, json.dumps(changed, sort_keys=True))
        taken += [] if refusal(lambda: Emulator.load(path)) else [done]
    meant = re.compile("(provenance|errors)( =|[.])|label_space.(units.|names.1 = seven)")
    assert [done for done in taken if WRONG.search(done) and not meant.match(done)] == []


@pytest.mark.parametrize("huge", [{"width": 900_000}, {"components": 999_999}, {"depth": 1000}])
def test_no_memory_is_asked_for_what_an_emulator_does_not_hold(emulator, huge):
    path, arrays, description = emulator
    description["regressor"] |= huge
    write_emulator(path, arrays, json.dumps(description, sort_keys=True))
    assert "regressor: " in refusal(lambda: Emulator.load(path))


def test_every_part_of_a_pfsspec_grid_is_checked(tmp_path):
    write_grid(tmp_path / "whole.h5")
    keys: list[str] = []
    with h5py.File(tmp_path / "whole.h5") as file:
        file.visit(keys.append)
        arrays = {key: file[key][()] for key in keys if isinstance(file[key], h5py.Dataset)}
        attributes = {key: dict(file[key].attrs) for key in ("grid", "modelgrid")}
    path = tmp_path / "grid.h5"
    read = partial(import_pfsspec, path, 50_000, WINDOW)
    for done, changed in damaged_arrays(arrays):
        with h5py.File(path, "w") as file:
            for key, values in changed.items():
                file[key] = values.astype("S") if values.dtype.kind == "U" else values
            for key, values in attributes.items():
                file.require_group(key).attrs.update(values)
        message = refusal(read)
        # The last pixel lies outside the window; a grid may lack a continuum.
        meant = "other float|index|[Ca]_M renamed|cont/value (deleted|renamed)|value with"
        assert "grid.h5" in message or re.search(meant, done), done
