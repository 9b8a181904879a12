"""Arrays of npz files: sizes are checked before memory is asked for, and objects are refused."""

import io
import zipfile

import numpy as np
import pytest

from specvit.documents.npz import parse_npz, read_npz
from specvit.errors import DataError


def packed(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return buffer.getvalue()


def npy(values):
    buffer = io.BytesIO()
    np.save(buffer, values, allow_pickle=True)
    return buffer.getvalue()


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back_as_written(tmp_path, save):
    arrays = {
        "a": np.arange(6.0).reshape(2, 3),
        "b": np.array(["x", "yz"]),
        "c": np.array(3),
        "d": np.zeros((0, 4)),
    }
    save(tmp_path / "a.npz", **arrays)
    found = read_npz(tmp_path / "a.npz", "mend")
    assert found.keys() == arrays.keys()
    for name, values in arrays.items():
        assert found[name].dtype == values.dtype
        np.testing.assert_array_equal(found[name], values)


@pytest.mark.parametrize("shape", [b"(9000000000000, )", b"(2, )", b"(-3, )", b"(3, 10000000)"])
def test_a_size_the_file_does_not_have_is_refused_by_name(shape):
    whole = npy(np.zeros(3))
    header = whole[10:128].rstrip(b"\n ").replace(b"(3,)", shape).ljust(117) + b"\n"
    content = whole[:10] + header + whole[128:]
    with pytest.raises(DataError, match=r"here is damaged: .*'a' declares shape .* but has 24 bytes; mend"):
        parse_npz(packed(a=content), "here", "mend")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"PK\x03\x04 no zip",
        packed(a=b"\x93NUMPY"),
        packed(a=npy(np.zeros(3))[:90]),
        packed(a=npy(np.array([{}, None], dtype=object))),
        packed(a=npy(np.zeros(3)).replace(b"<f8", b"<z9")),
        packed(a=npy(np.zeros(3)))[:-30],
    ],
)
def test_damage_is_one_line_that_names_the_file(content):
    with pytest.raises(DataError, match=r"^here is damaged: [^\n]*; mend$"):
        parse_npz(content, "here", "mend")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"a\.npz: no such file, expected a numpy npz file; mend"):
        read_npz(tmp_path / "a.npz", "mend")
