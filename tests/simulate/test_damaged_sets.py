"""Stored spectra with any part missing or wrong: one line that names file and part, never a traceback."""

import json
import shutil

import h5py
import numpy as np
import pytest

from reference_dataset import write_shard
from specvit.cli import main
from specvit.errors import DataError
from specvit.simulate import StoredSpectra, World, WriteJob
from specvit.simulate.reference_shards import ReferenceShards
from specvit.spectra import collect

REFERENCE_READ = (
    *("spectrumdataset/wave", "dataset/arrays/flux/value", "dataset/arrays/error/value"),
    *("dataset/arrays/noisy/value", "dataset/params"),
)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    """A good file of each kind: a set of two shards with truth, and dataset files in both layouts."""
    folder = tmp_path_factory.mktemp("good")
    WriteJob(folder / "set", World(), "train", 3, 24, shards=2, truth=True).run()
    for layout in ("table", "fixed"):
        write_shard(folder / f"{layout}.h5", 70, noisy=True, layout=layout)
    return folder


@pytest.fixture
def stored(good, tmp_path):
    return shutil.copytree(good / "set", tmp_path / "set")


def keys_of(path):
    keys = []
    with h5py.File(path) as file:
        file.visit(keys.append)
    return keys


def huge(shape, **options):
    return lambda group, key: group.create_dataset(key, shape, "f4", **options)


MUTATIONS = {
    "missing": None,
    "group": lambda group, key: group.create_group(key),
    "text": lambda group, key: group.create_dataset(key, data="12"),
    "texts": lambda group, key: group.create_dataset(key, data=["1", "2"]),
    "single number": lambda group, key: group.create_dataset(key, data=1.0),
    "three axes": lambda group, key: group.create_dataset(key, data=np.ones((2, 2, 2))),
    "short": lambda group, key: group.create_dataset(key, data=np.ones(3, np.float32)),
    "objects": lambda group, key: group.create_dataset(key, (1,), h5py.vlen_dtype(np.uint8)),
    "records": lambda group, key: group.create_dataset(key, data=np.zeros(24, "i4,f8")),
    "complex": lambda group, key: group.create_dataset(key, data=np.ones((12, 4096), complex)),
    "nothing": lambda group, key: group.create_dataset(key, data=h5py.Empty("f4")),
    "huge": huge((2**40, 4096)),
    "huge pixels": huge((12, 2**44), chunks=(1, 4096)),
    "huge line": huge((2**50,), chunks=(1024,), compression="gzip"),
    "not written": huge((12, 4096)),
    "link": lambda group, key: group.__setitem__(key, h5py.ExternalLink("none.h5", "x")),
}
ATTRIBUTES = {
    "missing": None,
    "number": 12345.5,
    "text": "red",
    "not JSON": "{",
    "list": "[1, 2]",
    "dictionary": '{"colour": "red", "names": 3}',
    "null": "null",
    "array": np.arange(3),
    "bytes": np.void(b"\x80\x04."),
    "negative": -1,
}


def accepted(read, path):
    """Return whether the file is taken; fails unless a refusal is one line that names the file."""
    try:
        read()
    except DataError as error:
        message = str(error)
        assert "\n" not in message
        assert path.name in message
        assert len(message) < 700
        return False
    return True


def damage(path, whole, key, write):
    """Write the whole file with something else under a key."""
    path.write_bytes(whole)
    with h5py.File(path, "a") as file:
        attributes = dict(file[key].attrs)
        del file[key]
        if write is not None:
            write(file, key)
        if write not in (None, MUTATIONS["link"]):
            file[key].attrs.update(attributes)


def damage_attribute(path, whole, where, name, value):
    """Write the whole file with another value of an attribute, or without it (None)."""
    path.write_bytes(whole)
    with h5py.File(path, "a") as file:
        del file[where].attrs[name]
        if value is not None:
            file[where].attrs[name] = value


def first_shard(folder):
    return min(folder.glob("*.h5"))


def test_every_damaged_array_of_a_shard_is_refused(stored):
    path, taken = max(stored.glob("*.h5")), set()
    whole = path.read_bytes()
    for key in keys_of(path):
        for mutation, write in MUTATIONS.items():
            damage(path, whole, key, write)
            if accepted(lambda: collect(StoredSpectra(stored)), path):
                taken.add((key, mutation))
    assert taken == set()


def test_every_damaged_attribute_of_a_shard_is_refused(stored):
    path, taken = first_shard(stored), set()
    whole = path.read_bytes()
    with h5py.File(path) as file:
        names = list(file.attrs)
    for name in names:
        for mutation, value in ATTRIBUTES.items():
            damage_attribute(path, whole, "/", name, value)
            if accepted(lambda: StoredSpectra(stored), path):
                taken.add((name, mutation))
    # Shards had no LSF at first; who wrote them is never asked.
    assert {pair for pair in taken if pair[0] != "specvit_version"} == {("lsf", "missing")}


def test_flipped_bytes_in_the_head_of_a_shard_are_never_a_traceback(stored):
    """HDF5 finds them by its checksums, at whatever call comes to that place first."""
    path, generator, taken = first_shard(stored), np.random.default_rng(2), 0
    whole = np.frombuffer(path.read_bytes(), np.uint8)
    for place in generator.integers(0, 6000, 60):
        damaged = whole.copy()
        damaged[place] ^= 0xFF
        path.write_bytes(damaged.tobytes())
        taken += accepted(lambda: collect(StoredSpectra(stored)), path)
    assert taken < 60


