"""`specvit predict`: from a file of a real form to a table, a picture, and one line for what cannot be."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

import observed_files as files
from specvit.cli import main
from specvit.stellar.model_error import builtin_model_error


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    path = tmp_path_factory.mktemp("example") / "star.fits"
    assert main(["predict", "--example", str(path)]) == 0
    return path


@pytest.fixture(scope="module")
def told(example, tmp_path_factory):
    """One run with everything it can write."""
    folder = tmp_path_factory.mktemp("told")
    bad = folder / "bad.txt"
    bad.write_text("7000 1\n7000 2\n")
    table = folder / "stars.csv"
    code = main(["predict", str(example), str(bad), "--out", str(table), "--plot", str(folder / "figures")])
    with table.open(newline="") as stream:
        return code, list(csv.DictReader(stream)), folder


def test_the_example_is_found_again(told):
    code, rows, _ = told
    assert code == 0
    star = rows[0]
    truth = {"teff": 4800, "log_g": 2.4, "m_h": -0.6, "alpha_m": 0.2, "rv": 42}
    for name, value in truth.items():
        assert abs(float(star[name]) - value) < 3 * float(star[f"{name}_err"]), name
    assert star["flags"] == ""
    assert star["format"] == "pfs"
    assert len(star["emulator"]) == 16


def test_the_readme_shows_what_is_printed(told):
    """To the last digit but one: other processors round in another order."""
    _, rows, _ = told
    readme = (Path(__file__).resolve().parents[2] / "README.md").read_text(encoding="utf-8")
    shown = next(line for line in readme.splitlines() if line.startswith(" PFS 1-0-0,0-1"))
    numbers = [float(word) for word in shown.removeprefix(" PFS 1-0-0,0-1").split() if word != "±"]
    names = ("teff", "log_g", "m_h", "alpha_m")
    expected = [float(rows[0][f"{name}{part}"]) for name in names for part in ("", "_total")]
    expected += [float(rows[0][name]) for name in ("rv", "rv_err", "chi2", "snr")]
    digits = [1, 1, *[0.01] * 6, 0.1, 0.1, 0.01, 1]
    for number, value, digit in zip(numbers, expected, digits, strict=True):
        assert abs(number - value) <= 1.5 * digit, shown


@pytest.mark.parametrize("option", ["--out", "--summary", "--example"])
def test_no_file_is_overwritten_that_is_read_or_somebody_elses(example, tmp_path, option, capsys):
    ending = {"--out": ".csv", "--summary": ".html", "--example": ".fits"}[option]
    (own := tmp_path / f"own{ending}").write_text("mine\n")
    words = [] if option == "--example" else [str(example)]
    assert main(["predict", *words, option, str(own)]) == 1
    assert "not made by `specvit predict" in capsys.readouterr().err
    assert own.read_text() == "mine\n"
    if option != "--example":
        read = tmp_path / f"read{ending}"
        read.write_bytes(example.read_bytes())
        other = tmp_path / f"other{ending}"
        other.symlink_to(read)
        assert main(["predict", str(read), option, str(other)]) == 2
        assert "is one of the files that are read" in capsys.readouterr().err
        assert read.read_bytes() == example.read_bytes()


def test_what_predict_wrote_is_written_again(example, tmp_path):
    again = tmp_path / "again.fits"
    for _ in range(2):
        assert main(["predict", "--example", str(again)]) == 0
    for ending in ("csv", "ecsv", "fits", "json"):
        for _ in range(2):
            assert (
                main(["predict", str(again), "--no-domain", "--out", str(tmp_path / f"found.{ending}")]) == 0
            )


def test_labels_on_the_scale_of_known_stars_stand_beside_those_found(example, tmp_path, capsys):
    out = tmp_path / "stars.csv"
    assert main(["predict", str(example), "--no-domain", "--calibrated", "--out", str(out)]) == 0
    assert "calibrated" in capsys.readouterr().out
    with out.open(newline="") as stream:
        row = next(csv.DictReader(stream))
    one = builtin_model_error().calibration["log_g"]
    raw = float(row["log_g"])
    assert float(row["log_g_calibrated"]) == pytest.approx(
        raw + one.offset + one.slope * (raw - one.pivot), abs=1e-5
    )
    assert float(row["log_g_calibrated_total"]) > one.error
    assert main(["predict", str(example), "--calibrated", "--model-error", "0.02"]) == 2
    assert "without a calibration" in capsys.readouterr().err


def test_a_file_that_cannot_be_read_has_its_row_and_reason(told):
    _, rows, _ = told
    assert rows[1]["flags"] == "REFUSED"
    assert "2 pixels are no spectrum" in rows[1]["reason"] or "stands twice" in rows[1]["reason"]
    assert rows[1]["teff"] == "nan"


def test_there_is_a_picture(told):
    (picture,) = (told[2] / "figures").iterdir()
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_json_is_all_of_it(example, capsys):
    words = ["--prior", "teff=4800+-20", "--mask", "8000:8010", "--oh", "--clip", "6"]
    assert main(["predict", str(example), "--json", *words]) == 0
    said = json.loads(capsys.readouterr().out)
    (star,) = said["stars"]
    assert np.shape(star["covariance"]["matrix"]) == (5, 5)
    assert star["minima"][0]["excess"] == 0
    assert star["assumptions"]
    assert said["provenance"]["library"] == "builtin"
    assert star["teff_err"] < 21
    assert set(star["mask_costs"]) == {"air (O2, H2O)", "night sky (OH)", "own windows", "Ca II cores"}
    assert star["mask_costs"]["night sky (OH)"]["ratio"]["log_g"] > 1


@pytest.mark.parametrize(
    ("words", "code", "line"),
    [
        ([], 2, "name at least one file"),
        (["nothing.fits"], 1, "no such file"),
        (["https://example.org/a.fits"], 2, "download it first"),
        (["a.fits", "--out", "a.doc"], 2, "expected a name that ends in .csv"),
        (["a.fits", "--columns", "flux"], 2, "expected role=column"),
        (["a.fits", "--prior", "teff=hot"], 2, "expected label=mean+-sigma"),
        (["a.fits", "--prior", "age=1+-1"], 2, "'age' is no label"),
        (["a.fits", "--mask", "8000"], 2, "expected low:high"),
        (["a.fits", "--clip", "1"], 2, "expected 2 to 100"),
        (["a.fits", "--medium", "water"], 2, "expected air or vacuum"),
        (["a.fits", "--resolution", "5"], 2, "between 100 and 1e6"),
        (["a.fits", "--library", "no.h5"], 2, "no such file"),
        (["a.fits", "--model-error", "0"], 2, "between 0 and 1"),
        (["a.fits", "--model-error", "2"], 2, "a share of the flux between 0 and 1"),
        (["a.fits", "--model-error", "none.json"], 2, "expected a file of `specvit calibrate-stars`"),
        (["a.fits", "--core-error", "-1"], 2, "core"),
    ],
)
def test_mistakes_are_one_line(tmp_path, monkeypatch, capsys, words, code, line):
    monkeypatch.chdir(tmp_path)
    files.sdss(tmp_path / "a.fits", files.log_star())
    assert main(["predict", *words]) == code
    said = capsys.readouterr().err.strip().splitlines()
    assert len(said) == 1
    assert line in said[0]


def test_an_empty_folder_and_one_with_nothing_to_fit(tmp_path, capsys):
    assert main(["predict", str(tmp_path)]) == 1
    assert "a folder without spectra" in capsys.readouterr().err
    blue = files.Star(start=4000.0, stop=5000.0, flux=np.linspace(1, 2, 1000))
    files.ascii_three(tmp_path / "a.txt", blue)
    assert main(["predict", str(tmp_path)]) == 1
    assert "nothing in common" in capsys.readouterr().err


def test_the_forms_are_listed(capsys):
    assert main(["predict", "--formats"]) == 0
    assert "sdss" in capsys.readouterr().out


def test_tables_of_each_kind_hold_the_same(told, example, tmp_path):
    from astropy.table import Table

    log_g = float(told[1][0]["log_g"])
    for ending in ("ecsv", "fits", "json"):
        path = tmp_path / f"stars.{ending}"
        assert main(["predict", str(example), "--out", str(path)]) == 0
        if ending == "json":
            assert json.loads(path.read_text())["stars"][0]["log_g"] == pytest.approx(log_g, abs=1e-5)
        else:
            table = Table.read(path)
            assert float(table["log_g"][0]) == pytest.approx(log_g, abs=1e-5)
            assert str(table["teff"].unit) == "K"


def test_what_masks_cost_is_printed(example, capsys):
    assert main(["predict", str(example), "--show-mask-cost"]) == 0
    said = capsys.readouterr().out
    assert "air (O2, H2O)" in said
    assert "Ca II cores" in said
