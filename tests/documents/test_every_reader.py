"""The kind: whatever reads a file, when the system does not give it, says why, and never advises to lose it."""

import ast
import errno
import io
import os
from pathlib import Path

import h5py
import numpy as np
import pytest
import safetensors.torch
import torch

import specvit
from described import PLAIN
from specvit.documents import dump_toml
from specvit.documents.hdf5 import open_hdf5
from specvit.documents.npz import read_npz
from specvit.errors import SpecvitError
from specvit.estimators.choice import load_estimator
from specvit.instrument import Instrument
from specvit.library import Emulator, SyntheticLibrary
from specvit.library.catalogue import describe_library
from specvit.library.download import damage
from specvit.library.importers.fits_file import open_fits
from specvit.library.importers.text_table import read_lines
from specvit.library.synthesis.atmosphere import read_atmospheres
from specvit.library.synthesis.design import read_design
from specvit.library.synthesis.lines import read_lines as read_line_list
from specvit.models.manifest import read_manifest as read_bundle_manifest
from specvit.runs import RunFolder
from specvit.runs.experts_record import read_experts_record
from specvit.runs.identity import file_digest
from specvit.runs.study_result import read_study_result
from specvit.simulate.manifest import read_manifest as read_set_manifest
from specvit.training.checkpoint import load_checkpoint

SOURCE = Path(specvit.__file__).parent

#: What opens a file, and the modules that may call it: they say the system's cause.
OPENERS = {
    "read_bytes", "read_text", "open", "load", "loadtxt", "genfromtxt", "safe_open", "File",
}  # fmt: skip
TELL = {
    "documents/opening.py", "documents/hdf5.py", "documents/toml.py",
    # What the system says of these is told by `check_readable` before, or by `access_error` after.
    "library/emulator_file.py", "training/checkpoint.py", "instrument/tables.py", "runs/identity.py",
    "starlist/inputs.py", "starlist/parts.py",
    # They write, under `disk_errors` or for one process: nothing is read that a user gave.
    "runs/atomic.py", "runs/folder.py", "simulate/shards.py", "library/library_file.py", "runs/locks.py",
    "library/synthesis/isolated.py", "library/download.py", "cli/terminal.py",
    "represent/latents_file.py",
    # Observed spectra have words of their own.
    "observed/files.py", "observed/texts.py",
    # Files of the package itself and of the system.
    "hub/site.py", "report/page.py", "report/plain_page.py", "report/style.py", "runs/provenance.py", "numerics/products.py",
}  # fmt: skip
GUESSES = ("truncated", "damaged", "delete", "cut short", "download it again", "not a complete", "Errno")


