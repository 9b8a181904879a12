"""The kinds of spectrographs there are, as generated files: gaps, arms, steps, air, LSF in pixels, dead pixels."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from described import PLAIN, loaded, mended, seen_through, works_or_is_mended, written
from specvit.errors import ConfigError, DataError, WavelengthRangeError
from specvit.instrument import Instrument
from specvit.instrument.lsf import FWHM_PER_SIGMA, refined
from specvit.instrument.performance import curves
from specvit.library import Emulator
from specvit.limits.forecast import Forecaster, FreeParameters
from specvit.spectra import WavelengthGrid
from specvit.spectra.air import vacuum_to_air

LABELS = torch.tensor([[5000.0, 3.0, 0.0, 0.0, 0.0], [4200.0, 1.5, -1.0, 0.2, 0.0]])
CENTRES = 8400.0 + 0.8 * np.arange(200)


@pytest.fixture(scope="module")
def emulator():
    return Emulator.builtin()


def snr_of(instrument, observed):
    flux = observed(LABELS)
    return flux / instrument.noise_sigma(flux, instrument.fixed_conditions(2))


# --- pixels ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        ({"start": 8400.0, "step": 0.5, "pixels": 30}, 8400 + 0.5 * np.arange(30)),
        ({"start": 8400.0, "log_step": 1e-4, "pixels": 30}, 8400 * 10 ** (1e-4 * np.arange(30))),
        (
            {"start": 8400.0, "velocity_step": 30.0, "pixels": 30},
            8400 * np.exp(30 / 299_792.458 * np.arange(30)),
        ),
    ],
)
def test_steps_by_keys(tmp_path, keys, expected):
    instrument = loaded(tmp_path, grid=keys, lsf={"kind": "gaussian", "fwhm_pix": 3.0})
    np.testing.assert_allclose(instrument.grid.wavelength, expected, rtol=1e-12)
    assert len(instrument.grid.segments) == 1


@pytest.mark.parametrize(
    "keys",
    [
        {"start": 8400.0, "step": 0.5, "log_step": 1e-4, "pixels": 30},
        {"start": 8400.0, "pixels": 30},
        {"start": 8400.0, "step": 0.5},
        {"table": "wave", "start": 8400.0},
        {},
    ],
)
def test_steps_that_say_too_much_or_too_little_are_refused(tmp_path, keys):
    with pytest.raises(ConfigError, match="grid: give either start, pixels and one of step, log_step"):
        loaded(tmp_path, grid=keys)


def test_steps_without_end_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"grid\.start: .*pixel \d+ is inf"):
        loaded(tmp_path, grid={"start": 8400.0, "log_step": 0.1, "pixels": 100_000})


@pytest.mark.parametrize("form", ["contiguous", "pairs", "with centres"])
def test_edges_by_table(tmp_path, form):
    edges = 8400 + 0.8 * np.arange(201) ** 1.01
    tables = {"edges": edges if form == "contiguous" else np.stack([edges[:-1], edges[1:]])}
    grid = {"edges": "edges"}
    if form == "with centres":
        tables["wave"] = edges[:-1] + 0.3
        grid["table"] = "wave"
    instrument = loaded(tmp_path, tables=tables, grid=grid)
    np.testing.assert_array_equal(instrument.grid.lower, edges[:-1])
    np.testing.assert_array_equal(instrument.grid.upper, edges[1:])
    expected = tables["wave"] if form == "with centres" else 0.5 * (edges[1:] + edges[:-1])
    np.testing.assert_array_equal(instrument.grid.wavelength, expected)


@settings(deadline=None, max_examples=15)
@given(missing=st.integers(1, 80), at=st.integers(10, 100), power=st.sampled_from([0.0, 1e-4]))
def test_the_pixels_beside_a_gap_are_as_without_it(tmp_path_factory, emulator, missing, at, power):
    folder = tmp_path_factory.mktemp("gap")
    centres = 8400 * 10 ** (power * np.arange(200)) if power else CENTRES
    lsf = {"kind": "gaussian", "fwhm_pix": 3.0, "includes_pixel": False}
    kept = np.delete(np.arange(200), range(at, at + missing))
    whole = loaded(folder, tables={"wave": centres}, grid={"table": "wave"}, lsf=lsf)
    holed = loaded(folder, "hole.toml", tables={"wave": centres[kept]}, grid={"table": "wave"}, lsf=lsf)
    assert len(holed.grid.segments) == 2
    np.testing.assert_allclose(holed.grid.width, whole.grid.width[kept], rtol=1e-3)
    np.testing.assert_allclose(
        snr_of(holed, holed.observe(emulator)), snr_of(whole, whole.observe(emulator))[:, kept], rtol=3e-3
    )


@pytest.mark.parametrize("form", ["gap", "arms"])
def test_the_error_of_the_sky_subtraction_does_not_reach_across_a_gap(tmp_path, form):
    """It is of the brightest of three neighbours: a bright end of one piece is no neighbour of the next."""
    left, right = CENTRES[:80], CENTRES[90 if form == "gap" else 75 :]
    bright = np.where(left[-3] < CENTRES, 30.0, 0.1)
    sky = {"left": bright[:80], "right": np.full(right.size, 0.1)}
    detector = {"read_noise": 3.0, "sky_floor": 0.2}

    def of(name, wave, background):
        tables = {"wave": wave, "sky": background}
        grid = {"table": "wave", "arms": True}
        return loaded(tmp_path, name, tables=tables, grid=grid, sky={"background": "sky"}, detector=detector)

    both = of("both.toml", np.concatenate([left, right]), np.concatenate([sky["left"], sky["right"]]))
    assert len(both.grid.segments) == 2
    conditions = both.fixed_conditions(2, mag=18.0)
    flux = torch.rand(2, both.grid.size, generator=torch.Generator().manual_seed(0)) + 0.5
    parts = [
        one.noise_sigma(flux[:, pixels], conditions)
        for one, pixels in (
            (of("left.toml", left, sky["left"]), slice(0, left.size)),
            (of("right.toml", right, sky["right"]), slice(left.size, None)),
        )
    ]
    torch.testing.assert_close(both.noise_sigma(flux, conditions), torch.cat(parts, 1), rtol=1e-6, atol=0)
    counts = both.noise.sky_counts(conditions)
    expected = (
        torch.from_numpy(np.concatenate([sky["left"], sky["right"]])) * conditions["exposure_time"][:, None]
    )
    torch.testing.assert_close(counts, expected.float(), rtol=1e-5, atol=0)


# --- arms --------------------------------------------------------------------------------------------------

FIRST = {"name": "r", "grid": {"start": 8400.0, "step": 0.8, "pixels": 200}}
SECOND = {
    "name": "z",
    "grid": {"start": 8500.0, "log_step": 3e-5, "pixels": 300},
    "lsf": {"kind": "gaussian", "resolving_power": 6000.0},
    "throughput": 0.3,
    "background": 0.5,
    "read_noise": 7.0,
}


def test_arms_overlap_and_each_is_what_it_would_be_alone(tmp_path, emulator):
    both = loaded(tmp_path, without=("grid",), arm=[FIRST, SECOND])
    first = loaded(tmp_path, grid=FIRST["grid"])
    second = loaded(
        tmp_path,
        grid=SECOND["grid"],
        lsf=SECOND["lsf"],
        object={"area": 10.0, "throughput": 0.3},
        sky={"background": 0.5},
        detector={"read_noise": 7.0},
    )
    assert both.grid.arms == (200,)
    np.testing.assert_array_equal(
        both.grid.wavelength, np.concatenate([first.grid.wavelength, second.grid.wavelength])
    )
    expected = [snr_of(one, one.observe(emulator)) for one in (first, second)]
    np.testing.assert_allclose(snr_of(both, both.observe(emulator)), torch.cat(expected, 1), rtol=2e-5)
    np.testing.assert_allclose(
        both.resolving_power(), np.concatenate([first.resolving_power(), second.resolving_power()])
    )
    assert len(both.lsf_nodes()["fwhm"]) == 18
    # A detector that the other arm has must not be taken for one's own.
    assert float((expected[1] / snr_of(both, both.observe(emulator))[:, :300] - 1).abs().max()) > 0.05


def test_arms_with_stated_noise_each(tmp_path, emulator):
    at = {"mag": 18.0, "exposure_time": 1200.0, "exposure_count": 2.0}
    arms = [
        {**FIRST, "noise": {**at, "snr": 30.0}},
        {"name": "z", "grid": SECOND["grid"], "noise": {**at, "snr": 80.0}},
    ]
    instrument = loaded(tmp_path, without=("grid", "object", "sky", "detector"), arm=arms)
    found = curves(instrument, at).snr
    np.testing.assert_allclose(found, np.repeat([30.0, 80.0], [200, 300]), rtol=1e-6)
    assert instrument.observe(emulator).grid.size == 500


def test_the_information_of_two_arms_is_the_sum(tmp_path, emulator):
    """With nothing free but the labels; the arms of a file against the two of them as files of their own."""
    free = FreeParameters(continuum_order=None)
    alone = {"grid": SECOND["grid"], "lsf": SECOND["lsf"], "sky": {"background": 0.5}}
    alone |= {"object": {"area": 10.0, "throughput": 0.3}, "detector": {"read_noise": 7.0}}
    several = {
        "both": loaded(tmp_path, without=("grid",), arm=[FIRST, SECOND]),
        "first": loaded(tmp_path, grid=FIRST["grid"]),
        "second": loaded(tmp_path, **alone),
    }
    fisher = {}
    for name, instrument in several.items():
        forecaster = Forecaster(emulator, instrument, free, dtype=torch.float64)
        (found,) = forecaster.forecast(LABELS.double(), [instrument.fixed_conditions(2)])
        fisher[name] = found.fisher
    torch.testing.assert_close(fisher["both"], fisher["first"] + fisher["second"], rtol=1e-5, atol=0)
    # Each arm is broadened by its own width, when that is free too.
    free = FreeParameters(continuum_order=None, line_width=True)
    bounds = {}
    for name, instrument in several.items():
        (found,) = Forecaster(emulator, instrument, free, dtype=torch.float64).forecast(
            LABELS.double(), [instrument.fixed_conditions(2)]
        )
        bounds[name] = torch.linalg.eigvalsh(found.fisher)[:, -1]
    # Of one width for both arms both know more than either.
    assert bool((bounds["both"] > torch.maximum(bounds["first"], bounds["second"])).all())


@pytest.mark.parametrize("name", ["weave_lr_red", "stray"])
def test_clipping_leaves_the_noise_of_the_other_pixels_as_it_is(tmp_path, emulator, name):
    """Scattered light is that of the whole detector, and the neighbour of the last pixel is still there."""
    if name == "stray":
        detector = {"read_noise": 3.0, "sky_floor": 0.2, "stray": 0.3, "width": 5.0, "trace_pitch_pix": 6.0}
        wave = 6900 + 0.8 * np.arange(900)
        sky = 0.1 + 30 * np.random.default_rng(0).random(900)
        name = written(tmp_path, tables={"wave": wave, "sky": sky}, grid={"table": "wave"},
                       sky={"background": "sky"}, detector=detector, clip=True)  # fmt: skip
    whole = Instrument.load(name)
    clipped = whole.clipped_to(emulator.grid)
    kept = np.isin(whole.grid.wavelength, clipped.grid.wavelength)
    assert 0 < kept.sum() < kept.size
    flux = torch.rand(3, whole.grid.size, generator=torch.Generator().manual_seed(0)) + 0.5
    conditions = whole.fixed_conditions(3, mag=torch.tensor([17.0, 19.0, 20.0]))
    torch.testing.assert_close(
        clipped.noise_sigma(flux[:, kept], conditions),
        whole.noise_sigma(flux, conditions)[:, kept],
        rtol=1e-6,
        atol=0,
    )


def test_arms_are_clipped_to_the_library_each(tmp_path, emulator):
    beyond = {**FIRST, "name": "b", "grid": {"start": 6500.0, "step": 0.8, "pixels": 100}}
    reaching = {**FIRST, "name": "c", "grid": {"start": 6950.0, "step": 0.8, "pixels": 200}}
    path = written(tmp_path, without=("grid",), arm=[beyond, reaching, SECOND], clip=True)
    whole = Instrument.load(path)
    instrument, observed = seen_through(path, emulator)
    assert len(instrument.arms) == 2
    assert instrument.grid.size == observed.grid.size < whole.grid.size
    assert instrument.clipped_to(emulator.grid) is instrument
    np.testing.assert_array_equal(instrument.grid.wavelength[-300:], whole.grid.wavelength[-300:])
    # What is left has the noise it had.
    sigma = whole.noise_sigma(torch.ones(1, whole.grid.size), whole.fixed_conditions(1))
    left = np.isin(whole.grid.wavelength, instrument.grid.wavelength)
    np.testing.assert_allclose(
        instrument.noise_sigma(torch.ones(1, instrument.grid.size), instrument.fixed_conditions(1)),
        sigma[:, left],
        rtol=1e-6,
    )


@pytest.mark.parametrize(
    ("changes", "without", "message"),
    [
        ({"arm": [FIRST]}, (), r"expected either grid, or one \[\[arm\]\]"),
        ({}, ("grid",), r"expected either grid, or one \[\[arm\]\]"),
        (
            {"arm": [FIRST, {**SECOND, "noise": {"mag": 18.0, "exposure_time": 600.0, "snr": 50.0}}]},
            ("grid",),
            "arms with stated noise beside others",
        ),
        ({"arm": [{**FIRST, "through": 1.0}]}, ("grid",), r"arm\.0\.through: unknown key"),
        (
            {"arm": [FIRST, {**SECOND, "throughput": "eff"}]},
            ("grid",),
            r"arm 'z': object\.throughput: no table",
        ),
    ],
)
def test_wrong_arms_are_named(tmp_path, changes, without, message):
    with pytest.raises((ConfigError, DataError), match=message) as caught:
        loaded(tmp_path, without=without, **changes)
    assert "mine.toml" in str(caught.value)


def test_a_table_with_two_arms_says_its_mend(tmp_path, emulator):
    wave = np.concatenate([CENTRES, 8500 + 0.8 * np.arange(200)])
    path = written(tmp_path, tables={"wave": wave}, grid={"table": "wave"})
    (tmp_path / "mended").mkdir()
    instrument, _, refusals = works_or_is_mended(path, emulator, tmp_path / "mended")
    assert len(refusals) == 1
    assert instrument.grid.arms == (200,)


# --- line-spread function ----------------------------------------------------------------------------------


def profile_tables(fwhm_pix, centres):
    offset = np.linspace(-12, 12, 481)
    shape = np.exp(-0.5 * (offset * FWHM_PER_SIGMA / fwhm_pix) ** 2)
    return {"wave": centres, "nodes": np.array([7000.0, 9000.0]), "x": offset, "p": np.stack([shape, shape])}


PROFILE = {"kind": "profile", "wavelength": "nodes", "offset_pix": "x", "profile": "p"}


def test_a_profile_in_pixels_stays_that_many_pixels_on_a_logarithmic_grid(tmp_path):
    centres = 7050 * 10 ** (1e-4 * np.arange(1000))
    tabulated = loaded(tmp_path, tables=profile_tables(3.0, centres), grid={"table": "wave"}, lsf=PROFILE)
    gaussian = loaded(
        tmp_path,
        "gauss.toml",
        tables={"wave": centres},
        grid={"table": "wave"},
        lsf={"kind": "gaussian", "fwhm_pix": 3.0, "includes_pixel": False},
    )
    width = tabulated.grid.width
    assert width.max() / width.min() > 1.2
    np.testing.assert_allclose(tabulated.arms[0].lsf.fwhm(centres) / width, 3.0, rtol=1e-3)
    fine = WavelengthGrid.log(7000.0, 3.0, 28_000)
    spectrum = 1 - 0.5 * np.exp(-0.5 * ((fine.wavelength % 100 - 50) / 0.8) ** 2)
    seen, expected = (one.lsf_matrix(fine, np.inf) @ spectrum for one in (tabulated, gaussian))
    np.testing.assert_allclose(seen, expected, atol=2e-4)


def test_resolving_power_of_wavelength(tmp_path):
    nodes = {"wavelength": [8400.0, 8559.2], "value": [3000.0, 5000.0]}
    instrument = loaded(tmp_path, lsf={"kind": "gaussian", "resolving_power": nodes})
    np.testing.assert_allclose(instrument.resolving_power(), np.linspace(3000, 5000, 200), rtol=1e-6)
    by_table = loaded(
        tmp_path,
        tables={"r": np.linspace(3000, 5000, 200)},
        lsf={"kind": "gaussian", "resolving_power": "r"},
    )
    np.testing.assert_allclose(by_table.resolving_power(), instrument.resolving_power(), rtol=1e-9)


def test_resolution_up_to_the_librarys_own(tmp_path, emulator):
    """A spectrum that is known between its samples, seen at the library's own resolution through narrow pixels."""
    path = written(
        tmp_path,
        grid={"start": 8400.0, "step": 0.1, "pixels": 1500},
        lsf={"kind": "gaussian", "resolving_power": 20_000.0},
    )
    instrument, _ = seen_through(path, emulator)
    grid_in = emulator.grid
    centre = 8470.03
    sigma = centre / 20_000 / FWHM_PER_SIGMA
    line = np.exp(-0.5 * ((grid_in.wavelength - centre) / sigma) ** 2)
    observed = instrument.lsf_matrix(grid_in, 20_000.0) @ line
    expected = np.exp(
        -0.5 * ((instrument.grid.wavelength - centre) / np.hypot(sigma, 0.1 / np.sqrt(12))) ** 2
    )
    expected *= sigma / np.hypot(sigma, 0.1 / np.sqrt(12))
    np.testing.assert_allclose(observed, expected, atol=0.01)
    # A constant stays one: no sample falls as a whole into one pixel or the next.
    np.testing.assert_allclose(instrument.lsf_matrix(grid_in, 20_000.0).sum(1), 1, rtol=1e-4)
    with pytest.raises(WavelengthRangeError, match=r"R = 20000 is below the instrument's \(R = 209\d\d"):
        seen_through(
            written(tmp_path, lsf={"kind": "gaussian", "resolving_power": 21_000.0, "includes_pixel": False},
                    grid={"start": 8400.0, "step": 0.02, "pixels": 1500}), emulator)  # fmt: skip


