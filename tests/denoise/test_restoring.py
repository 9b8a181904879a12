"""What all denoisers share: refusals, units, dead pixels, strength, pieces."""

import pytest
import torch

from specvit.denoise import DenoisedSpectra, NoisySpectra, Restored, restore_spectra
from specvit.errors import ConfigError, DataError, ShapeError

PIXELS = 40


def spectra(count=5, seed=0, scale=3.0):
    generator = torch.Generator().manual_seed(seed)
    flux = scale * (1 + 0.2 * torch.randn(count, PIXELS, generator=generator))
    return flux, torch.full_like(flux, 0.2 * scale)


def halve(noisy: NoisySpectra) -> Restored:
    """Half of the way to one: what is left does not depend on the other spectra."""
    mean = 0.5 * (noisy.flux + 1)
    std = torch.where(noisy.sigma.isinf(), 1.0, noisy.sigma)
    samples = mean[:, None] + torch.zeros(len(mean), noisy.draws, PIXELS) if noisy.draws else None
    return Restored(mean, std, samples)


def restored(flux, sigma, **options):
    return restore_spectra(halve, "half", PIXELS, flux, sigma, **options)


@pytest.mark.parametrize("kind", [torch.float32, torch.float64])
def test_strength_zero_returns_the_very_bits_that_came_in(kind):
    flux, sigma = (values.to(kind) for values in spectra())
    flux[1, 3] = torch.nan
    found = restored(flux, sigma, strength=0.0)
    assert found.mean.dtype == kind
    assert torch.equal(found.mean.nan_to_num(nan=-9), flux.nan_to_num(nan=-9))
    assert found.std is None


def test_a_small_strength_moves_a_spectrum_by_that_share_of_the_way():
    flux, sigma = spectra()
    whole, part = (restored(flux.double(), sigma.double(), strength=s).mean for s in (1.0, 0.25))
    assert torch.allclose(part - flux, 0.25 * (whole - flux), atol=1e-12)
    assert float((whole - flux).abs().max()) > 0.1


def test_the_unit_of_the_flux_is_the_unit_of_the_answer():
    flux, sigma = spectra()
    unit = torch.tensor([1e-17, 1.0, 3.0, 1e5, 7e8], dtype=torch.float64)[:, None]
    plain, scaled = restored(flux.double(), sigma.double()), restored(flux * unit, sigma * unit)
    assert torch.allclose(scaled.mean, plain.mean * unit, rtol=1e-6, atol=0)
    assert torch.allclose(scaled.std, plain.std * unit, rtol=1e-6, atol=0)


def test_dead_pixels_are_filled_and_do_not_move_the_others():
    flux, sigma = spectra()
    level = flux.median(dim=1).values[:, None]
    dead = sigma.clone()
    # One above and one below the median: the level stays.
    order = flux[0].argsort()
    hidden = [int(order[0]), int(order[-1])]
    dead[0, hidden] = torch.inf
    found, whole = restored(flux, dead).mean, restored(flux, sigma).mean
    assert torch.allclose(found[0, hidden], (0.5 * level[0]).expand(2), rtol=1e-6)
    kept = torch.ones(PIXELS, dtype=torch.bool)
    kept[hidden] = False
    assert torch.equal(found[0, kept], whole[0, kept])


def test_pieces_do_not_change_the_answer():
    flux, sigma = spectra()
    whole, pieces = (
        restore_spectra(halve, "half", PIXELS, flux, sigma, draws=2, rows=rows) for rows in (256, 2)
    )
    assert torch.equal(whole.mean, pieces.mean)
    assert torch.equal(whole.samples, pieces.samples)
    assert torch.equal(whole.diagnostics.usable_share, torch.ones(5, dtype=torch.float64))


def test_what_cannot_be_meant_is_refused_by_name():
    flux, sigma = spectra()
    for strength in (-0.1, 1.5, float("nan")):
        with pytest.raises(ConfigError, match="strength"):
            restored(flux, sigma, strength=strength)
    with pytest.raises(ConfigError, match="draws"):
        restored(flux, sigma, strength=0.5, draws=3)
    with pytest.raises(ShapeError, match="40 pixels"):
        restored(flux[:, :30], sigma[:, :30])
    with pytest.raises(DataError, match="spectrum 2, pixel 7"):
        restored(flux, torch.where(torch.arange(200).view(5, 40) == 87, 0.0, sigma))


def test_an_answer_that_is_not_finite_is_refused():
    flux, sigma = spectra()

    def broken(noisy):
        mean = noisy.flux.clone()
        mean[-1, 0] = torch.nan
        return Restored(mean)

    with pytest.raises(DataError, match="spectrum 4"):
        restore_spectra(broken, "broken", PIXELS, flux, sigma)


def test_no_spectra_give_no_spectra():
    empty = torch.empty(0, PIXELS)
    assert restored(empty, empty).mean.shape == (0, PIXELS)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ShapeError, match="samples"):
        DenoisedSpectra(torch.ones(2, 3), samples=torch.ones(2, 5, 4))
    with pytest.raises(ShapeError, match="std"):
        DenoisedSpectra(torch.ones(2, 3), torch.ones(3, 2))
    with pytest.raises(DataError, match="std and samples"):
        DenoisedSpectra.concatenate(
            [DenoisedSpectra(torch.ones(1, 3)), DenoisedSpectra(torch.ones(1, 3), torch.ones(1, 3))]
        )
