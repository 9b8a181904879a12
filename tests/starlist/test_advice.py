"""Which library goes further, for whom; and a made library of other labels and limits through the whole command."""

import csv
import re

import numpy as np
import pytest

from specvit.cli import main
from specvit.library import FitSettings, SyntheticLibrary, fit_emulator
from specvit.library.importers.bosz_archive import METALLICITIES
from specvit.library.importers.nodes import check_limits
from specvit.spectra import LabelSpace, WavelengthGrid
from specvit.spectra.resample import smooth
from specvit.starlist.advice import PUBLISHED, advice_for

LOW = {"teff": 3750.0, "log_g": 1.0, "m_h": -2.5}
HIGH = {"teff": 6000.0, "log_g": 5.0, "m_h": 0.75}
BOX = LabelSpace(tuple(LOW), ("K", "dex", "dex"), tuple(LOW.values()), tuple(HIGH.values()))
INSIDE = {"teff": 5000.0, "log_g": 3.0, "m_h": 0.0}


@pytest.mark.parametrize(
    ("label", "value", "words"),
    [
        ("teff", 6000.0, "hotter; BOSZ 2024 .* goes to 16000 K: .*--limit teff=4500:7500"),
        ("teff", 3751.0, "cooler; BOSZ 2024 .* goes to 2800 K: .*--limit teff=2800:5250"),
        ("log_g", 1.0, "of lower log g; BOSZ 2024 .* goes to -0.5: .*--limit log_g=0:2"),
        ("m_h", -2.5, "poorer in metals; PHOENIX .* goes to -4"),
        ("m_h", 0.75, "richer in metals; PHOENIX .* goes to 1"),
    ],
)
def test_the_library_that_goes_further_is_named(label, value, words):
    (sentence,) = advice_for(INSIDE | {label: value}, BOX)
    assert re.search(words, sentence), sentence
    for limit in re.findall(r"--limit ([a-z_]+)=([-0-9.]+):([-0-9.]+)", sentence):
        check_limits({limit[0]: (float(limit[1]), float(limit[2]))})


def test_inside_nothing_is_said_and_beyond_all_nobody_is_sent_anywhere():
    assert advice_for(INSIDE, BOX) == []
    wide = LabelSpace(("teff",), ("K",), (2000.0,), (50_000.0,))
    assert "no library that is known here" in advice_for({"teff": 50_000.0}, wide)[0]
    assert len(advice_for({"teff": 6000.0, "log_g": 1.0, "m_h": 0.0}, BOX)) == 2


def test_the_limits_of_bosz_are_those_of_its_archive():
    assert PUBLISHED[0].limits["m_h"] == (min(METALLICITIES), max(METALLICITIES))


#: A library of hotter stars, and of three labels.
SPACE = LabelSpace(("teff", "log_g", "m_h"), ("K", "dex", "dex"), (6000, 3, -1), (8000, 5, 0.5))
GRID = WavelengthGrid.log(7600.0, 12.0, 3000)
LINES = np.random.default_rng(7).uniform(7650, 8530, 45)


def spectra(labels):
    """Lines that get weaker with Teff, broader with log g and stronger with [M/H], each its own way."""
    unit = (labels - np.array(SPACE.low)) / (np.array(SPACE.high) - np.array(SPACE.low))
    flux = np.ones((len(labels), GRID.size))
    for k, line in enumerate(LINES):
        weight = np.random.default_rng(k).uniform(0.2, 1, 3)
        depth = 0.3 + 0.3 * weight[0] * unit[:, 2:] - 0.2 * weight[1] * unit[:, :1]
        width = 1.0 + 0.8 * weight[2] * unit[:, 1:2]
        flux -= depth * np.exp(-0.5 * ((GRID.wavelength - line) / width) ** 2)
    return flux.clip(0.05)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    low, high = np.array(SPACE.low), np.array(SPACE.high)
    labels = low + (high - low) * np.random.default_rng(0).random((200, 3))
    made = SyntheticLibrary(labels, spectra(labels), GRID, 20_000.0, SPACE)
    emulator = fit_emulator(
        made, settings=FitSettings(components=10, width=32, depth=2, coordinates="labels", steps=400)
    )
    path = tmp_path_factory.mktemp("library") / "hot.safetensors"
    emulator.save(path)
    return path


def test_a_library_of_ones_own_works_to_its_own_limits(library, tmp_path):
    for name, star in (("inside", [7000.0, 4.0, -0.2]), ("beyond", [9500.0, 4.0, 0.0])):
        seen = smooth(spectra(np.array([star]))[0], GRID, 20_000.0, 3000.0)
        wavelength = np.arange(7640.0, 8540.0, 0.8)
        flux = np.interp(wavelength, GRID.wavelength, seen)
        noisy = flux + 0.01 * np.random.default_rng(1).standard_normal(flux.size)
        np.savetxt(tmp_path / f"{name}.txt", np.c_[wavelength, noisy, np.full(flux.size, 0.01)])
    words = ["--medium", "vacuum", "--resolution", "3000", "--no-telluric", "--library", str(library)]
    out = tmp_path / "stars.csv"
    summary = tmp_path / "all.html"
    assert main(["predict", str(tmp_path), *words, "--out", str(out), "--summary", str(summary)]) == 0
    with out.open(newline="") as stream:
        rows = {row["name"].removesuffix(".txt"): row for row in csv.DictReader(stream)}
    inside, beyond = rows["inside"], rows["beyond"]
    assert abs(float(inside["teff"]) - 7000) < 4 * float(inside["teff_err"]) + 60
    assert "alpha_m" not in inside
    assert "LABEL_ON_FACE" not in inside["flags"]
    assert inside["advice"] == ""
    assert "LABEL_ON_FACE" in beyond["flags"]
    assert (
        "Teff ended at 8000 K, the edge of the library: the star may be hotter; BOSZ 2024" in beyond["advice"]
    )
    assert "--limit teff=6500:9500" in beyond["advice"]
    assert inside["library"] == str(library)
    assert "of this library they are not known" in inside["assumptions"]
    assert summary.stat().st_size > 10_000
