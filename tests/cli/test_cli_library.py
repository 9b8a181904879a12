"""`specvit library`: the commands, their errors and exit codes."""

import bz2
import json

import h5py
import numpy as np
import pytest

from specvit.cli import main
from specvit.library import Emulator, SyntheticLibrary
from specvit.spectra import LabelSpace, WavelengthGrid


def write_bosz2017(folder, teffs=(4000, 4250, 4500)):
    wavelength = np.exp(np.arange(np.log(8450.0), np.log(8650.0), 1e-5)).round(3)
    for teff in teffs:
        flux = 1e6 * (1 - teff / 9000 * np.exp(-0.5 * ((wavelength - 8544.4) / 0.5) ** 2))
        rows = "\n".join(f"{w:.3f} {f:.5E} 1.0E+06" for w, f in zip(wavelength, flux, strict=True))
        name = f"amp00cp00op00t{teff}g45v20modrt0b50000rs.asc.bz2"
        (folder / name).write_bytes(bz2.compress(rows.encode()))


def small_library(path, count=60):
    generator = np.random.default_rng(0)
    labels = generator.uniform([4000, 1.0], [6000, 5.0], (count, 2))
    grid = WavelengthGrid.log(8500.0, 6.0, 200)
    line = np.exp(-0.5 * ((np.arange(200) - 100) / 8) ** 2)
    flux = 1 - (labels[:, :1] / 10_000) * line - 0.02 * labels[:, 1:] * np.roll(line, 30)
    space = LabelSpace(("teff", "log_g"), ("K", "dex"), (4000.0, 1.0), (6000.0, 5.0))
    SyntheticLibrary(labels, flux, grid, 20_000.0, space, {"name": "small"}).save(path)


