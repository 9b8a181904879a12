"""A file that the system does not give is told with the system's cause, and never called damaged."""

import errno
import os
from pathlib import Path

import h5py
import numpy as np
import pytest

from specvit.documents.hdf5 import open_hdf5
from specvit.documents.opening import read_bytes
from specvit.errors import AccessError, DataError
from specvit.library import Emulator
from specvit.library.catalogue import describe_library
from specvit.library.importers.text_table import read_lines

GUESSES = ("truncated", "damaged", "delete", "download it again", "not a complete", "not a specvit library")
CAUSES = [
    (errno.EACCES, "no permission to read it"),
    (errno.EAGAIN, "in use by another process"),
    (errno.EBUSY, "in use by another process"),
    (errno.EIO, "its disk or network drive does not answer"),
    (errno.ESTALE, "its disk or network drive does not answer"),
    (errno.ETIMEDOUT, "its disk or network drive does not answer"),
    (errno.EMFILE, "too many files are open"),
    (errno.ENOMEM, "does not fit into memory"),
    (errno.ELOOP, "cannot be read"),
]
READERS = [
    lambda path: read_bytes(path, "parcel", "wrap it"),
    read_lines,
    Emulator.load,
]


@pytest.mark.parametrize(("number", "cause"), CAUSES)
@pytest.mark.parametrize("reader", READERS)
def test_every_reader_tells_the_systems_cause(tmp_path, monkeypatch, reader, number, cause):
    path = tmp_path / "a.gz"
    path.write_bytes(b"content")

    def refuse(self, *arguments, **options):
        raise OSError(number, os.strerror(number), str(self))

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(AccessError, match=cause) as caught:
        reader(path)
    assert not any(guess in str(caught.value) for guess in GUESSES)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("number", [errno.EIO, errno.ESTALE, errno.EMFILE, errno.EACCES])
def test_hdf5_files_too_and_their_parts(tmp_path, monkeypatch, number):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["values"] = np.ones(3)
    said = f"Unable to synchronously open file (file read failed, errno = {number}, error message = 'x')"

    def refuse(*arguments, **options):
        raise OSError(said)

    with open_hdf5(path, "parcel", "wrap it") as file:
        values = file.dataset("values", (3,))
        monkeypatch.setattr(h5py.Dataset, "__getitem__", refuse)
        with pytest.raises(AccessError, match="'values': ") as caught:
            values.read()
        assert not any(guess in str(caught.value) for guess in GUESSES)
    monkeypatch.setattr(h5py, "File", refuse)
    for reader in (
        lambda: open_hdf5(path, "parcel", "wrap it").__enter__(),
        lambda: describe_library(str(path)),
    ):
        with pytest.raises(AccessError) as caught:
            reader()
        assert not any(guess in str(caught.value) for guess in GUESSES)


def test_addresses_folders_absent_and_empty_files(tmp_path):
    for address in ("https://host/a.gz", "s3://bucket/a.gz"):
        with pytest.raises(AccessError, match="is an address, expected a parcel; download it first"):
            read_bytes(Path(address), "parcel", "wrap it")
    with pytest.raises(DataError, match="no such file, expected a parcel; wrap it"):
        read_bytes(tmp_path / "absent", "parcel", "wrap it")
    with pytest.raises(DataError, match="is a folder"):
        read_bytes(tmp_path, "parcel", "wrap it")
    (tmp_path / "empty").write_bytes(b"")
    with pytest.raises(DataError, match=r"is empty \(0 bytes\)"):
        read_bytes(tmp_path / "empty", "parcel", "wrap it")
