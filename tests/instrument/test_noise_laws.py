"""Laws that any photon-counting noise must obey, whatever the instrument."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from specvit.errors import ConfigError, DataError, ShapeError
from specvit.instrument import Instrument, instrument_names


@pytest.fixture(scope="module", params=instrument_names())
def instrument(request):
    return Instrument.load(request.param)


def test_sigma_is_positive_and_grows_with_magnitude(instrument):
    mag = torch.linspace(15, 24, 19)
    flux = torch.from_numpy(instrument.flat_source()).expand(19, -1)
    sigma = instrument.noise_sigma(flux, instrument.fixed_conditions(19, mag=mag))
    assert bool((sigma > 0).all())
    assert bool((sigma[1:] > sigma[:-1]).all())


@given(bright=st.floats(1.01, 3.0), level=st.floats(0.2, 2.0))
@settings(max_examples=20, deadline=None)
def test_sigma_grows_with_flux_by_photon_noise_alone(pfs, bright, level):
    """σ² (f) − σ² (0) = f / (electrons per unit flux): exactly linear in the flux."""
    conditions = pfs.fixed_conditions(3)
    flux = torch.tensor([0.0, level, level * bright], dtype=torch.float64)[:, None].expand(-1, pfs.grid.size)
    variance = pfs.noise_sigma(flux, conditions) ** 2
    excess = variance[1:] - variance[:1]
    torch.testing.assert_close(excess[1], excess[0] * bright, rtol=1e-6, atol=1e-12)


def test_noise_averages_down_except_the_sky_floor(pfs):
    flux = torch.ones(3, pfs.grid.size, dtype=torch.float64)
    count = torch.tensor([1.0, 100.0, 1e6])
    conditions = pfs.fixed_conditions(3, mag=22.5, exposure_count=count)
    sigma = pfs.noise_sigma(flux, conditions)
    counts = pfs.noise.sky_counts(conditions)[0].double()
    largest = torch.stack([counts.roll(1), counts, counts.roll(-1)]).amax(0)[1:-1]
    per_flux = (pfs.noise_terms(conditions).response[0].double())[1:-1]
    floor = 0.01 * np.sqrt(1.015) * largest / per_flux
    random = (sigma[0, 1:-1] ** 2 - floor**2) / torch.tensor([[1.0], [100.0], [1e6]])
    torch.testing.assert_close(sigma[:, 1:-1] ** 2, floor**2 + random, rtol=1e-5, atol=0)
    assert bool((sigma[2, 1:-1] / floor < 1.2).all())


def test_spectra_do_not_see_each_other(pfs):
    """The same spectrum has the same noise in any batch, also across the internal chunks."""
    conditions = pfs.sample_conditions(70, torch.Generator().manual_seed(1))
    flux = torch.rand(70, 4096, generator=torch.Generator().manual_seed(2))
    together = pfs.noise_sigma(flux, conditions)
    alone = torch.cat(
        [
            pfs.noise_sigma(flux[k : k + 1], {n: v[k : k + 1] for n, v in conditions.items()})
            for k in (0, 33, 69)
        ]
    )
    torch.testing.assert_close(together[[0, 33, 69]], alone, rtol=2e-6, atol=0)


def test_pipeline_sigma_is_the_noise_of_its_continuum(instrument):
    conditions = instrument.sample_conditions(5, torch.Generator().manual_seed(5))
    level = torch.linspace(0.5, 2.0, 5, dtype=torch.float64)
    x = 1.438776877e8 / (instrument.grid.wavelength * 4875.0)
    continuum = instrument.grid.wavelength**-5 / (np.exp(x) - 1)
    flux = level[:, None] * torch.from_numpy(continuum / np.median(continuum))
    torch.testing.assert_close(flux.median(1).values, level, rtol=1e-3, atol=0)
    expected = instrument.noise_sigma(flux, conditions)
    torch.testing.assert_close(instrument.pipeline_sigma(level, conditions), expected, rtol=1e-10, atol=0)


def test_gradient_with_respect_to_flux(pfs):
    conditions = pfs.fixed_conditions(2)
    flux = torch.ones(2, pfs.grid.size, dtype=torch.float64, requires_grad=True)
    sigma = pfs.noise_sigma(flux, conditions)
    (slope,) = torch.autograd.grad(sigma.sum(), flux)
    step = 1e-4
    with torch.no_grad():
        above, below = (pfs.noise_sigma(flux + s, conditions) for s in (step, -step))
    torch.testing.assert_close(slope, (above - below) / (2 * step), rtol=1e-6, atol=1e-10)


def test_compiles_without_graph_breaks(pfs):
    conditions = pfs.sample_conditions(4, torch.Generator().manual_seed(6))
    flux = torch.rand(4, pfs.grid.size)
    compiled = torch.compile(pfs.noise_sigma, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(flux, conditions), pfs.noise_sigma(flux, conditions))


def test_drawn_conditions_fill_their_ranges_and_repeat(instrument):
    first = instrument.sample_conditions(2000, torch.Generator().manual_seed(9))
    again = instrument.sample_conditions(2000, torch.Generator().manual_seed(9))
    instrument.conditions.check(first)
    for name, (low, high) in instrument.conditions.ranges.items():
        assert torch.equal(first[name], again[name])
        assert first[name].dtype == torch.float32
        if low == high:
            assert bool((first[name] == torch.tensor(low, dtype=torch.float32)).all())
        else:
            span = high - low
            assert float(first[name].min()) == pytest.approx(low, abs=0.01 * span)
            assert float(first[name].max()) == pytest.approx(high, abs=0.01 * span)
            # Uniform: mean within 4 standard errors.
            assert float(first[name].mean()) == pytest.approx(
                0.5 * (low + high), abs=4 * span / np.sqrt(12 * 2000)
            )


@pytest.mark.parametrize(
    ("condition", "value", "limit"),
    [
        ("seeing", 0.3, "0.4 to 2"),
        ("zenith_angle", 75.0, "0 to 60"),
        ("field_angle", 0.7, "0 to 0.65"),
        ("moon", 0.8, "0 to 0.5"),
        ("exposure_count", 0.0, "1 to"),
        ("mag", float("nan"), "-5 to 40"),
    ],
)
def test_conditions_beyond_the_tables_are_refused(pfs, condition, value, limit):
    with pytest.raises(DataError, match=f"{condition} = .*{limit}"):
        pfs.fixed_conditions(2, **{condition: value})
    wrong = pfs.fixed_conditions(2)
    wrong[condition] = torch.tensor([wrong[condition][0], value])
    with pytest.raises(DataError, match=r"spectrum 1"):
        pfs.noise_sigma(torch.ones(2, 4096), wrong, check=True)


def test_unknown_condition_and_wrong_shapes(pfs):
    with pytest.raises(ConfigError, match="unknown condition 'airmass'; known are mag, seeing"):
        pfs.fixed_conditions(1, airmass=1.2)
    with pytest.raises(ShapeError, match=r"mag: expected a number or shape \(3,\)"):
        pfs.fixed_conditions(3, mag=torch.zeros(2))
    with pytest.raises(ShapeError, match=r"flux: expected shape \(B, 4096\)"):
        pfs.noise_sigma(torch.ones(2, 100), pfs.fixed_conditions(2))
    with pytest.raises(ShapeError, match=r"mag: expected one value per spectrum"):
        pfs.noise_sigma(torch.ones(3, 4096), pfs.fixed_conditions(2))
    conditions = pfs.fixed_conditions(1)
    del conditions["seeing"]
    with pytest.raises(ConfigError, match="missing or unknown: seeing"):
        pfs.conditions.check(conditions)
    with pytest.raises(DataError, match=r"expected flux in float32 or float64, got torch\.bfloat16"):
        pfs.noise_sigma(torch.ones(1, 4096, dtype=torch.bfloat16), pfs.fixed_conditions(1))
