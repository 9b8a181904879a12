"""No file that specvit reads can run code: no reader unpickles, and the source has no call that could."""

import ast
import contextlib
import hashlib
import io
import json
import pickle
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

import specvit
from specvit.estimators import load_estimator
from specvit.instrument.schema import TablesSection
from specvit.instrument.tables import Tables
from specvit.library import Emulator
from specvit.library.importers.bosz2017 import read_spectrum
from specvit.library.importers.bosz2024 import read_wavelengths
from specvit.library.importers.nodes import Node
from specvit.library.importers.pfsspec import read_layout
from specvit.library.library_file import read_library_file
from specvit.library.synthesis.atmosphere import read_atmospheres
from specvit.models import Bundle, Origin, save_bundle
from specvit.models.manifest import MANIFEST, TENSORS, checksum
from specvit.runs import RunFolder
from specvit.simulate import StoredSpectra, World
from specvit.simulate.reference_shards import ReferenceShards
from specvit.spectra import LOW_T_BOX, WavelengthGrid
from specvit.training.checkpoint import NAME as CHECKPOINT
from specvit.training.checkpoint import load_checkpoint

SOURCE = Path(specvit.__file__).parent

#: Modules that are, or that read with, pickle.
UNPICKLERS = {"pickle", "_pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "tables"}
#: What may be used of them: the exception that `torch.load(weights_only=True)` raises.
HARMLESS = {"UnpicklingError"}
RUNNING = {"eval", "exec", "__import__"}
READING = {"read_hdf", "read_pickle", "HDFStore"}


def dangers(source):
    """Return what a module does that could run code found in a file."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            names = {alias.name for alias in node.names}
            if (node.module or "").split(".")[0] in UNPICKLERS and not names <= HARMLESS:
                found.add(f"from {node.module} import {', '.join(sorted(names))}")
            found |= names & READING
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names} & (UNPICKLERS - {"pickle"})
        elif isinstance(node, ast.Attribute):
            if isinstance(node.value, ast.Name) and node.value.id == "pickle" and node.attr not in HARMLESS:
                found.add(f"pickle.{node.attr}")
            found |= {node.attr} & READING
        elif isinstance(node, ast.Call):
            found |= called(node)
    return found


def called(node):
    name = ast.unparse(node.func)
    keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    if name in RUNNING:
        return {name}
    if name == "torch.load" and keywords.get("weights_only") != "True":
        return {"torch.load"}
    if keywords.get("allow_pickle", "False") != "False":
        return {"allow_pickle"}
    return set()


def test_no_module_calls_what_could_run_code_from_a_file():
    found = {str(path.relative_to(SOURCE)): dangers(path.read_text()) for path in SOURCE.rglob("*.py")}
    assert {path: calls for path, calls in found.items() if calls} == {}


@pytest.mark.parametrize(
    "line",
    [
        "import joblib",
        "from pickle import loads",
        "import pickle; pickle.load(file)",
        "pandas.read_hdf(path)",
        "from pandas import read_pickle",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "np.load(path, allow_pickle=flag)",
        "eval(text)",
        "exec(text)",
    ],
)
def test_the_scan_sees(line):
    assert dangers(line)


def test_the_scan_lets_harmless_lines_pass():
    harmless = "network.eval(); np.load(path); torch.load(path, weights_only=True); re.compile('a')"
    assert dangers(f"import pickle\ntry: pass\nexcept pickle.UnpicklingError: pass\n{harmless}") == set()


class Planted:
    """Unpickling one of these makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def in_memory(write):
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


def hdf5_of(planted):
    def write(stream):
        with h5py.File(stream, "w") as file:
            for key in ("wave", "flux", "labels", "wavelength", "dataset/params/block0_values"):
                dataset = file.create_dataset(key, (1,), h5py.vlen_dtype(np.uint8))
                dataset[0] = np.frombuffer(pickle.dumps(planted), np.uint8)
                dataset.attrs["PSEUDOATOM"] = np.bytes_("object")
            for name in ("format", "metadata", "world", "label_space", "pandas_type"):
                file.attrs[name] = np.bytes_(pickle.dumps(planted, 0))

    return in_memory(write)


#: What could lie under a file's name, made from an object whose unpickling is seen.
CONTENTS = {
    "pickle in text": lambda planted: pickle.dumps(planted, 0),
    "pickle": pickle.dumps,
    "npy of objects": lambda planted: in_memory(
        lambda stream: np.save(stream, np.array([planted], dtype=object), allow_pickle=True)
    ),
    "npz of objects": lambda planted: in_memory(
        lambda stream: np.savez(stream, **dict.fromkeys(("wave", "teff"), np.array([planted], dtype=object)))
    ),
    "torch": lambda planted: in_memory(lambda stream: torch.save({"state": planted}, stream)),
    "old torch": lambda planted: in_memory(
        lambda stream: torch.save(planted, stream, _use_new_zipfile_serialization=False)
    ),
    "HDF5 of objects": hdf5_of,
}


def stored_set(folder, content):
    manifest = {"format": "specvit-spectra", "format_version": 1, "world": World().to_dict(), "split": "test"}
    manifest |= {"seed": 1, "spectra": 1, "truth": False, "emulator": "0" * 16, "shards": ["a.h5"]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "a.h5").write_bytes(content)
    StoredSpectra(folder)


def stored_manifest(folder, content):
    (folder / "manifest.json").write_bytes(content)
    StoredSpectra(folder)


def run_arrays(folder, content):
    run = RunFolder(folder)
    (folder / "arrays").mkdir()
    (folder / "arrays" / "a.npz").write_bytes(content)
    run.read_arrays("a")


def saved_estimator(folder, content):
    """A bundle whose weights were replaced and whose checksums were made right again."""
    origin = Origin(WavelengthGrid.linear(8000, 1, 4), LOW_T_BOX)
    save_bundle(Bundle("ridge", origin, {}, {}, {}), folder / "saved")
    manifest = json.loads((folder / "saved" / MANIFEST).read_text())
    manifest["files"][TENSORS] = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content)}
    del manifest["sha256"]
    manifest["sha256"] = checksum(manifest)
    (folder / "saved" / MANIFEST).write_text(json.dumps(manifest))
    (folder / "saved" / TENSORS).write_bytes(content)
    load_estimator(folder / "saved")