ENTRIES = {"missing": ..., "null": None, "number": -3.5, "text": "red", "list": [1], "dictionary": {"a": 1}}


def test_every_damaged_entry_of_a_manifest_is_refused(stored):
    path, taken = stored / "manifest.json", set()
    manifest = json.loads(path.read_text())
    for name in manifest:
        for mutation, value in ENTRIES.items():
            changed = manifest | {name: value}
            if value is ...:
                del changed[name]
            path.write_text(json.dumps(changed))
            if accepted(lambda: StoredSpectra(stored), path):
                taken.add((name, mutation))
    words = {(name, kind) for name in ("created", "specvit_version") for kind in ("missing", "text")}
    fingerprints = {("instrument_fingerprint", kind) for kind in ("missing", "null", "text")}
    assert taken == words | fingerprints | {("emulator", "text")}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shards": ["../set/a.h5"]}, "entry 'shards.0'"),
        ({"shards": ["/etc/a.h5"]}, "entry 'shards.0'"),
        ({"shards": []}, "entry 'shards'"),
        ({"spectra": 25}, "says 25 spectra, its shards hold 24"),
        ({"seed": 4}, "seed is 3, 4 in manifest.json"),
        ({"split": "test"}, "split is train, test in manifest.json"),
        ({"world": World(noise_level=2.0).to_dict()}, "noise_level is 1.0, 2.0 in manifest.json"),
        ({"world": World(bounds={"log_g": (1.0, 2.0)}).to_dict()}, "bounds is "),
        ({"format_version": 99}, "format 99, this specvit reads 1"),
        ({"colour": "red"}, "entry 'colour'"),
    ],
)
def test_a_manifest_that_does_not_fit_its_shards_is_refused(stored, change, message):
    path = stored / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=message):
        StoredSpectra(stored)


def test_shards_in_another_order_are_refused(stored):
    first, second = sorted(stored.glob("*.h5"))
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    with pytest.raises(DataError, match="begins with spectrum 12, expected 0"):
        StoredSpectra(stored)
    second.write_bytes(content)
    with pytest.raises(DataError, match="begins with spectrum 12, expected 0"):
        StoredSpectra(stored)


@pytest.mark.parametrize(
    ("layout", "not_needed"),
    # The column of text is left alone, whatever lies there.
    [("table", set()), ("fixed", {"dataset/params/block2_items", "dataset/params/block2_values"})],
)
def test_every_damaged_part_of_a_reference_dataset_is_refused(good, tmp_path, layout, not_needed):
    whole, path, taken = (good / f"{layout}.h5").read_bytes(), tmp_path / "a.h5", set()
    for key in keys_of(good / f"{layout}.h5"):
        if not key.startswith(REFERENCE_READ):
            continue
        for write in MUTATIONS.values():
            damage(path, whole, key, write)
            noise = "stored" if "noisy" in key else "drawn"
            if accepted(lambda noise=noise: collect(ReferenceShards(path, noise=noise)), path):
                taken.add(key)
    assert taken == not_needed


@pytest.mark.parametrize(
    ("layout", "where", "names", "not_needed"),
    [
        ("table", "dataset/params", ("pandas_type",), set()),
        ("table", "dataset/params/table", ("values_block_1_kind", "values_block_1_meta", "values_block_1_dtype"),
         {("values_block_1_meta", "missing"), ("values_block_1_dtype", "missing")}),
        ("fixed", "dataset/params", ("pandas_type", "nblocks"), set()),
        ("fixed", "dataset/params/block1_values", ("transposed",), set()),
    ],
)  # fmt: skip
def test_every_damaged_attribute_of_a_reference_table_is_refused(
    good, tmp_path, layout, where, names, not_needed
):
    whole, path, taken = (good / f"{layout}.h5").read_bytes(), tmp_path / "a.h5", set()
    for name in names:
        for mutation, value in ATTRIBUTES.items():
            damage_attribute(path, whole, where, name, value)
            if accepted(lambda: ReferenceShards(path), path):
                taken.add((name, mutation))
    assert taken == not_needed


@pytest.mark.parametrize(
    ("key", "mutation"),
    [("flux", "missing"), ("snr", "group"), ("labels", "huge"), ("wavelength", "texts")],
)
def test_the_command_line_says_it_in_one_line(stored, capsys, key, mutation):
    path = first_shard(stored)
    damage(path, path.read_bytes(), key, MUTATIONS[mutation])
    assert main(["train", "--model", "subspace", "--data", str(stored)]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: {path}: ")
    assert shown.count("\n") == 1


@pytest.mark.parametrize(
    ("key", "mutation"), [("spectrumdataset/wave", "missing"), (REFERENCE_READ[1], "huge")]
)
def test_the_command_line_says_it_of_a_reference_dataset(good, tmp_path, capsys, key, mutation):
    path = tmp_path / "a.h5"
    damage(path, (good / "table.h5").read_bytes(), key, MUTATIONS[mutation])
    given = [
        "--data",
        str(path),
        "--validation-data",
        str(good / "table.h5"),
        "--test-data",
        str(good / "table.h5"),
    ]
    assert main(["train", "--model", "subspace", *given]) == 1
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: {path}: ")
    assert shown.count("\n") == 1