def opened_in(path):
    """Names of the calls in a module that open a file by a path: not those of our own classes or of bytes in memory."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        name = getattr(node.func, "attr", getattr(node.func, "id", None))
        owner = getattr(getattr(node.func, "value", None), "id", "")
        ours = owner[:1].isupper() or owner in ("self", "cls", "typer", "archive")
        in_memory = any(
            isinstance(a, ast.Call) and getattr(a.func, "attr", "") == "BytesIO" for a in node.args
        )
        plain = isinstance(node.func, ast.Name)
        # `load` of NumPy and PyTorch, not of our own readers.
        foreign = name != "load" or owner in ("np", "torch")
        if (
            name in OPENERS
            and foreign
            and not ours
            and not in_memory
            and not (plain and name == "read_bytes")
        ):
            found.add(name)
    return found


def test_only_those_open_files_that_tell_the_systems_cause():
    opening = {
        path.relative_to(SOURCE).as_posix(): opened_in(path)
        for path in sorted(SOURCE.rglob("*.py"))
        if opened_in(path)
    }
    others = {name: calls for name, calls in opening.items() if name not in TELL}
    assert not others, f"{others}: read with documents.opening.read_bytes, which says why a file is not given"
    assert not TELL - opening.keys()


def test_no_message_advises_to_delete_what_was_given():
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Raise):
                said = " ".join(
                    n.value
                    for n in ast.walk(node)
                    if isinstance(n, ast.Constant) and isinstance(n.value, str)
                )
                assert "delete it" not in said, f"{path}:{node.lineno}: {said}"


def _toml(folder):
    path = folder / "mine.toml"
    path.write_text(dump_toml(PLAIN), encoding="utf-8")
    return path


def _with_tables(folder):
    np.savez(folder / "wave.npz", wave=8400 + 0.8 * np.arange(200))
    described = PLAIN | {"grid": {"table": "wave"}, "tables": {"file": "wave.npz"}}
    (folder / "tabled.toml").write_text(dump_toml(described), encoding="utf-8")
    return folder / "wave.npz"


def _file(name):
    def made(folder):
        path = folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"content")
        return path

    return made


def _hdf5(folder):
    with h5py.File(folder / "a.h5", "w") as file:
        file["values"] = np.ones(3)
    return folder / "a.h5"


def _tensors(folder):
    safetensors.torch.save_file({"a": torch.ones(2)}, folder / "a.safetensors")
    return folder / "a.safetensors"


#: name -> (what makes the file, what reads it from its path).
READERS = {
    "emulator": (_tensors, Emulator.load),
    "library": (_hdf5, SyntheticLibrary.load),
    "library info": (_hdf5, lambda path: describe_library(str(path))),
    "hdf5": (_hdf5, lambda path: open_hdf5(path, "parcel", "wrap it").__enter__()),
    "npz": (_with_tables, lambda path: read_npz(path, "make it")),
    "text table": (_file("a.gz"), read_lines),
    "FITS table": (_file("a.fits"), lambda path: open_fits(path).__enter__()),
    "design": (_file("a.csv"), read_design),
    "line list": (_file("a.lin"), read_line_list),
    "atmosphere": (_file("a.krz"), lambda path: read_atmospheres([path])),
    "instrument": (_toml, Instrument.load),
    "tables": (_with_tables, lambda path: Instrument.load(path.parent / "tabled.toml")),
    "stored set": (_file("set/manifest.json"), lambda path: read_set_manifest(path.parent)),
    "estimator": (_file("bundle/manifest.json"), lambda path: load_estimator(path.parent)),
    "bundle manifest": (_file("bundle/manifest.json"), lambda path: read_bundle_manifest(path.parent)),
    "run": (_file("run/provenance.json"), lambda path: RunFolder(path.parent).provenance),
    "study result": (_file("a.json"), read_study_result),
    "experts record": (_file("a.json"), read_experts_record),
    "digest": (_file("a.json"), file_digest),
    "checkpoint": (_file("checkpoint.pt"), lambda path: load_checkpoint(path.parent, {})),
}


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO, errno.ESTALE, errno.EAGAIN])
@pytest.mark.parametrize("name", READERS)
def test_what_the_system_says_is_what_is_told(tmp_path, monkeypatch, name, number):
    make, read = READERS[name]
    path = make(tmp_path)
    really, opened = io.open, h5py.File

    def refuse(file, *arguments, **options):
        if isinstance(file, str | os.PathLike) and Path(file) == path:
            raise OSError(number, os.strerror(number), str(file))
        return really(file, *arguments, **options)

    def refuse_hdf5(file, *arguments, **options):
        if Path(file) == path:
            raise OSError(f"Unable to open file (errno = {number}, error message = '{os.strerror(number)}')")
        return opened(file, *arguments, **options)

    monkeypatch.setattr(io, "open", refuse)
    monkeypatch.setattr("builtins.open", refuse)
    monkeypatch.setattr(h5py, "File", refuse_hdf5)
    with pytest.raises(SpecvitError) as caught:
        read(path)
    said = str(caught.value)
    cause = {
        errno.EACCES: r"no permission|in use",  # HDF5 is forbidden a lock on some drives, not the file
        errno.EAGAIN: "in use by",
    }.get(number, "its disk or network drive does not answer")
    assert any(one in said for one in cause.split("|")), said
    assert path.name in said
    assert not [guess for guess in GUESSES if guess in said], said
    assert path.exists()


def test_what_arrived_is_not_thrown_away_because_the_disk_does_not_answer(tmp_path, monkeypatch):
    path = tmp_path / "a.gz.partial"
    path.write_bytes(b"content")
    assert "gzip" in damage(path, ".gz").lower()

    def refuse(*arguments, **options):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr("builtins.open", refuse)
    with pytest.raises(OSError, match="Input/output"):
        damage(path, ".gz")
