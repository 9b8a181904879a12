"""Synthesis runs: resuming, points that kill their process, and the physics of a short window."""

import os
import time
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from scipy.interpolate import CubicSpline

from specvit.errors import DataError, RunError
from specvit.library import SyntheticLibrary
from specvit.library.importers.window import LibraryWindow
from specvit.library.synthesis import (
    Design,
    LineTable,
    ModelAtmosphere,
    SynthesisPlan,
    gather,
    read_lines,
    synthesize,
)
from specvit.library.synthesis.isolated import map_isolated
from specvit.library.synthesis.run import PointSynthesis

WINDOW = LibraryWindow(8540.0, 8546.0, 20_000.0)


def grey_model(teff=5000.0, log_g=3.0, scale="rhox", pressure=True):
    tau = np.logspace(-4, 1.5, 24)
    gas = 10 ** (log_g + 0.75) * tau**0.6
    return ModelAtmosphere(
        teff,
        log_g,
        0.0,
        scale,
        gas / 10**log_g if scale == "rhox" else tau,
        teff * (0.75 * (tau + 2 / 3)) ** 0.25,
        gas if pressure else None,
        None,
        f"grey {teff:g}",
    )


def few_lines():
    zero = np.zeros(3)
    return LineTable(
        np.array(["Ca 2", "Fe 1", "H 1"]),
        np.array([8542.091, 8543.5, 8545.383]),
        np.array([1.700, 4.913, 12.0875]),
        np.array([-0.463, -1.5, -1.53]),
        np.array([8.23, 8.0, 0.0]),
        np.array([-5.73, 0.0, 0.0]),
        zero - np.array([7.71, 7.7, 0.0]),
    )


def plan_of(values, **options):
    return SynthesisPlan(
        few_lines(), [grey_model()], Design(np.array(values, float), "test"), WINDOW, **options
    )


def metallicities(*values):
    return [[5000.0, 3.0, m_h, 0.0, 0.0] for m_h in values]


# --- worker functions for the process tests: module level, so that a fresh process can import them


def fake_spectrum(plan, labels):
    if labels[2] == -1.0:
        print("equation of state lost its way", flush=True)
        os._exit(3)
    if labels[2] == -2.0:
        raise ValueError("no such star")
    if labels[2] == -3.0:
        time.sleep(60)
    return (
        np.full(plan.window.grid.size, 1.0 + labels[2], dtype=np.float32),
        np.ones(plan.window.continuum_wavelength.size, dtype=np.float32),
    )


def build_fake(plan):
    return partial(fake_spectrum, plan)


def build_broken(plan):
    raise OSError("no library")


def test_a_point_that_kills_its_process_is_skipped_and_reported(tmp_path):
    plan = plan_of(metallicities(0.1, -1.0, 0.2, -2.0, 0.3, -3.0, 0.4))
    seen = []
    report = synthesize(plan, tmp_path, 2, timeout=1.5, progress=lambda *a: seen.append(a), build=build_fake)
    assert report.computed == 7
    assert seen[0] == (0, 7)
    assert seen[-1] == (7, 7)
    assert set(report.failures) == {1, 3, 5}
    assert "ended with code 3: equation of state lost its way" in report.failures[1]
    assert report.failures[3] == "ValueError: no such star"
    assert report.failures[5] == "took more than 1.5 s"
    library = gather(plan, tmp_path)
    np.testing.assert_allclose(library.labels[:, 0], [0.1, 0.2, 0.3, 0.4])
    np.testing.assert_allclose(library.flux[:, 0], [1.1, 1.2, 1.3, 1.4])
    assert library.provenance["failed_points"] == 3
    assert library.label_space.names == ("m_h",)


def test_finished_chunks_are_kept_and_damaged_ones_done_again(tmp_path):
    plan = plan_of(metallicities(*np.linspace(0.1, 0.9, 25)))
    assert synthesize(plan, tmp_path, build=build_fake).computed == 25
    first = gather(plan, tmp_path)
    (tmp_path / "chunk_000001.npz").unlink()
    damaged = tmp_path / "chunk_000002.npz"
    damaged.write_bytes(damaged.read_bytes()[:100])
    with pytest.raises(RunError, match="points 10 and following are not computed yet"):
        gather(plan, tmp_path)
    report = synthesize(plan, tmp_path, build=build_fake)
    assert (report.computed, report.found) == (15, 10)
    np.testing.assert_array_equal(gather(plan, tmp_path).flux, first.flux)
    assert synthesize(plan, tmp_path, build=build_broken).computed == 0
    assert not list(tmp_path.glob("*.partial"))


def test_a_folder_belongs_to_one_plan(tmp_path):
    synthesize(plan_of(metallicities(0.1, 0.2)), tmp_path, build=build_fake)
    with pytest.raises(RunError, match="holds another synthesis"):
        synthesize(plan_of(metallicities(0.1, 0.3)), tmp_path, build=build_fake)


def test_a_worker_that_cannot_start_stops_the_run(tmp_path):
    with pytest.raises(RunError, match="a worker could not start: OSError: no library"):
        synthesize(plan_of(metallicities(0.1, 0.2)), tmp_path, build=build_broken)


