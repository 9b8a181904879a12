"""What every network promises about its input: dead pixels, units, order of the batch."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from specvit.errors import ConfigError
from specvit.estimators import network_config
from specvit.models.conditioning import Conditioning, normalise
from specvit.models.network import build_network
from specvit.models.prepared import prepared
from specvit.models.usable import is_whole, usable_pixels
from specvit.spectra import LOW_T_BOX, WavelengthGrid

PIXELS = 192
TINY = {
    "mlp": {"width": 16, "depth": 2},
    "cnn": {"width": 4, "kernel": 3, "stages": 2, "blocks": 1, "segments": 4},
    "vit": {"patch": 16, "stride": 8, "coarse_patch": 50, "width": 16, "depth": 2, "heads": 2,
            "channels": "flux,sigma,derivative", "chunk": 40},
    "swin": {"patch": 8, "window": 4, "width": 8, "heads": 2, "stages": 2, "blocks": 2},
    "subspace": {"width": 16, "depth": 2, "components": 12, "patterns": 3},
}  # fmt: skip


def spectra(count=24, seed=0):
    """Return noisy flux and sigma on the tiny grid, with a low-rank signal."""
    rng = np.random.default_rng(seed)
    x = np.linspace(0, 1, PIXELS)
    signal = sum(rng.normal(0, 0.05, (count, 1)) * np.sin((k + 1) * 9 * x + k) for k in range(15))
    sigma = rng.uniform(0.02, 0.2, (count, 1)) * (
        1 + 0.5 * np.cos(7 * x) + rng.uniform(0, 0.2, (count, 1)) * x
    )
    clean = 1 + signal
    flux = clean + sigma * rng.standard_normal(sigma.shape)
    return tuple(torch.from_numpy(a.astype(np.float32)) for a in (clean, flux, sigma))


@pytest.fixture(params=TINY)
def network(request):
    torch.manual_seed(1)
    config = network_config(request.param).with_options(TINY[request.param])
    network = build_network(config, WavelengthGrid.linear(8450, 0.8, PIXELS), LOW_T_BOX).eval()
    clean, flux, sigma = spectra(64)
    network.front.fit(clean, flux, sigma) if request.param == "subspace" else network.front.fit(flux, sigma)
    # Zero-initialised layers would hide a dependence on the input.
    with torch.no_grad():
        for parameter in network.body.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return network


def with_dead_pixels(flux, sigma):
    flux, sigma = flux.clone(), sigma.clone()
    sigma[0, 30:60] = torch.inf
    flux[1, 100:] = torch.nan
    sigma[2, ::3] = torch.nan
    sigma[3, 5] = 0.0
    flux[3, 6] = -torch.inf
    return flux, sigma


def test_dead_pixels_give_finite_output(network):
    _, flux, sigma = spectra()
    assert torch.isfinite(network(*with_dead_pixels(flux, sigma))).all()


def test_values_of_dead_pixels_do_not_matter(network):
    _, flux, sigma = spectra()
    flux, sigma = with_dead_pixels(flux, sigma)
    other = flux.clone()
    other[0, 30:60] = 1e30
    other[0, 40] = torch.nan
    other[2, ::3] = -7.0
    other[3, 5] = torch.inf
    torch.testing.assert_close(network(other, sigma), network(flux, sigma), rtol=0, atol=0)


def test_dead_pixels_do_matter(network):
    _, flux, sigma = spectra()
    flux2, sigma2 = with_dead_pixels(flux, sigma)
    assert (network(flux2, sigma2)[:4] - network(flux, sigma)[:4]).abs().amax(dim=(1, 2)).min() > 1e-6


def test_a_spectrum_does_not_know_its_batch(network):
    _, flux, sigma = spectra()
    flux, sigma = with_dead_pixels(flux, sigma)
    order = torch.randperm(len(flux), generator=torch.Generator().manual_seed(3))
    whole = network(flux, sigma)
    # A matrix product sums in an order that depends on its shape and the processor: float32 rounding, which
    # the small normal matrices of the subspace amplify to about 1e-4 of outputs of order one.
    torch.testing.assert_close(network(flux[order], sigma[order]), whole[order], rtol=1e-3, atol=3e-4)
    torch.testing.assert_close(network(flux[4:6], sigma[4:6]), whole[4:6], rtol=1e-3, atol=3e-4)


def test_a_body_made_ready_for_estimates_is_the_same_function(network):
    _, flux, sigma = spectra()
    with torch.no_grad():
        for inputs in (network.front(*with_dead_pixels(flux, sigma)), network.front(flux, sigma, whole=True)):
            found = prepared(network.body)(inputs)
            torch.testing.assert_close(found, network.body(inputs), rtol=1e-4, atol=1e-4)


def test_knowing_that_no_pixel_is_dead_saves_work_and_changes_nothing(network):
    """One that is told so gives what it gives when it has to look, with dead pixels elsewhere in the batch."""
    _, flux, sigma = spectra()
    looked = network(*map(torch.cat, zip(with_dead_pixels(flux, sigma), (flux, sigma), strict=True)))
    told = network.body(network.front(flux, sigma, whole=True))
    torch.testing.assert_close(told, looked[len(flux) :], rtol=1e-3, atol=3e-4)


@given(
    row=st.integers(0, 3),
    pixel=st.integers(0, 39),
    bad=st.sampled_from([("flux", np.nan), ("flux", np.inf), ("flux", -np.inf), ("sigma", np.nan),
                         ("sigma", np.inf), ("sigma", 0.0), ("sigma", -1.0)]),
    unit=st.sampled_from([1e-30, 1e-17, 1.0, 1e6]),
)  # fmt: skip
def test_one_dead_pixel_is_enough_not_to_be_whole(row, pixel, bad, unit):
    generator = torch.Generator().manual_seed(row)
    flux, sigma = (unit * (1 + torch.rand(4, 40, generator=generator)) for _ in range(2))
    assert is_whole(flux, sigma)
    name, value = bad
    {"flux": flux, "sigma": sigma}[name][row, pixel] = value
    assert not is_whole(flux, sigma)
    assert bool(usable_pixels(flux, sigma).all()) == is_whole(flux, sigma)


@pytest.mark.parametrize(("name", "value"), [("flux", 1e60), ("sigma", 1e60), ("sigma", 1e-60)])
def test_what_float32_cannot_hold_is_dead(name, value):
    """In float64 it is an ordinary number; the network is given infinity or zero."""
    spectrum = {"flux": torch.ones(2, 5).double(), "sigma": torch.ones(2, 5).double()}
    assert is_whole(**spectrum)
    spectrum[name][1, 2] = value
    assert not is_whole(**spectrum)


def test_sums_that_overflow_are_not_called_whole():
    """The answer may be no where it could be yes, never the other way round."""
    flux, sigma = torch.full((2, 5), 3e38), torch.ones(2, 5)
    assert usable_pixels(flux, sigma).all()
    assert not is_whole(flux, sigma)


def test_noise_unlike_any_of_training_gives_finite_estimates(network):
    """A sigma with spikes or of another shape is far from the weight patterns of training."""
    _, flux, sigma = spectra()
    with torch.no_grad():
        network.head.sharpness.weight.fill_(0.5)
    spiky = torch.where(torch.arange(PIXELS) % 50 == 0, 1e-3 * sigma, sigma)
    steep = sigma * torch.logspace(-2, 2, PIXELS)
    for strange in (spiky, steep, 1e6 * sigma, 1e-6 * sigma):
        estimate = network.estimate(flux, strange)
        assert torch.isfinite(estimate.mean).all()
        assert torch.isfinite(estimate.std).all()


def test_the_unit_of_the_flux_does_not_matter(network):
    _, flux, sigma = spectra()
    torch.testing.assert_close(
        network(3e-17 * flux, 3e-17 * sigma), network(flux, sigma), rtol=1e-3, atol=1e-4
    )


def test_conditioning_standardises_the_sample_it_was_fitted_to():
    _, flux, sigma = spectra(512)
    front = Conditioning(PIXELS).fit(flux, sigma)
    inputs = front(flux, sigma)
    torch.testing.assert_close(inputs.values.mean(dim=0)[0], torch.zeros(PIXELS), rtol=0, atol=1e-4)
    torch.testing.assert_close(
        inputs.values.std(dim=0, correction=0)[0], torch.ones(PIXELS), rtol=1e-3, atol=0
    )
    assert abs(float(inputs.level.mean())) < 1e-4


def test_conditioning_of_spectra_with_dead_pixels_fits_to_the_live_ones():
    _, flux, sigma = spectra(256)
    torch.manual_seed(0)
    dead = torch.rand(flux.shape) < 0.2
    masked = sigma.masked_fill(dead, torch.inf)
    front = Conditioning(PIXELS).fit(flux.masked_fill(dead, 1e9), masked)
    usable, relative, _, _ = normalise(flux, masked)
    expected = np.array([relative[usable[:, i], i].mean() for i in range(PIXELS)])
    np.testing.assert_allclose(front.centre.numpy(), expected, rtol=1e-5)


def test_chunks_have_zero_mean_and_unit_variance_over_live_pixels():
    _, flux, sigma = spectra()
    sigma[:, 50:70] = torch.inf
    front = Conditioning(PIXELS, chunk=48).fit(flux, sigma)
    chunks = front(flux, sigma).values[:, 0].unflatten(1, (4, 48))
    live = torch.isfinite(sigma).unflatten(1, (4, 48))
    count = live.sum(dim=-1)
    torch.testing.assert_close((chunks * live).sum(dim=-1), torch.zeros(24, 4), rtol=0, atol=1e-3)
    torch.testing.assert_close(chunks.square().sum(dim=-1) / count, torch.ones(24, 4), rtol=1e-3, atol=0)


def test_the_sigma_channel_is_smooth_and_blind_to_the_overall_noise():
    _, flux, sigma = spectra()
    sigma[:, 90] *= 20
    front = Conditioning(PIXELS, channels=("flux", "sigma")).fit(flux, sigma)
    plane, doubled = (front(flux, s).values[:, 1] for s in (sigma, 2 * sigma))
    torch.testing.assert_close(plane, doubled, rtol=0, atol=1e-5)
    assert plane.diff(dim=1).abs().max() < 0.1 < sigma.log().diff(dim=1).abs().max()


@pytest.mark.parametrize("channels", [("sigma",), ("flux", "flux"), ("flux", "colour"), ()])
def test_unknown_channels_are_refused(channels):
    with pytest.raises(ConfigError, match="channels: expected 'flux' first"):
        Conditioning(PIXELS, channels)


def test_only_finite_flux_with_a_finite_positive_sigma_is_usable():
    bad = [torch.nan, torch.inf, -torch.inf]
    flux = torch.tensor([[1.0, -2.0, 0.0, *bad, 1.0, 1.0, 1.0, 1.0, 1.0]])
    sigma = torch.tensor([[1.0, 1e-30, 2.0, 1.0, 1.0, 1.0, *bad, 0.0, -1.0]])
    expected = torch.isfinite(flux) & torch.isfinite(sigma) & (sigma > 0)
    assert torch.equal(usable_pixels(flux, sigma), expected)
    assert expected.sum() == 3
