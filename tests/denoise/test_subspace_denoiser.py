"""The learned denoiser on sufficient statistics: its fits against a search, its loss, and what little training gives."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from specvit.denoise import Denoiser, SubspaceDenoiser, SubspaceOptions, WienerDenoiser
from specvit.denoise.reduced import ReducedTemplates
from specvit.denoise.subspace import RECIPE, inside_cube
from specvit.errors import DataError, RunError
from specvit.inference.region import Region
from specvit.library import CoveredCells
from specvit.models.subspace import SubspaceProjection
from specvit.spectra import MemorySource, collect

OPTIONS = SubspaceOptions(components=40, patterns=8, width=32, depth=1, points=3)
SHORT = replace(RECIPE, minutes=0.0, steps=6, batch=32, validations=2, lr=3e-4)


@pytest.fixture(scope="module")
def sources(simulator):
    return simulator.source("train", 1, 1000), simulator.source("validation", 1, 40)


@pytest.fixture(scope="module")
def denoiser(simulator, sources):
    return SubspaceDenoiser(simulator.observed, OPTIONS, SHORT).fit(*sources)


@pytest.fixture(scope="module")
def stars(simulator):
    return simulator.draw("test", 31, 0, 96)


@pytest.fixture(scope="module")
def prepared(denoiser, stars):
    return denoiser.mixing.prepare(stars, None)


def left(found, stars):
    """The squared error over the noise of the middle star, of 4096 in a spectrum as it comes.

    The middle one: a star in a hundred has a second maximum, which so short a training has not met.
    """
    return float(((found.mean - stars.truth.flux) / stars.truth.sigma).square().sum(dim=1).median())


def test_it_keeps_the_protocol(denoiser):
    assert isinstance(denoiser, Denoiser)
    assert denoiser.origin.training.train_spectra == 6 * 32


def test_a_few_steps_beat_the_best_linear_filter(denoiser, sources, stars):
    linear = WienerDenoiser(24).fit(*sources).denoise(stars.flux, stars.sigma)
    assert left(denoiser.denoise(stars.flux, stars.sigma), stars) < 0.6 * left(linear, stars)


def test_the_fit_ends_where_a_small_change_no_longer_helps(denoiser, prepared):
    templates, (fitted, _) = denoiser.templates, prepared
    best = templates._misfit(fitted.local.point, fitted.statistics)
    generator = torch.Generator().manual_seed(0)
    worse = []
    for _ in range(20):
        moved = fitted.local.point + 0.02 * torch.randn(fitted.local.point.shape, generator=generator)
        worse.append(templates._misfit(moved.clamp(0, 1), fitted.statistics) - best)
    # A fit that has not quite ended, on a long valley, is some hundredths above its minimum.
    assert float((torch.stack(worse) < -0.1).float().mean()) < 0.05


def test_the_step_is_that_of_the_gradient_and_the_misfit_its_own(denoiser, prepared):
    """Against numerical derivatives of the misfit: its slope is minus twice the information times the step."""
    templates, statistics = denoiser.templates.double(), _doubled(prepared[0].statistics)
    u = torch.full((len(statistics.projected), 5), 0.45, dtype=torch.float64)
    local = templates.local_fit(u, statistics)
    information = torch.linalg.inv(local.factor @ local.factor.mT)
    expected = -2 * (information @ local.step[..., None])[..., 0]
    for axis in range(5):
        ahead, behind = (u + sign * 1e-4 * torch.eye(5, dtype=torch.float64)[axis] for sign in (1, -1))
        slope = (templates._misfit(ahead, statistics) - templates._misfit(behind, statistics)) / 2e-4
        torch.testing.assert_close(slope, expected[:, axis], rtol=1e-3, atol=1e-2)
    denoiser.templates.float()


def test_the_bank_is_judged_as_single_stars_are(denoiser, prepared):
    templates, statistics = denoiser.templates, prepared[0].statistics
    whole = templates._misfit_of_bank(statistics)
    for number in (0, 17):
        u = templates.bank_points[number].expand(len(whole), -1)
        prior = 12.0 * (u - 0.5).square().sum(dim=1)
        torch.testing.assert_close(
            whole[:, number], templates._misfit(u, statistics) - prior, rtol=1e-3, atol=1.0
        )


def test_the_loss_is_the_error_of_the_pixels(denoiser, prepared, stars):
    """In fifty numbers as in four thousand, up to what the basis leaves out."""
    from specvit.denoise.subspace import MixedStars

    fitted, targets = prepared
    with torch.no_grad():
        loss = float(denoiser.mixing.loss(MixedStars(denoiser.network, denoiser.templates)(fitted), targets))
    found = denoiser.denoise(stars.flux, stars.sigma)
    pixels = float(((found.mean - stars.truth.flux) / stars.sigma).square().sum(dim=1).mean())
    assert abs(loss - pixels) < 0.5


def test_dead_pixels_count_for_nothing(denoiser, stars):
    flux, sigma = stars.flux[:3].clone(), stars.sigma[:3].clone()
    sigma[:, 500:560] = torch.inf
    other = flux.clone()
    other[:, 500:560] = torch.nan
    torch.testing.assert_close(denoiser.denoise(flux, sigma).mean, denoiser.denoise(other, sigma).mean)


def test_saved_and_loaded_it_answers_the_same(denoiser, stars, tmp_path):
    denoiser.save(tmp_path / "denoiser")
    again = SubspaceDenoiser.load(tmp_path / "denoiser")
    assert again.digest == denoiser.digest
    flux, sigma = stars.flux[:8], stars.sigma[:8]
    assert torch.equal(again.denoise(flux, sigma).mean, denoiser.denoise(flux, sigma).mean)
    assert "weighted sum" in (tmp_path / "denoiser" / "card.md").read_text()


def test_what_it_cannot_do_is_refused(simulator, sources):
    with pytest.raises(RunError, match="fit or load"):
        SubspaceDenoiser(simulator.observed).denoise(torch.ones(1, 4096), torch.ones(1, 4096))
    blind = MemorySource(collect(sources[1]).without_truth(), simulator.grid, simulator.prior.label_space)
    with pytest.raises(DataError, match="noise-free"):
        SubspaceDenoiser(simulator.observed, OPTIONS, SHORT).fit(blind, blind)


def test_templates_are_the_emulators_spectra(simulator, denoiser):
    labels = simulator.prior.sample(20, np.random.default_rng(1))
    with torch.no_grad():
        u = denoiser.templates.coordinates(labels)
        front = denoiser.templates.front
        base = torch.cat([front.mean[None], front.basis])
        spectra = denoiser.emulator(labels)
        spectra = spectra / spectra.mean(dim=1, keepdim=True)
        error = (denoiser.templates.templates(u) @ base - spectra) * front.reference.sqrt()
    assert isinstance(denoiser.templates, ReducedTemplates)
    assert isinstance(front, SubspaceProjection)
    # What 40 components leave out is a small part of the noise of a spectrum.
    assert float(error.square().sum(dim=1).mean()) < 1.0


def _doubled(statistics):
    inputs = statistics.inputs._replace(
        values=statistics.inputs.values.double(), level=statistics.inputs.level.double()
    )
    return statistics._replace(
        inputs=inputs, projected=statistics.projected.double(), normal=statistics.normal.double()
    )


def test_a_star_that_is_stopped_at_a_face_takes_the_others_along_its_valley():
    """Two labels that vary together: the best point with the first at its face is the regression of the second on it."""
    factor = torch.tensor([[[0.1, 0.0], [0.08, 0.02]]])
    found = inside_cube(torch.tensor([[[-0.2, 0.3], [0.4, 0.5]]]), factor)
    covariance = factor[0] @ factor[0].T
    expected = 0.3 + 0.2 * covariance[0, 1] / covariance[0, 0]
    torch.testing.assert_close(found[0, 0], torch.stack([torch.tensor(0.0), expected]))
    torch.testing.assert_close(found[0, 1], torch.tensor([0.4, 0.5]))


def test_no_star_lies_outside_the_box():
    generator = torch.Generator().manual_seed(0)
    factor = torch.linalg.cholesky(torch.eye(5) + 0.5).expand(30, -1, -1)
    points = inside_cube(2 * torch.randn(30, 4, 5, generator=generator), factor)
    assert float(points.min()) >= 0
    assert float(points.max()) <= 1


def test_fits_stay_out_of_holes_of_the_library(simulator, denoiser, prepared):
    """The library without its cool dwarfs; of stars elsewhere nothing changes."""
    space = simulator.prior.label_space
    edges = [np.array([low, high]) for low, high in zip(space.low, space.high, strict=True)]
    edges[0], edges[1] = np.array([3750.0, 4600.0, 6000.0]), np.array([1.0, 3.0, 5.0])
    filled = np.array([[True, False], [True, True]]).reshape(2, 2, 1, 1, 1)
    statistics, whole = prepared[0].statistics, prepared[0].local.point
    templates = copy.deepcopy(denoiser.templates)
    templates.region = Region(space, CoveredCells(tuple(edges), filled))
    templates.bank_points.copy_(templates.region.moved_inside(templates.bank_points))
    with torch.no_grad():
        templates.bank.copy_(templates.templates(templates.bank_points))
    found = templates.fitted(statistics).point
    inside = templates.region.covers(whole)
    assert templates.region.covers(found).all()
    assert 0.5 < inside.float().mean() < 0.95
    near = (found - whole)[inside].abs().amax(1) < 0.02
    assert near.float().mean() > 0.85
