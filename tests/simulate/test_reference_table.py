"""The pandas table of the reference work's files: both layouts, what is refused, and that nothing is unpickled."""

import pickle
import warnings

import h5py
import numpy as np
import pytest

from reference_dataset import write_pickle, write_shard
from specvit.documents.hdf5 import open_hdf5
from specvit.errors import DataError
from specvit.simulate.reference_file import ReferenceFile
from specvit.simulate.reference_table import read_columns

LAYOUTS = ("table", "fixed")
KEY = "dataset/params"


class Planted:
    """Unpickling one of these makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def replace(group, key, write):
    attributes = dict(group[key].attrs)
    del group[key]
    write()
    for name, value in attributes.items():
        group[key].attrs.setdefault(name, value)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_both_layouts_give_the_same_columns(tmp_path, layout):
    labels, *_, mag = write_shard(tmp_path / "a.h5", 50, layout=layout)
    file = ReferenceFile(tmp_path / "a.h5")
    np.testing.assert_array_equal(file.labels, labels)
    np.testing.assert_array_equal(file.conditions["mag"], mag.astype(np.float32))
    assert (file.conditions["exposure_count"] == 12).all()


@pytest.mark.parametrize(
    "options", [{"format": "fixed"}, {"format": "table"}, {"format": "table", "data_columns": True}]
)
def test_what_pandas_writes_is_read_as_pandas_reads_it(tmp_path, options):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("tables")
    rows = np.arange(7)
    table = pandas.DataFrame(
        {"id": rows, "T_eff": 4000.0 + rows, "mag": np.float32(20 + rows), "text": "log_g", "log_g": 1.5}
        | {"flag": rows > 3, "kind": "a", "exp_count": rows.astype(np.int32), "[Fe]": -1.0}
    )
    path = tmp_path / "a.h5"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on the text column and the column names
        table.to_hdf(path, key=KEY, mode="w", **options)
    names = ["T_eff", "mag", "log_g", "exp_count", "id"]
    with open_hdf5(path, "table", "make it again") as file:
        columns = read_columns(file, KEY, names)
        with pytest.raises(DataError, match="'text' as plain numbers"):
            read_columns(file, KEY, ["text"])
    for name in names:
        assert columns[name].dtype == table[name].dtype
        np.testing.assert_array_equal(columns[name], table[name])


def plant_in_attribute(group, planted):
    node = group["table"] if "table" in group else group["block0_values"]
    for owner in (group, node):
        for name in ("info", "data_columns", "TITLE", "name", "values_block_3_kind", "values_block_3_meta"):
            owner.attrs[name] = np.bytes_(pickle.dumps(planted, 0))


def plant_in_text_column(group, planted):
    if "table" in group:
        pytest.skip("this layout has no object blocks")
    replace(group, "block2_values", lambda: write_pickle(group, "block2_values", planted))


def plant_in_needed_column(group, planted):
    if "table" in group:
        group["table"].attrs["values_block_1_kind"] = np.bytes_(pickle.dumps(planted, 0))
    else:
        replace(group, "block1_values", lambda: write_pickle(group, "block1_values", planted))


def plant_in_names(group, planted):
    if "table" in group:
        group["table"].attrs["values_block_0_kind"] = np.bytes_(pickle.dumps(planted, 0))
    else:
        replace(group, "block0_items", lambda: write_pickle(group, "block0_items", planted))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize(
    ("plant", "refused"),
    [
        (plant_in_attribute, None),
        (plant_in_text_column, None),
        (plant_in_needed_column, "plain numbers|not plain text and were not decoded"),
        (plant_in_names, "not plain text and were not decoded"),
    ],
)
def test_a_planted_pickle_is_never_run(tmp_path, layout, plant, refused):
    """An object that is not needed is left alone; one that is needed is refused in one line."""
    path, touched = tmp_path / "a.h5", tmp_path / "touched"
    write_shard(path, 50, layout=layout)
    with h5py.File(path, "a") as file:
        plant(file[KEY], Planted(touched))
    if refused is None:
        assert ReferenceFile(path).count == 50
    else:
        with pytest.raises(DataError, match=refused) as caught:
            ReferenceFile(path)
        assert "\n" not in str(caught.value)
    assert not touched.exists()


@pytest.mark.parametrize(
    ("attribute", "value", "message"),
    [
        ("values_block_1_meta", "category", "'redshift' as plain numbers"),
        ("values_block_1_dtype", "datetime64[s]", "'redshift' as plain numbers"),
    ],
)
def test_numbers_that_stand_for_something_else_are_not_taken_for_numbers(tmp_path, attribute, value, message):
    """Codes of categories and nanoseconds of dates are integers on disk."""
    write_shard(tmp_path / "a.h5", 50)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file[f"{KEY}/table"].attrs[attribute] = np.bytes_(value)
    with (
        open_hdf5(tmp_path / "a.h5", "table", "make it again") as file,
        pytest.raises(DataError, match=message),
    ):
        read_columns(file, KEY, ["redshift"])


@pytest.mark.parametrize("layout", LAYOUTS)
def test_missing_and_repeated_columns_are_named(tmp_path, layout):
    write_shard(tmp_path / "a.h5", 50, layout=layout)
    with (
        open_hdf5(tmp_path / "a.h5", "table", "make it again") as file,
        pytest.raises(DataError, match="has no column 'colour'"),
    ):
        read_columns(file, KEY, ["colour"])
    with h5py.File(tmp_path / "a.h5", "a") as file:
        group = file[KEY]
        if layout == "table":
            group["table"].attrs["values_block_0_kind"] = np.bytes_(pickle.dumps(["T_eff", "exp_count"], 0))
        else:
            group["block0_items"][:] = [b"T_eff", b"exp_coun"]
    with pytest.raises(DataError, match="has column 'T_eff' 2 times"):
        ReferenceFile(tmp_path / "a.h5")


def test_another_pandas_object_is_refused(tmp_path):
    write_shard(tmp_path / "a.h5", 50)
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file[KEY].attrs["pandas_type"] = np.bytes_("series")
    with pytest.raises(DataError, match="pandas object of type 'series', expected a frame"):
        ReferenceFile(tmp_path / "a.h5")
