"""Forecasts of the built-in world: against finite differences, the published table, and their own laws."""

from itertools import pairwise

import numpy as np
import pytest
import torch
from scipy.interpolate import CubicSpline

from specvit.errors import ConfigError, DomainError, RunError, ShapeError
from specvit.instrument import Instrument
from specvit.library import Emulator
from specvit.limits import (
    FREE_LABELS,
    PUBLISHED,
    PUBLISHED_VARIANCE,
    Forecaster,
    FreeParameters,
    grid_nodes,
    marginal_crlb,
    prior_draws,
    published_row,
    star_columns,
    summarise,
    sweep,
    variance_choices,
    write_star_table,
)
from specvit.spectra import LOW_T_BOX

pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")


@pytest.fixture(scope="module")
def emulator():
    return Emulator.builtin()


@pytest.fixture(scope="module")
def instrument():
    return Instrument.load("pfs_mr_reference")


@pytest.fixture(scope="module")
def stars():
    return prior_draws(LOW_T_BOX, 12, seed=3)


def forecast(emulator, instrument, stars, mag=21.0, noise_level=1.0, **free):
    forecaster = Forecaster(emulator, instrument, FreeParameters(**free), noise_level)
    return sweep(forecaster, stars, [mag])[0]


def test_the_bound_equals_finite_differences_spectrum_by_spectrum(emulator, instrument, stars):
    ours = forecast(emulator, instrument, stars, continuum_order=0)
    observed = instrument.observe(emulator).double()
    space, steps = emulator.label_space, np.array([1.0, 2e-3, 2e-3, 1e-3, 1e-3])
    for k in range(4):
        # Steps stay inside the box.
        centre = np.clip(stars[k].numpy(), np.array(space.low) + steps, np.array(space.high) - steps)
        up = observed(torch.tensor(centre + np.diag(steps))).numpy()
        down = observed(torch.tensor(centre - np.diag(steps))).numpy()
        flux = observed(torch.tensor(centre[None]))
        sigma = instrument.noise_sigma(flux, instrument.fixed_conditions(1, mag=21.0))[0].numpy()
        columns = np.c_[((up - down) / (2 * steps[:, None])).T, flux[0].numpy()] / sigma[:, None]
        crlb = np.linalg.inv(columns.T @ columns)[1, 1]
        assert float(ours.crlb[k]) == pytest.approx(crlb, rel=2e-3)
        assert float(ours.snr[k]) == pytest.approx(np.median(flux[0].numpy() / sigma), rel=1e-3)


