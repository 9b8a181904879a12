"""HDF5 files: the true cause when one cannot be opened, and parts that are refused before they are used."""

import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from specvit.documents.hdf5 import INTEGERS, TEXT, open_hdf5
from specvit.errors import DataError


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        file["group/numbers"] = np.arange(12.0).reshape(3, 4)
        file["integers"] = np.arange(5)
        file["texts"] = ["a", "µ"]
        file["fixed"] = np.array([b"a", b"b"])
        file.attrs.update({"text": "words", "number": 3, "floating": 2.5, "truth": True, "list": [1, 2]})
        file.attrs["description"] = '{"width": 3}'
        file.attrs["nan"] = np.nan
    return path


def opened(path):
    return open_hdf5(path, "parcel", "run `wrap` again")


def refusal(path, read):
    with pytest.raises(DataError) as caught, opened(path) as file:
        read(file)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    return message.removeprefix(f"{path}: ")


def test_good_parts_are_given_back(path):
    with opened(path) as file:
        np.testing.assert_array_equal(file.array("group/numbers", (3, None)), np.arange(12.0).reshape(3, 4))
        np.testing.assert_array_equal(file.dataset("integers", (None,)).read(slice(1, 3)), [1, 2])
        assert file.texts("texts", 2) == ["a", "µ"]
        assert file.texts("fixed") == ["a", "b"]
        assert file.members("group") == ["numbers"]
        assert ("integers" in file, "group/none" in file, "integers/x" in file) == (True, False, False)
        assert file.attribute("text", str) == "words"
        assert file.attribute("number", int) == 3
        assert file.attribute("number", float) == 3.0
        assert file.attribute("floating", float) == 2.5
        assert file.attribute("truth", bool) is True
        assert file.json("description", lambda found: found["width"]) == 3


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (lambda f: f.array("none", (3,)), "has no 'none'; is it a whole parcel? copy it again, or run `wrap`"),
        (lambda f: f.array("group", (3,)), "'group' is a group, expected an array"),
        (lambda f: f.members("integers"), "'integers' is an array of integers, expected a group"),
        (lambda f: f.array("integers", (6,)), "'integers' has shape 5, expected 6"),
        (lambda f: f.array("integers", (5, None)), "'integers' has shape 5, expected 5 x any"),
        (lambda f: f.array("integers", ()), "'integers' has shape 5, expected a single value"),
        (lambda f: f.array("texts", (2,)), "'texts' is an array of text, expected an array of floats or inte"),
        (lambda f: f.array("group/numbers", (3, 4), INTEGERS), "is an array of floats, expected an array of int"),
        (lambda f: f.array("integers", (5,), TEXT), "is an array of integers, expected an array of text"),
        (lambda f: f.attribute("none", str), "has no attribute 'none'"),
        (lambda f: f.attribute("none", str, "group"), "has no attribute 'none' of 'group'"),
        (lambda f: f.attribute("text", int), "attribute 'text' is 'words', expected an integer"),
        (lambda f: f.attribute("floating", int), "expected an integer"),
        (lambda f: f.attribute("number", str), "expected text"),
        (lambda f: f.attribute("number", bool), "expected true or false"),
        (lambda f: f.attribute("list", int), "attribute 'list' is not a single value, expected an integer"),
        (lambda f: f.attribute("nan", float), "attribute 'nan' is np.float64(nan), expected a number"),
        (lambda f: f.json("text", dict), "attribute 'text': not valid JSON"),
        (lambda f: f.json("description", lambda d: d["height"]), "'description': has no entry 'height'"),
        (lambda f: f.json("description", lambda d: d[0]), "'description': has no entry 0"),
        (lambda f: f.json("description", lambda d: d.x), "'description': not of the expected form"),
    ],
)  # fmt: skip
def test_a_part_that_is_missing_or_of_another_kind_is_named(path, read, message):
    assert message in refusal(path, read)


def test_json_nested_beyond_measure_is_refused(path):
    with h5py.File(path, "a") as file:
        file.attrs["description"] = "[" * 30_000
    assert "not valid JSON" in refusal(path, lambda f: f.json("description", list))