@settings(deadline=None, max_examples=15)
@given(step=st.floats(0.05, 2.0), power=st.floats(1500, 19_900), own=st.floats(5000, 40_000))
def test_a_constant_stays_constant_whatever_library_and_pixels(tmp_path_factory, step, power, own):
    """Also where the optics are nearly as narrow as the library's lines, and pixels broad or narrow."""
    lsf = {"kind": "gaussian", "resolving_power": min(power, own), "includes_pixel": False}
    folder = tmp_path_factory.mktemp("lsf")
    instrument = loaded(folder, grid={"start": 8400.0, "step": step, "pixels": 60}, lsf=lsf)
    grid_in = WavelengthGrid.log(8200.0, 299_792.458 / own / 2.5, int(2.5 * own * np.log(8750 / 8200)))
    rows = instrument.lsf_matrix(grid_in, own).sum(1)
    np.testing.assert_allclose(rows, 1, rtol=1e-3)


@pytest.mark.parametrize(("per_fwhm", "error"), [(2.5, 9e-3), (3.0, 2.5e-3), (4.0, 2.5e-4)])
def test_what_lies_between_the_librarys_samples(per_fwhm, error):
    x, sigma = np.arange(60.0), per_fwhm / FWHM_PER_SIGMA
    worst = 0.0
    for centre in np.linspace(30, 31, 11):
        fine, matrix = refined(x, 8)
        found = matrix @ np.exp(-0.5 * ((x - centre) / sigma) ** 2)
        worst = max(worst, np.abs(found - np.exp(-0.5 * ((fine - centre) / sigma) ** 2)).max())
    assert worst < error


