"""The noise against the exposure time calculator: its numbers, and its formula written out independently."""

import numpy as np
import pytest
import torch

from etc_reference import flat_ab
from specvit.instrument import Instrument

MOON_CASES = {0.0: None, 0.125: 0, 0.25: 1, 0.5: 2}


def snr_of(instrument, flux, **conditions):
    """S/N per pixel of one band-normalised spectrum per row of `conditions`."""
    count = max(np.size(value) for value in conditions.values())
    flux = torch.as_tensor(np.broadcast_to(flux, (count, instrument.grid.size)).copy())
    return (flux / instrument.noise_sigma(flux, instrument.fixed_conditions(count, **conditions))).numpy()


@pytest.mark.parametrize("field", [0, 1])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_snr_of_a_pixel_is_the_calculators(checks, field, dtype):
    instrument = Instrument.load("pfs_mr_etc")
    mags, angle = checks["check_mag"], float(checks["field_deg"][field])
    conditions = instrument.fixed_conditions(9, mag=mags, seeing=0.8, zenith_angle=30.0, field_angle=angle)
    flux = torch.from_numpy(instrument.flat_source()).to(dtype).expand(9, -1)
    snr = (flux / instrument.noise_sigma(flux, conditions)).numpy()
    assert snr.dtype == np.dtype(str(dtype).removeprefix("torch."))
    # The formula reproduces the calculator to 1e-4 at the nodes of its aperture table, as these are.
    np.testing.assert_allclose(snr[:, checks["pixel"]], checks["check_snr"][field], rtol=2e-4)
    median, mean, low, high = checks["check_stats"][field].T
    np.testing.assert_allclose(np.percentile(snr, [5, 50, 95], axis=1), [low, median, high], rtol=2e-4)
    np.testing.assert_allclose(snr.mean(axis=1), mean, rtol=2e-4)


@pytest.mark.parametrize("field", [0, 1])
def test_half_pixel_choice_matters_in_telluric_bands_only(pfs, etc, checks, field):
    mags, angle, pixel = checks["check_mag"], float(checks["field_deg"][field]), checks["pixel"]
    clear = abs(etc.arrays["telluric"] / etc.arrays["telluric_edge"] - 1)[pixel] < 4e-3
    snr = snr_of(pfs, pfs.flat_source(), mag=mags, seeing=0.8, zenith_angle=30.0, field_angle=angle)
    assert clear.mean() > 0.8
    np.testing.assert_allclose(snr[:, pixel[clear]], checks["check_snr"][field][:, clear], rtol=5e-3)
    statistics = [np.median(snr, axis=1), snr.mean(axis=1), np.percentile(snr, 95, axis=1)]
    np.testing.assert_allclose(statistics, checks["check_stats"][field].T[[0, 1, 3]], rtol=1e-3)


def test_sky_counts_are_the_calculators(pfs, checks):
    zenith, field = checks["za_deg"], checks["field_deg"]
    for case, phase in enumerate(MOON_CASES):
        angles = [(za, fa) for za in zenith for fa in field]
        conditions = pfs.fixed_conditions(
            6,
            zenith_angle=np.array([a[0] for a in angles]),
            field_angle=np.array([a[1] for a in angles]),
            moon=phase,
        )
        counts = pfs.noise.sky_counts(conditions).numpy().reshape(3, 2, -1)
        np.testing.assert_allclose(counts[..., checks["pixel"]], checks["sky_e_900s"][case], rtol=1e-4)


def test_variance_without_the_star_is_the_calculators(pfs, checks):
    field = checks["field_deg"]
    for za, expected in zip(checks["za_deg"], checks["var_nonobj_dark_900s_n12"], strict=True):
        conditions = pfs.fixed_conditions(2, zenith_angle=float(za), field_angle=field, exposure_count=12)
        variance = pfs.noise_terms(conditions, conditions["mag"].dtype).variance.numpy() / 12
        np.testing.assert_allclose(variance[:, checks["pixel"]], expected, rtol=1e-4)


@pytest.mark.parametrize("preset", ["pfs_mr", "pfs_mr_etc", "pfs_mr_reference"])
def test_sigma_is_the_written_formula_under_any_conditions(preset, request):
    instrument = Instrument.load(preset)
    etc = request.getfixturevalue({"pfs_mr": "etc", "pfs_mr_etc": "etc_edge"}.get(preset, "etc_n21"))
    rng = np.random.default_rng(20261121)
    count = 12
    drawn = {
        "mag": rng.uniform(17, 24, count),
        "seeing": rng.uniform(0.4, 2.0, count),
        "zenith_angle": rng.uniform(0, 60, count),
        "field_angle": rng.uniform(0, 0.65, count),
        "moon": rng.choice(list(MOON_CASES), count),
        "exposure_time": rng.choice([300.0, 450.0, 900.0], count),
        "exposure_count": rng.choice([1.0, 4.0, 12.0], count),
    }
    flux = rng.uniform(0.3, 1.5, (count, instrument.grid.size))
    sigma = instrument.noise_sigma(
        torch.from_numpy(flux), instrument.fixed_conditions(count, **drawn)
    ).numpy()
    for k in range(count):
        c = {name: value[k] for name, value in drawn.items()}
        # Band-normalised flux: in units of a flat-AB source of that magnitude at the band's pivot.
        f_lambda = flux[k] * flat_ab(c["mag"], instrument.band.pivot)
        snr = etc.snr(
            f_lambda,
            c["seeing"],
            c["zenith_angle"],
            c["field_angle"],
            c["exposure_time"],
            c["exposure_count"],
            MOON_CASES[c["moon"]],
        )
        np.testing.assert_allclose(flux[k] / sigma[k], snr, rtol=5e-6)


def test_moonlight_is_linear_between_the_phases(pfs):
    sky = pfs.noise.sky_counts(pfs.fixed_conditions(3, moon=torch.tensor([0.125, 0.1875, 0.25]))).double()
    torch.testing.assert_close(sky[1], 0.5 * (sky[0] + sky[2]), rtol=1e-5, atol=0)


def test_float32_agrees_with_float64(pfs):
    conditions = pfs.sample_conditions(64, torch.Generator().manual_seed(3))
    flux = 0.3 + torch.rand(64, 4096, generator=torch.Generator().manual_seed(4))
    single, double = pfs.noise_sigma(flux, conditions), pfs.noise_sigma(flux.double(), conditions)
    assert single.dtype == torch.float32
    assert double.dtype == torch.float64
    torch.testing.assert_close(single.double(), double, rtol=5e-6, atol=0)