def test_flux_and_slopes_are_those_of_the_observed_emulator(emulator, instrument, stars):
    observed = instrument.observe(Emulator.builtin().double())
    free = FreeParameters(labels=("m_h", "log_g"))
    forecaster = Forecaster(emulator, instrument, free, dtype=torch.float64)
    (_, weights), *_ = forecaster._chunks(stars)
    flux, columns = forecaster._columns_of(weights)
    torch.testing.assert_close(flux, observed(stars), rtol=1e-11, atol=0)
    assert columns[:, 0].equal(flux)  # the slope of a free flux scale
    expected = observed.jacobian(stars)[:, :, [2, 1]]
    torch.testing.assert_close(columns[:, 1:].mT, expected, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(
    "free", [{}, {"continuum_order": 10, "velocity": True, "line_width": True}], ids=["scale", "all"]
)
def test_float32_spectra_give_the_bounds_of_float64(emulator, instrument, free):
    """Stated in docs/limits.md: 3e-5 at most for 2000 stars, any label."""
    stars = prior_draws(LOW_T_BOX, 200, seed=5)
    conditions = instrument.fixed_conditions(200, mag=21.5)
    single, double = (
        Forecaster(emulator, instrument, FreeParameters(**free), dtype=dtype).forecast(stars, [conditions])[0]
        for dtype in (torch.float32, torch.float64)
    )
    assert single.fisher.dtype == double.fisher.dtype == torch.float64
    for label in range(5):
        expected = marginal_crlb(double.fisher, label)
        torch.testing.assert_close(marginal_crlb(single.fisher, label), expected, rtol=5e-5, atol=0)
    torch.testing.assert_close(single.snr, double.snr, rtol=1e-5, atol=0)


def test_conditions_may_differ_from_star_to_star(emulator, instrument, stars):
    """Shared conditions are worked out once, others star by star: both as for each star alone."""
    magnitudes = torch.linspace(20.0, 22.5, len(stars))
    forecaster = Forecaster(emulator, instrument, dtype=torch.float64)
    found = forecaster.forecast(stars, [instrument.fixed_conditions(len(stars), mag=magnitudes)])[0]
    for k in (0, 7):
        alone = sweep(forecaster, stars[k : k + 1], [float(magnitudes[k])])[0]
        torch.testing.assert_close(found.fisher[k], alone.fisher[0], rtol=1e-6, atol=0)
        torch.testing.assert_close(found.snr[k], alone.snr[0], rtol=1e-6, atol=0)


def test_the_bound_scales_with_the_noise_and_falls_with_depth(emulator, instrument, stars):
    base = forecast(emulator, instrument, stars)
    doubled = forecast(emulator, instrument, stars, noise_level=2.0)
    torch.testing.assert_close(doubled.crlb, 4 * base.crlb, rtol=1e-9, atol=0)
    torch.testing.assert_close(doubled.snr, base.snr / 2, rtol=1e-9, atol=0)
    deep = sweep(Forecaster(emulator, instrument), stars, [21.0], exposure_count=24.0)[0]
    assert (deep.crlb < 0.55 * base.crlb).all()


def test_every_freedom_costs_precision(emulator, instrument, stars):
    known = forecast(emulator, instrument, stars, continuum_order=None)
    scale = forecast(emulator, instrument, stars)
    chain = [
        forecast(emulator, instrument, stars, labels=FREE_LABELS[3], continuum_order=None),
        known,
        scale,
        forecast(emulator, instrument, stars, continuum_order=3),
        forecast(emulator, instrument, stars, continuum_order=3, velocity=True),
        forecast(emulator, instrument, stars, continuum_order=3, velocity=True, line_width=True),
    ]
    for less, more in pairwise(chain):
        assert (more.crlb >= less.crlb * (1 - 1e-9)).all()
        assert (more.crlb > less.crlb * (1 + 1e-6)).any()
    # Three labels, the rest known: a 3 x 3 matrix; and the label must be free to have an error.
    assert chain[0].fisher.shape == (12, 3, 3)
    with pytest.raises(ConfigError, match="not among the free labels"):
        FreeParameters(label="c_m", labels=FREE_LABELS[3])
    for order in (-2, 51):
        with pytest.raises(ConfigError, match="order must be 0 to 50"):
            FreeParameters(continuum_order=order)


def test_velocity_and_width_columns_are_those_of_the_seen_spectrum(emulator, instrument, stars):
    """Against shifting and broadening the library spectrum itself, then seeing it through the instrument."""
    free = FreeParameters(continuum_order=None, velocity=True, line_width=True)
    forecaster = Forecaster(emulator, instrument, free, dtype=torch.float64)
    ((_, weights),) = forecaster._chunks(stars[:1])
    flux, columns = forecaster._columns_of(weights)
    native = Emulator.builtin().double()(stars[:1])[0].numpy()
    wavelength = emulator.grid.wavelength
    matrix = instrument.lsf_matrix(emulator.grid, emulator.resolution)
    seen = matrix @ native
    norm = float(flux[0, 2000]) / seen[2000]

    spline = CubicSpline(np.log(wavelength), native)

    def shifted(velocity):
        return matrix @ spline(np.log(wavelength) - velocity / 299_792.458) * norm

    def broadened(share):
        # LSF² (1 + share)² = LSF² + extra²: a Gaussian of this many samples.
        fwhm = np.interp(8000.0, wavelength, instrument.arms[0].lsf.fwhm(wavelength))
        step = wavelength[6001] / wavelength[6000] - 1
        extra = fwhm / 2.3548 / 8000.0 * np.sqrt((1 + share) ** 2 - 1) / step
        offsets = np.arange(-25, 26)
        kernel = np.exp(-0.5 * (offsets / extra) ** 2)
        return matrix @ np.convolve(native, kernel / kernel.sum(), mode="same") * norm

    velocity = shifted(0.5) - shifted(-0.5)
    found = columns[0, 0].numpy()
    assert np.abs(found - velocity).max() < 0.01 * np.abs(velocity).max()
    width = (broadened(0.1) - seen * norm) / 0.1
    inner = slice(1500, 2500)  # where the LSF is that of 8000 Å
    found = columns[0, 1].numpy()
    assert np.corrcoef(found[inner], width[inner])[0, 1] > 0.99
    assert found[inner].std() == pytest.approx(width[inner].std(), rel=0.15)


def test_the_nodes_are_those_of_the_reference():
    nodes = grid_nodes(LOW_T_BOX)
    assert nodes.shape == (1260, 5)
    assert [len(nodes[:, k].unique()) for k in range(5)] == [10, 9, 14, 1, 1]
    assert nodes[:, 3:].abs().max() == 0
    everything = grid_nodes(LOW_T_BOX, chemistry=True)
    assert everything.shape == (30_240, 5)
    assert [len(everything[:, k].unique()) for k in range(5)] == [10, 9, 14, 4, 6]
    LOW_T_BOX.check(everything)
    with pytest.raises(ConfigError, match="alpha_m = 0"):
        grid_nodes(LOW_T_BOX.replace(alpha_m=(0.25, 0.5)))


@pytest.mark.parametrize(("count", "chemistry", "step"), [(3, False, 11), (5, True, 101)])
def test_the_published_medians_are_near_ours(emulator, instrument, count, chemistry, step):
    """Other spectra (BOSZ), every n-th of the same nodes: S/N within 5 %, median σ 12 %, R² of p90 0.06."""
    variance = variance_choices(LOW_T_BOX, "log_g")["reference"]
    assert variance == pytest.approx(PUBLISHED_VARIANCE, abs=1e-4)
    nodes = grid_nodes(LOW_T_BOX, chemistry)[::step]
    forecaster = Forecaster(emulator, instrument, FreeParameters(labels=FREE_LABELS[count]))
    magnitudes = [row.mag for row in PUBLISHED[count]]
    for mag, found in zip(magnitudes, sweep(forecaster, nodes, magnitudes), strict=True):
        row, theirs = summarise(mag, found, variance), published_row(count, mag)
        assert row.snr == pytest.approx(theirs.snr, rel=0.05)
        assert (row.r2_median == 0) == (theirs.r2_median == 0)
        if theirs.r2_median > 0:  # zero says only that σ is above the prior's
            sigma = np.sqrt((1 - theirs.r2_median) * variance)
            assert row.sigma_median == pytest.approx(sigma, rel=0.12)
        assert row.r2_p90 == pytest.approx(theirs.r2_p90, abs=0.06)
        assert row.singular == 0
    assert published_row(5, 19.0) is None


def test_a_row_states_the_statistics_of_its_stars(emulator, instrument, stars):
    found = forecast(emulator, instrument, stars, mag=22.0)
    row, r2 = summarise(22.0, found, 4 / 3), found.r2_max(4 / 3).numpy()
    assert row.r2_mean == pytest.approx(r2.mean())
    assert row.zero_fraction == np.mean(r2 == 0)
    assert row.r2_p10 <= row.r2_median <= row.r2_p90
    assert row.r2_shrunk_mean > row.r2_mean
    assert row.to_dict()["mag"] == 22.0
    assert tuple(row.to_dict()) == row.names()


def test_the_star_table_holds_every_star_and_correlation(emulator, instrument, stars, tmp_path):
    found = forecast(emulator, instrument, stars)
    columns = star_columns(21.0, found, LOW_T_BOX.names, {"uniform": 4 / 3})
    assert write_star_table([columns, columns], tmp_path / "stars.csv") == 24
    table = np.genfromtxt(tmp_path / "stars.csv", delimiter=",", names=True)
    assert len(table) == 24
    np.testing.assert_allclose(table["sigma_min"][:12] ** 2, found.crlb, rtol=1e-6)
    np.testing.assert_allclose(table["r2_max_uniform"][12:], found.r2_max(4 / 3), rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(table["log_g"][:12], stars[:, 1], rtol=1e-6)
    np.testing.assert_allclose(
        table["correlation_teff_log_g"][:12], found.correlation[:, 0, 1], rtol=1e-5, atol=1e-7
    )
    assert sum(name.startswith("correlation") for name in table.dtype.names) == 10
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="cannot write"):
        write_star_table([columns], tmp_path / "file" / "stars.csv")


def test_stars_outside_the_domain_are_refused(emulator, instrument, stars):
    hot = stars.clone()
    hot[2, 0] = 9000.0
    with pytest.raises(DomainError, match="teff = 9000"):
        forecast(emulator, instrument, hot)
    with pytest.raises(ShapeError, match="12 stars"):
        Forecaster(emulator, instrument).forecast(stars, [instrument.fixed_conditions(3)])


def test_progress_counts_stars(emulator, instrument, stars):
    seen = []
    sweep(Forecaster(emulator, instrument), stars, [20.0], lambda *args: seen.append(args))
    assert seen[-1] == (12, 12)


@pytest.mark.gpu
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-6), (torch.float32, 1e-4)])
def test_the_gpu_gives_the_same_bounds(emulator, instrument, stars, dtype, rtol):
    here, there = (
        sweep(Forecaster(emulator, instrument, device=device, dtype=dtype), stars, [20.0, 22.0])
        for device in ("cpu", "cuda")
    )
    for a, b in zip(here, there, strict=True):
        torch.testing.assert_close(b.crlb, a.crlb, rtol=rtol, atol=0)
        torch.testing.assert_close(b.snr, a.snr, rtol=rtol, atol=0)
