"""Every form of table holds the same numbers, whatever stars there are."""

import json
import math

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

import made_stars
import observed_files as files
from specvit.errors import ConfigError, MissingExtra
from specvit.observed import ReadOptions, read_spectra
from specvit.starlist import tables

PROVENANCE = {"specvit": "0.1.0", "library": "built-in Å", "emulator": "abc"}
REFUSED = {"name": "bad", "file": "bad.fits", "flags": ["REFUSED"], "reason": 'no, "spectrum"'}


@pytest.fixture(scope="module")
def star(tmp_path_factory):
    path = files.ascii_three(tmp_path_factory.mktemp("a") / "star.txt", files.Star(step=20.0))
    return made_stars.made_parameters(read_spectra(path, ReadOptions(medium="vacuum"))[0])


def written(stars, path):
    assert tables.write_table_of_stars(lambda: iter(stars), path, PROVENANCE) == len(stars)
    if path.suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet").read_table(path)
        return {name: parquet[name].to_pylist() for name in parquet.column_names}
    if path.suffix == ".csv":
        table = Table.read(path, format="ascii.csv", fill_values=[])
    else:
        table = Table.read(path, **({"mask_invalid": False} if path.suffix == ".fits" else {}))
    return {name: table[name].tolist() for name in table.colnames}


@pytest.mark.parametrize("ending", ["csv", "ecsv", "fits", "parquet"])
@pytest.mark.parametrize("block", [2, 2048])
def test_what_is_written_is_read(star, tmp_path, monkeypatch, ending, block):
    monkeypatch.setattr(tables, "BLOCK", block)
    record = star.record()
    columns = written([record, REFUSED, record], tmp_path / f"a.{ending}")
    assert columns["teff"][0] == pytest.approx(record["teff"], rel=1e-6)
    assert math.isnan(columns["teff"][1])
    assert columns["pixels"][2] == record["pixels"]
    assert columns["cov_teff_teff"][0] == pytest.approx(2500)
    assert columns["cov_teff_log_g"][2] == 0
    assert len([name for name in columns if name.startswith("cov_")]) == 15
    # Astropy takes an empty text of an ECSV table for a missing one.
    texts = {name: [v or "" for v in columns[name]] for name in ("name", "reason", "flags")}
    assert texts["name"] == [star.name, "bad", star.name]
    assert texts["reason"] == ["", 'no, "spectrum"', ""]
    assert texts["flags"] == ["ASSUMED_RESOLUTION", "REFUSED", "ASSUMED_RESOLUTION"]
    assert columns["emulator"] == ["abc"] * 3


def test_whole_numbers_stay_whole_without_refusals(star, tmp_path):
    for ending in ("csv", "ecsv", "fits", "parquet"):
        pixels = written([star.record()] * 2, tmp_path / f"a.{ending}")["pixels"]
        assert pixels == [star.pixels] * 2
        assert isinstance(pixels[0], int)


def test_fits_is_standard_and_has_units_and_provenance(star, tmp_path):
    written([star.record(), REFUSED], tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits") as hdus:
        hdus.verify("exception")
        assert hdus["STARS"].columns["teff"].unit == "K"
        assert hdus[1].header["LIBRARY"] == "built-in Angstrom"
    assert (tmp_path / "a.fits").stat().st_size % 2880 == 0


def test_ecsv_has_units_and_provenance(star, tmp_path):
    written([star.record()], tmp_path / "a.ecsv")
    table = Table.read(tmp_path / "a.ecsv")
    assert str(table["log_g_err"].unit) == "dex"
    assert table.meta["library"] == "built-in Å"


def test_json_has_all_of_it_and_no_nan(star, tmp_path):
    odd = star.record() | {"chi2": math.nan}
    tables.write_table_of_stars(lambda: iter([odd, REFUSED]), tmp_path / "a.json", PROVENANCE)
    said = json.loads((tmp_path / "a.json").read_text())
    assert said["provenance"] == PROVENANCE
    assert said["stars"][0]["chi2"] is None
    assert np.shape(said["stars"][0]["covariance"]["matrix"]) == (5, 5)
    assert said["stars"][1] == REFUSED


@pytest.mark.parametrize("ending", ["csv", "ecsv", "fits", "parquet", "json"])
def test_refusals_alone_are_a_table_too(tmp_path, ending):
    path = tmp_path / f"a.{ending}"
    tables.write_table_of_stars(lambda: iter([REFUSED]), path, PROVENANCE)
    assert path.stat().st_size > 50


def test_parquet_without_its_extra_is_said_before_anything_is_done(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow.parquet", None)
    with pytest.raises(MissingExtra, match=r"pip install 'specvit\[parquet\]'"):
        tables.check_table_name(tmp_path / "a.parquet")
    (tmp_path / "b.csv").mkdir()
    with pytest.raises(ConfigError, match="is a folder"):
        tables.check_table_name(tmp_path / "b.csv")


#: Astropy's readers of text drop blanks at the ends.
TEXTS = st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp")), max_size=20).map(str.strip)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(TEXTS, st.floats(allow_nan=False, width=32), st.booleans()), min_size=1, max_size=6)
)
def test_any_names_and_numbers_come_back(star, tmp_path_factory, rows):
    folder = tmp_path_factory.mktemp("any")
    record = star.record()
    stars = [
        REFUSED | {"name": text, "reason": text} if refused else record | {"name": text, "chi2": value}
        for text, value, refused in rows
    ]
    for ending in ("ecsv", "parquet"):
        columns = written(stars, folder / f"a.{ending}")
        assert [name or "" for name in columns["name"]] == [text for text, _, _ in rows]
        for got, (_, value, refused) in zip(columns.get("chi2", []), rows, strict=False):
            assert math.isnan(got) if refused else got == pytest.approx(value, rel=1e-6)