# --- air ---------------------------------------------------------------------------------------------------


def test_an_instrument_in_air_sees_the_library_in_vacuum(tmp_path, emulator):
    nodes = {"wavelength": [8400.0, 8500.0, 8560.0], "value": [0.1, 0.3, 0.2]}
    vacuum = loaded(
        tmp_path,
        tables={"wave": CENTRES},
        grid={"table": "wave"},
        object={"area": 10.0, "throughput": nodes},
    )
    in_air = {**nodes, "wavelength": vacuum_to_air(np.array(nodes["wavelength"])).tolist()}
    air = loaded(
        tmp_path,
        tables={"wave": vacuum_to_air(CENTRES)},
        grid={"table": "wave", "medium": "air"},
        object={"area": 10.0, "throughput": in_air},
    )
    assert air.grid.medium == "vacuum"
    assert air.grid.matches(vacuum.grid)
    np.testing.assert_allclose(
        snr_of(air, air.observe(emulator)), snr_of(vacuum, vacuum.observe(emulator)), rtol=1e-4
    )
    # Were it not converted, lines would lie 2.3 Å off.
    assert abs(air.grid.wavelength[0] - vacuum_to_air(CENTRES)[0]) > 2
    with pytest.raises(DataError, match=r"grid\.start: air wavelengths: 1500 Å is not above 2000 Å"):
        loaded(tmp_path, grid={"start": 1500.0, "step": 0.8, "pixels": 20, "medium": "air"})


