"""Dead pixels and levels: the rule sees what no detector gives, and nothing of what the simulator draws."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from specvit.models.inputs import relative
from specvit.models.usable import is_whole, plausible_pixels, spectrum_level, usable_median, usable_pixels
from specvit.simulate import Simulator

values = st.one_of(
    st.floats(-1e3, 1e3),
    st.floats(1e-3, 10),
    st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -1.0, 1e18, -1e30, 1e300, 1e-300, 5e6]),
)
rows = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=9).flatmap(
    lambda shape: st.tuples(*(hnp.arrays(np.float64, shape, elements=values) for _ in range(2)))
)


@given(rows)
def test_the_median_is_that_of_the_usable_pixels(spectra):
    flux, sigma = (torch.from_numpy(part) for part in spectra)
    usable = usable_pixels(flux, sigma)
    found = usable_median(flux, usable)
    for row in range(len(flux)):
        live = np.sort(flux[row, usable[row]].numpy())
        assert found[row] == (live[(len(live) - 1) // 2] if len(live) else 1.0)


@given(rows, st.sampled_from([torch.float32, torch.float64]))
def test_plausible_is_as_defined_and_whole_is_no_more(spectra, kind):
    flux, sigma = (torch.from_numpy(part).to(kind) for part in spectra)
    found, usable = plausible_pixels(flux, sigma), usable_pixels(flux, sigma)
    for row in range(len(flux)):
        live_flux, live = (v[row, usable[row]].double().abs() for v in (flux, sigma))
        if not len(live):
            assert not found[row].any()
            continue
        noise = float(live.sort().values[(len(live) - 1) // 2])
        largest = 1e6 * max(float(live_flux.sort().values[(len(live) - 1) // 2]), noise)
        expected = (live_flux <= largest) & (live <= largest) & (live >= noise / 1e6)
        assert found[row, usable[row]].tolist() == expected.tolist()
        assert not found[row, ~usable[row]].any()
    assert not is_whole(flux, sigma) or bool(found.all())


@given(rows)
def test_every_spectrum_with_a_usable_pixel_has_a_positive_level(spectra):
    flux, sigma = (torch.from_numpy(part) for part in spectra)
    level, _ = spectrum_level(flux, sigma, plausible_pixels(flux, sigma))
    assert (level > 0).all()


@pytest.mark.parametrize("instrument", ["gaia_rvs", "pfs_mr_reference"])
@pytest.mark.parametrize("noise_level", [0.0, 1e-4, 1.0, 1e3])
def test_no_pixel_that_the_simulator_draws_is_dead(instrument, noise_level):
    """Brightest to faintest; without noise, an error of any size goes with the flux."""
    stars = Simulator.build(instrument=instrument, noise_level=noise_level).draw("test", 9, 0, 64)
    errors = [stars.sigma] if noise_level else [torch.full_like(stars.flux, e) for e in (1e-9, 1e-3, 1e3)]
    for sigma in errors:
        assert plausible_pixels(stars.flux, sigma).all()


def test_simulated_spectra_are_at_their_level_already():
    """Bringing them there is rounding in float32: estimates stay what they were."""
    stars = Simulator.build(instrument="gaia_rvs").draw("test", 9, 0, 64)
    spectra = relative(stars.flux, stars.sigma, "test")
    assert (spectra.level - 1).abs().max() < 2**-22
    torch.testing.assert_close(spectra.flux.float(), stars.flux, rtol=2**-22, atol=0)
    torch.testing.assert_close(spectra.sigma.float(), stars.sigma, rtol=2**-22, atol=0)
    assert spectra.usable_share.tolist() == [1] * 64