@pytest.mark.parametrize("options", [{}, {"chunks": (1, 1024)}, {"chunks": (1, 1024), "compression": "gzip"}])
@pytest.mark.parametrize("shape", [(2**40, 2**12), (2**20, 2**12), (3, 4096)])
def test_a_declared_size_that_is_not_stored_is_refused_before_memory_is_asked_for(path, shape, options):
    with h5py.File(path, "a") as file:
        file.create_dataset("huge", shape, "f4", **options)
    assert "are stored" in refusal(path, lambda f: f.array("huge", (None, None)))
    with opened(path) as file:
        np.testing.assert_array_equal(file.dataset("huge", shape, sparse=True).read((0, slice(2))), [0, 0])


@pytest.mark.parametrize("compression", [None, "gzip", "lzf"])
def test_packed_constants_are_not_taken_for_unwritten(path, compression):
    with h5py.File(path, "a") as file:
        file.create_dataset("zeros", data=np.zeros((500, 4096)), chunks=(50, 4096), compression=compression)
    with opened(path) as file:
        assert not file.array("zeros", (500, 4096)).any()


def test_arrays_that_lie_in_other_files_are_refused(path, tmp_path):
    with h5py.File(tmp_path / "other.h5", "w") as other:
        other["secret"] = np.arange(3.0)
    (tmp_path / "raw").write_bytes(bytes(24))
    with h5py.File(path, "a") as file:
        file["link"] = h5py.ExternalLink(tmp_path / "other.h5", "secret")
        file.create_dataset("raw", (3,), "f8", external=[(str(tmp_path / "raw"), 0, 24)])
        layout = h5py.VirtualLayout((3,), "f8")
        layout[:] = h5py.VirtualSource(tmp_path / "other.h5", "secret", (3,))
        file.create_virtual_dataset("virtual", layout)
        file["dangling"] = h5py.SoftLink("/nowhere")
    assert "points into another file" in refusal(path, lambda f: f.array("link", (3,)))
    for key in ("raw", "virtual"):
        assert "keeps its values in other files" in refusal(path, lambda f, key=key: f.array(key, (3,)))
    assert "has no 'dangling'" in refusal(path, lambda f: f.array("dangling", (3,)))


def test_damage_inside_an_array_is_found_on_reading(path):
    with h5py.File(path, "a") as file:
        packed = file.create_dataset(
            "packed", data=np.random.default_rng(0).normal(size=999), compression="gzip"
        )
        place = packed.id.get_chunk_info(0).byte_offset
    content = bytearray(path.read_bytes())
    content[place : place + 40] = bytes(40)
    path.write_bytes(content)
    assert "'packed' cannot be read" in refusal(path, lambda f: f.array("packed", (999,)))


def nothing(file):
    raise AssertionError("was opened")


def test_what_cannot_be_opened_is_said_with_its_cause(path, tmp_path):
    whole = path.read_bytes()
    assert refusal(tmp_path / "none.h5", nothing) == "no such file, expected a parcel; run `wrap` again"
    assert "is a folder, expected a parcel" in refusal(tmp_path, nothing)
    os.mkfifo(tmp_path / "pipe")
    assert "is no regular file" in refusal(tmp_path / "pipe", nothing)
    path.write_bytes(whole[:2000])
    assert refusal(path, nothing).startswith("is cut short (truncated file: eof = 2000")
    path.write_bytes(b"")
    assert "is empty (0 bytes)" in refusal(path, nothing)
    path.write_bytes(b"wavelength,flux\n" * 100)
    assert "not an HDF5 file, expected a parcel" in refusal(path, nothing)


def test_a_file_without_permission_is_not_called_damaged(path, monkeypatch):
    def refuse(*_):
        raise PermissionError(13, "Unable to open file (unable to open file: errno = 13)")

    monkeypatch.setattr("specvit.documents.hdf5.h5py.File", refuse)
    monkeypatch.setattr("specvit.documents.hdf5.os.access", lambda *_: False)
    message = refusal(path, nothing)
    assert "no permission to read it" in message
    assert "delete" not in message


def test_a_locked_file_is_not_called_damaged(path):
    script = (
        "import sys\nfrom pathlib import Path\nfrom specvit.documents.hdf5 import open_hdf5\n"
        "with open_hdf5(Path(sys.argv[1]), 'parcel', 'wrap'): pass"
    )
    with h5py.File(path, "a"):
        done = subprocess.run([sys.executable, "-c", script, str(path)], capture_output=True, text=True)
    message = done.stderr.splitlines()[-1]
    assert "in use by a process that is writing it (unable to lock file" in message
    assert "delete" not in message