# --- coverage and bands ------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", [6800.0, 8700.0])
def test_an_instrument_wider_than_the_library_says_its_mend(tmp_path, emulator, start):
    path = written(tmp_path, grid={"start": start, "step": 0.8, "pixels": 600})
    with pytest.raises(WavelengthRangeError, match="to use the pixels that both have, set clip = true"):
        seen_through(path, emulator)
    (tmp_path / "mended").mkdir()
    instrument, observed, _ = works_or_is_mended(path, emulator, tmp_path / "mended")
    assert 100 < instrument.grid.size == observed.grid.size < 600
    edges, reach = emulator.grid, instrument.arms[0].lsf.reach(emulator.grid.wavelength).max()
    assert instrument.grid.lower[0] >= edges.lower[0] + reach
    assert instrument.grid.upper[-1] <= edges.upper[-1] - reach
    # As many as there are: one more would reach beyond.
    assert (
        instrument.grid.lower[0] - 0.8 < edges.lower[0] + reach
        or instrument.grid.upper[-1] + 0.8 > edges.upper[-1] - reach
    )


def test_a_clipping_instrument_that_was_not_clipped_says_so(tmp_path, emulator):
    wide = loaded(tmp_path, grid={"start": 8700.0, "step": 0.8, "pixels": 600}, clip=True)
    with pytest.raises(WavelengthRangeError, match=r"use instrument\.clipped_to\(library\.grid\)"):
        wide.observe(emulator)
    assert wide.clipped_to(emulator.grid).observe(emulator).grid.size < 600