def test_no_success_at_all_says_why(tmp_path):
    plan = plan_of(metallicities(-2.0))
    synthesize(plan, tmp_path, build=build_fake)
    with pytest.raises(DataError, match=r"no point could be computed.*no such star"):
        gather(plan, tmp_path)


def test_map_isolated_of_nothing_starts_nothing():
    assert list(map_isolated(partial(build_broken, None), [])) == []


def test_plans_that_cannot_be_meant_are_refused():
    design = Design(np.array(metallicities(0.0, 0.1)), "test")
    with pytest.raises(DataError, match="needs T on tau5000"):
        SynthesisPlan(few_lines(), [grey_model()], design, WINDOW, hydrostatic=True)
    with pytest.raises(DataError, match="ask for hydrostatic equilibrium"):
        SynthesisPlan(few_lines(), [grey_model(scale="tau5000", pressure=False)], design, WINDOW)


def equivalent_width(library, row):
    """Return the summed line absorption, Å, against the library's continuum."""
    level = np.interp(library.grid.wavelength, library.continuum_wavelength, library.continuum[row])
    return np.trapezoid(1 - library.flux[row] / level, library.grid.wavelength)


@pytest.fixture(scope="module")
def computed(tmp_path_factory):
    """Three metallicities of a grey giant with PySME, pressure from hydrostatic equilibrium on tau5000."""
    pytest.importorskip("pysme")
    design = Design(np.array(metallicities(-2.0, -1.0, 0.0)), "test")
    model = grey_model(scale="tau5000", pressure=False)
    plan = SynthesisPlan(few_lines(), [model], design, WINDOW, hydrostatic=True)
    folder = tmp_path_factory.mktemp("synthesis")
    report = synthesize(plan, folder, workers=2)
    assert report.failures == {}
    return gather(plan, folder)


def test_calcium_strengthens_with_metallicity(computed):
    widths = [equivalent_width(computed, row) for row in range(3)]
    assert all(np.diff(widths) > 0.1), widths
    assert (computed.continuum > 0).all()
    assert (computed.flux > 0).all()


def test_the_line_sits_at_its_vacuum_wavelength_and_the_continuum_is_that_of_the_star(computed):
    core = computed.grid.wavelength[np.argmin(computed.flux[0])]
    assert core == pytest.approx(8544.438, abs=0.1)
    # pi B_lambda at 5000 K and 8542 Å is 7.4e6; the continuum forms near tau = 2/3.
    planck = np.pi * 1.1910e-5 / (8542e-8) ** 5 * 1e-8 / np.expm1(1.43878 / (8542e-8 * 5000))
    assert computed.continuum[2].mean() == pytest.approx(planck, rel=0.25)


def test_the_library_is_saved_and_read_back(computed, tmp_path):
    computed.save(tmp_path / "own.h5")
    again = SyntheticLibrary.load(tmp_path / "own.h5")
    np.testing.assert_array_equal(again.flux, computed.flux)
    assert again.provenance["pressure"] == "hydrostatic equilibrium"


def test_line_list_from_a_file_gives_the_same_plan(tmp_path):
    path = tmp_path / "lines.csv"
    names = "species,wavelength_air,excitation_ev,log_gf,gamma_rad,gamma_stark,gamma_waals"
    rows = [",".join(map(str, row)) for row in zip(*few_lines().columns(), strict=True)]
    path.write_text("\n".join([names, *rows]))
    design, model = Design(np.array(metallicities(0.0, 0.1)), "test"), grey_model()
    one, two = (SynthesisPlan(lines, [model], design, WINDOW) for lines in (few_lines(), read_lines(path)))
    np.testing.assert_allclose(one.lines.wavelength_air, two.lines.wavelength_air)
    other = SynthesisPlan(few_lines(), [model], design, WINDOW, microturbulence=1.0)
    assert one.fingerprint != other.fingerprint


def test_a_spectrum_of_the_builtin_library_is_reproduced():
    """Same T(tau5000), lines and mix as a spectrum of the library, which other code computed (data/README.md)."""
    pytest.importorskip("pysme")
    with np.load(Path(__file__).parent / "data" / "lte_window.npz") as stored:
        star = dict(stored)
    labels, log_tau = star["labels"], star["log_tau"]
    names = ("wlcent", "excit", "gflog", "gamrad", "gamqst", "gamvw")
    lines = LineTable(star["line_species"], *(star[f"line_{name}"].astype(float) for name in names))
    layers = np.concatenate([np.arange(-5.0, -2.39, 0.2), np.arange(-2.28, 1.70, 0.12)])
    structure = ModelAtmosphere(
        *labels[:3],
        "tau5000",
        10**layers,
        CubicSpline(log_tau, star["temperature"])(layers),
        10 ** np.interp(layers, log_tau, star["log_pressure"]),
        None,
        "regression",
    )
    window = LibraryWindow(8535.0, 8560.0, 20_000.0)
    plan = SynthesisPlan(lines, [structure], Design(labels[None], "test"), window, hydrostatic=True)
    flux, _ = PointSynthesis(plan)(labels)
    ratio = flux / CubicSpline(star["wavelength"], star["flux"])(window.grid.wavelength)
    # Interpolating the reference at 2.5 pixels per FWHM is what limits the agreement in line cores.
    assert np.abs(ratio - 1).max() < 3e-3
    assert np.median(np.abs(ratio - 1)) < 3e-4