def at(name, read):
    """Return a reader of content that is first put into a file of that name."""

    def write_and_read(folder, content):
        path = folder / name
        path.write_bytes(content)
        read(path)

    return write_and_read


#: Every kind of file that specvit reads, by what reads it.
READERS = {
    "reference dataset": at("dataset.h5", ReferenceShards),
    "shard": stored_set,
    "manifest of shards": stored_manifest,
    "library": at("library.h5", read_library_file),
    "pfsspec grid": at("spectra.h5", read_layout),
    "BOSZ 2017 spectrum": at("a.asc", lambda path: read_spectrum(Node(path, {}, 20000.0), 8000.0, 8100.0)),
    "BOSZ 2024 wavelengths": at("a.txt", read_wavelengths),
    "model atmosphere": at("a.mod", lambda path: read_atmospheres([path])),
    "structure": at("a.npz", lambda path: read_atmospheres([path])),
    "emulator": at("emulator.npz", Emulator.load),
    "instrument tables": at(
        "tables.npz", lambda path: Tables.load(TablesSection(file=path.name), path.parent, "a.toml")
    ),
    "instrument": at("instrument.toml", lambda path: World(instrument=str(path)).build()),
    "arrays of a run": run_arrays,
    "checkpoint": at(CHECKPOINT, lambda path: load_checkpoint(path.parent, {})),
    "saved estimator": saved_estimator,
}


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("reader", READERS)
def test_no_reader_runs_what_lies_in_its_file(tmp_path, reader, content):
    touched, folder = tmp_path / "touched", tmp_path / "given"
    folder.mkdir()
    with contextlib.suppress(Exception):  # how each reader refuses is tested beside it
        READERS[reader](folder, CONTENTS[content](Planted(touched)))
    assert not touched.exists()


@pytest.mark.parametrize("content", ["pickle in text", "pickle"])
def test_a_planted_object_would_be_seen(tmp_path, content):
    pickle.loads(CONTENTS[content](Planted(tmp_path / "touched"))).close()
    assert (tmp_path / "touched").exists()