def test_a_library_with_a_hole_does_not_cover_what_lies_in_it(tmp_path, emulator):
    kept = np.abs(emulator.grid.wavelength - 8480) > 20
    holed = emulator.grid.take(kept)
    with pytest.raises(WavelengthRangeError, match="set clip = true"):
        loaded(tmp_path).lsf_matrix(holed, 20_000.0)
    instrument = loaded(tmp_path, clip=True).clipped_to(holed)
    assert len(instrument.grid.segments) == 2
    assert instrument.lsf_matrix(holed, 20_000.0).shape[0] == instrument.grid.size < 200


def test_bands_by_name_and_by_curve(tmp_path):
    pivots = {name: loaded(tmp_path, band={"name": name}).band.pivot for name in ("i", "r", "V", "G")}
    # HSC i and r: Kawanomoto et al. 2018; V: Bessell & Murphy 2012, PASP 124, 140, table 1; G: Riello et al. 2021.
    published = {"i": 7711, "r": 6180, "V": 5480, "G": 6217.6}
    for name, pivot in published.items():
        assert pivots[name] == pytest.approx(pivot, rel=0.005), name
    curve = {"wavelength": [7000.0, 7500.0, 8000.0, 8600.0], "value": [0.0, 0.5, 0.5, 0.0]}
    by_nodes = loaded(tmp_path, band={"name": "mine", "response": curve}).band
    by_table = loaded(
        tmp_path,
        tables={"l": np.array(curve["wavelength"]), "t": np.array(curve["value"])},
        band={"name": "mine", "response": "t", "wavelength": "l"},
    ).band
    at = np.linspace(6900, 8700, 200)
    np.testing.assert_array_equal(by_nodes.response(at), np.interp(at, *curve.values(), left=0, right=0))
    np.testing.assert_array_equal(by_nodes.response(at), by_table.response(at))
    with pytest.raises(ConfigError, match=r"band: 'q' is not known by its name \(G, V, grid, i, r are\)"):
        loaded(tmp_path, band={"name": "q"})