def test_import_list_and_info(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SPECVIT_CACHE", str(tmp_path / "cache"))
    (tmp_path / "cache" / "libraries").mkdir(parents=True)
    (tmp_path / "raw").mkdir()
    write_bosz2017(tmp_path / "raw")
    out = tmp_path / "cache" / "libraries" / "bosz.h5"
    window = ["--start", "8500", "--stop", "8600"]
    arguments = ["library", "import", "bosz2017", str(tmp_path / "raw"), "--out", str(out), *window]
    assert main([*arguments, "--limit", "teff=4000:4250", "--json"]) == 0
    entry = json.loads(capsys.readouterr().out)
    assert (entry["spectra"], entry["labels"]) == (2, {"teff": [4000.0, 4250.0]})
    assert main(["library", "list"]) == 0
    listing = capsys.readouterr().out
    assert "builtin" in listing
    assert "2 spectra, 8500-8600 Å (vacuum), R = 20000; teff 4000..4250" in listing
    assert main(["library", "info", "bosz"]) == 0
    described = capsys.readouterr().out
    assert "checksum good" in described
    assert "'log_g': 4.5" in described


def test_info_notices_a_changed_library(tmp_path, capsys):
    small_library(tmp_path / "a.h5")
    assert main(["library", "info", str(tmp_path / "a.h5"), "--json"]) == 0
    capsys.readouterr()
    with h5py.File(tmp_path / "a.h5", "a") as file:
        file["labels"][0, 0] += 1
    assert main(["library", "info", str(tmp_path / "a.h5")]) == 1
    assert "checksum" in capsys.readouterr().err


def test_list_names_the_files_it_cannot_read(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("SPECVIT_CACHE", str(tmp_path))
    folder = tmp_path / "libraries"
    folder.mkdir()
    small_library(folder / "good.h5")
    (folder / "cut.h5").write_bytes((folder / "good.h5").read_bytes()[:5000])
    with h5py.File(folder / "other.h5", "w") as file:
        file["labels"], file["wavelength"], file.attrs["metadata"] = [[1.0]], [1.0], "{}"
    assert main(["library", "list"]) == 0
    captured = capsys.readouterr()
    assert "good" in captured.out
    left_out = captured.err.splitlines()
    assert len(left_out) == 2
    assert all(line.startswith("left out: ") and "not a specvit library" in line for line in left_out)


def test_build_fits_an_emulator_that_answers_inside_the_limits(tmp_path, capsys):
    small_library(tmp_path / "a.h5")
    out = tmp_path / "a.safetensors"
    arguments = [
        "library",
        "build",
        str(tmp_path / "a.h5"),
        "--out",
        str(out),
        "--steps",
        "60",
        "--components",
        "4",
    ]
    assert main([*arguments, "--limit", "log_g=2:4", "--held-out", "0.3"]) == 0
    assert "held-out error on" in capsys.readouterr().out
    emulator = Emulator.load(out)
    assert emulator.label_space.low == (4000.0, 2.0)
    assert emulator.label_space.high == (6000.0, 4.0)


def test_synthesize_makes_a_library_and_continues(tmp_path, capsys):
    pytest.importorskip("pysme")
    capsys.readouterr()  # the first import for a user prints about the folder it makes
    tau = np.logspace(-4, 1.5, 16)
    temperature = 5000 * (0.75 * (tau + 2 / 3)) ** 0.25
    pressure = 10**3.75 * tau**0.6
    np.savez(
        tmp_path / "star.npz",
        teff=5000,
        log_g=3.0,
        m_h=0.0,
        temperature=temperature,
        tau5000=tau,
        gas_pressure=pressure,
    )
    (tmp_path / "lines.csv").write_text(
        "species,wavelength_air,excitation_ev,log_gf\nCa 2,8542.091,1.70,-0.463\n"
    )
    (tmp_path / "points.csv").write_text("teff,log_g,m_h\n5000,3,-1\n5000,3,0\n4000,3,0\n")
    out = tmp_path / "own.h5"
    inputs = ["--lines", str(tmp_path / "lines.csv"), "--atmosphere", str(tmp_path / "star.npz")]
    points = ["--design", str(tmp_path / "points.csv"), "--start", "8540", "--stop", "8546"]
    arguments = ["library", "synthesize", *inputs, *points, "--out", str(out), "--json"]
    assert main(arguments) == 0
    outcome = json.loads(capsys.readouterr().out)
    assert (outcome["computed"], outcome["failed"]) == (3, 1)
    assert "all model atmospheres have teff = 5000" in outcome["failures"]["2"]
    library = SyntheticLibrary.load(out)
    assert library.label_space.names == ("m_h",)
    assert (library.flux > 0).all()
    assert main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["found"] == 3


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["import", "bosz1999", ".", "--out", "x.h5"], 2, "choose from bosz2017, bosz2024, phoenix"),
        (["import", "pfsspec", ".", "--out", "x.h5"], 2, "give --source-resolution"),
        (["import", "bosz2017", "absent", "--out", "x.h5"], 1, "absent: no such folder"),
        (["import", "bosz2017", ".", "--out", "no/x.h5"], 2, "make it first"),
        (["import", "bosz2017", ".", "--out", "x.h5", "--limit", "teff"], 2, "expected LABEL=LOW:HIGH"),
        (["import", "bosz2017", ".", "--out", "x.h5", "--limit", "feh=0:1"], 2, "unknown label 'feh'"),
        (["import", "bosz2017", ".", "--out", "x.h5", "--limit", "teff=nan:1"], 2, "teff from nan to 1"),
        (["import", "bosz2017", ".", "--out", "x.h5", "--workers", "0"], 2, "--workers: expected at least 1"),
        (["import", "bosz2017", ".", "--out", "x.h5", "--components", "0"], 2, "--components: expected"),
        (
            ["import", "bosz2017", ".", "--out", "x.h5", "--resolution", "inf"],
            2,
            "--resolution: expected at most",
        ),
        (
            ["import", "bosz2017", ".", "--out", "x.h5", "--resolution", "1e12"],
            2,
            "2 to 10,000,000 pixels",
        ),
        ([], 2, "Missing command"),
        (["info", "absent"], 1, "library 'absent': no such file"),
        (["build", "builtin", "--out", "x", "--steps", "0"], 2, "steps: expected at least 1"),
        (["build", "builtin", "--out", "x", "--held-out", "-0.5"], 2, "held_out: expected a fraction"),
        (["build", "builtin", "--out", "x", "--limit", "teff=3000:5000"], 1, "teff = 3000 K lies outside"),
        (["build", "absent", "--out", "x"], 1, "library 'absent'"),
        (["synthesize", "--lines", "x", "--atmosphere", "y", "--out", "x.h5"], 2, "--design or with --sobol"),
        (
            ["synthesize", "--lines", "x", "--atmosphere", "y", "--out", "x.h5", "--sobol", "4"],
            2,
            "add --limit teff",
        ),
        (["download", "bosz", "--folder", "x", "--release", "1999"], 2, "choose 2017 or 2024"),
        (["download", "bosz", "--folder", "x", "--microturbulence", "3"], 2, "BOSZ 2024 has 0, 1, 2, 4 km/s"),
        (["download", "bosz", "--folder", "x", "--retries", "-1"], 2, "--retries: expected 0 or more"),
        (["download", "bosz", "--folder", "x", "--base-url", "http://127.0.0.1:9"], 1, "cannot be reached"),
    ],
)
def test_mistakes_are_one_line_with_the_right_exit_code(
    arguments, code, message, tmp_path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("specvit.library.download.FIRST_PAUSE_S", 0.01)
    assert main(["library", *arguments]) == code
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert message in errors[0]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["list", "info", "import", "build", "synthesize", "download"])
def test_help_has_an_example(verb, capsys):
    arguments = ["library", verb, *(["bosz"] if verb == "download" else []), "--help"]
    assert main(arguments) == 0
    assert "Example" in capsys.readouterr().out
