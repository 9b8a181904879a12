"""Nothing of a star comes in by its sigma: the true one, another star's and the mean one change no answer.

The true sigma of a star holds a noise-free copy of its spectrum; a denoiser that read it would be better with it, and
follow another star whose sigma it is told.
"""

from dataclasses import replace

import pytest

from specvit.denoise import SubspaceDenoiser, SubspaceOptions, WienerDenoiser
from specvit.denoise.subspace import RECIPE

STARS = 48


@pytest.fixture(scope="module")
def sources(simulator):
    return simulator.source("train", 1, 800), simulator.source("validation", 1, 40)


@pytest.fixture(scope="module", params=["wiener", "subspace"])
def denoiser(request, simulator, sources):
    if request.param == "wiener":
        return WienerDenoiser(24).fit(*sources)
    recipe = replace(RECIPE, minutes=0.0, steps=3, batch=32, validations=1)
    options = SubspaceOptions(components=32, patterns=8, width=16, depth=1, points=2)
    return SubspaceDenoiser(simulator.observed, options, recipe).fit(*sources)


@pytest.fixture(scope="module")
def stars(simulator):
    return simulator.draw("test", 33, 0, STARS)


def left(mean, stars):
    return ((mean - stars.truth.flux) / stars.truth.sigma).square().sum(dim=1).median()


def test_the_true_sigma_brings_nothing(denoiser, stars):
    seen, told = (left(denoiser.denoise(stars.flux, s).mean, stars) for s in (stars.sigma, stars.truth.sigma))
    assert float(told / seen) == pytest.approx(1, abs=0.1)


def test_the_sigma_of_another_star_does_not_draw_the_answer_to_it(denoiser, stars):
    """What its true sigma changes, along the difference of the two stars, is a small part of that difference."""
    plain = denoiser.denoise(stars.flux, stars.sigma).mean
    level = stars.sigma.median(dim=1, keepdim=True).values
    shape = stars.truth.sigma / stars.truth.sigma.median(dim=1, keepdim=True).values
    changed = denoiser.denoise(stars.flux, level * shape.roll(1, dims=0)).mean - plain
    apart = stars.truth.flux.roll(1, dims=0) - stars.truth.flux
    drawn = (changed * apart).sum(dim=1) / apart.square().sum(dim=1)
    assert float(drawn.abs().median()) < 0.02


def test_blind_to_the_shape_of_the_noise_it_is_worse(denoiser, stars):
    """The control of the controls: sigma is used, as the noise of pixels and for nothing else."""
    flat = stars.sigma.median(dim=1, keepdim=True).values.expand_as(stars.sigma).contiguous()
    seen, blind = (left(denoiser.denoise(stars.flux, s).mean, stars) for s in (stars.sigma, flat))
    assert float(blind / seen) > 1.3