@pytest.mark.parametrize("name", ["r", "V", "G"])
def test_a_band_outside_the_library_says_its_mend(tmp_path, emulator, name):
    path = written(tmp_path, band={"name": name})
    with pytest.raises(WavelengthRangeError, match=rf"of band {name} .*set band = \{{ name = \"grid\" \}}"):
        seen_through(path, emulator)
    instrument, observed = seen_through(mended(path, 'set band = { name = "grid" }', tmp_path), emulator)
    # The mean flux density over the pixels, weighted as a magnitude is, is that of a flat-AB source.
    flux, flat = observed(LABELS).numpy(), instrument.flat_source()
    photons = instrument.grid.wavelength * instrument.grid.width
    np.testing.assert_allclose((flux * photons).sum(1) / (flat * photons).sum(), 1, rtol=2e-3)


# --- dead pixels -------------------------------------------------------------------------------------------

DEAD_NODES = {
    "wavelength": [8399.0, 8449.0, 8449.5, 8480.0, 8480.5, 8800.0],
    "value": [0.2, 0.2, 0.0, 0.0, 0.2, 0.2],
}


@pytest.mark.parametrize("key", ["throughput", "transmission", "trace_fraction"])
def test_a_pixel_without_light_is_dead(tmp_path, emulator, key):
    instrument = loaded(tmp_path, object={"area": 10.0, "throughput": 0.9, key: DEAD_NODES})
    dead = ~instrument.live
    assert dead.sum() == 39  # 8449.6 to 8480 Å
    flux = instrument.observe(emulator)(LABELS)
    sigma = instrument.noise_sigma(flux, instrument.fixed_conditions(2))
    assert bool(torch.isinf(sigma[:, dead]).all())
    assert bool(torch.isfinite(sigma[:, ~dead]).all())
    with pytest.raises(DataError, match="no light reaches any pixel"):
        loaded(tmp_path, object={"area": 10.0, "throughput": 0.9, key: 0.0})


def test_the_shapes_of_the_plain_instrument_are_those_of_the_file(tmp_path):
    assert loaded(tmp_path).grid.size == PLAIN["grid"]["pixels"]
