"""A learnt step for bright stars: who gets it, how far it goes, and that it is there wherever a network is asked."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import truncnorm

from specvit.errors import ConfigError, DataError
from specvit.estimators import load_estimator
from specvit.estimators.architectures import network_config
from specvit.estimators.network_estimator import NetworkEstimator
from specvit.estimators.network_fitter import calibrate
from specvit.explain.gradients import estimate_slopes, integrated_gradients
from specvit.models.network import build_network
from specvit.models.origin import Origin
from specvit.models.refinement import LONGEST, Refinement, RefinementConfig, stated_by
from specvit.simulate import Simulator, Widening, World, endless
from specvit.spectra import take
from specvit.training.refining import RefiningRecipe, cut_normal_loss, refine
from specvit.training.starts import fit_front

SIZES = RefinementConfig(snr=50.0, components=24, patterns=6, width=32)


@pytest.fixture(scope="module")
def wide():
    """Spectra of S/N 2 to 400."""
    return World(widening=Widening(share=1.0)).build().source("train", 5, 256, truth=True).draw(0, 256)


@pytest.fixture(scope="module", params=["subspace", "vit"])
def network(request, wide):
    """An untrained network with a refinement that does something."""
    simulator = Simulator.build()
    torch.manual_seed(0)
    config = replace(network_config(request.param), bins=64, head="ordinal")
    found = build_network(config, simulator.grid, simulator.prior.label_space).eval()
    fit_front(found, wide)
    found.refinement = Refinement(SIZES, simulator.grid.size, 5).eval()
    found.refinement.front.fit(wide.truth.flux, wide.flux, wide.sigma)
    with torch.no_grad():
        for parameter in found.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return found.requires_grad_(False)


def of_body(network, flux, sigma):
    """Return the raw outputs without refinement."""
    return network.body(network.front(flux, sigma))


def test_bright_stars_are_refined_and_no_others(network, wide):
    bright = wide.snr >= SIZES.snr
    assert 40 < int(bright.sum()) < 216
    found, before = network(wide.flux, wide.sigma), of_body(network, wide.flux, wide.sigma)
    assert torch.equal(found[~bright], before[~bright])
    assert bool((found[bright] != before[bright]).flatten(1).any(dim=1).all())
    # As a spectrum alone, whatever the others are, and in any unit.
    row = int(torch.nonzero(bright)[0])
    alone = network(1e-17 * wide.flux[row : row + 1], 1e-17 * wide.sigma[row : row + 1])
    assert torch.allclose(alone, found[row : row + 1], rtol=1e-3, atol=1e-3)


def test_dead_pixels_make_no_star_bright_or_faint(network, wide):
    sigma = wide.sigma.clone()
    sigma[:, 1000:2600] = torch.inf
    snr = (wide.flux / wide.sigma).double()
    snr[:, 1000:2600] = torch.nan
    expected = snr.nanmedian(dim=1).values >= SIZES.snr
    assert torch.equal(network.is_bright(wide.flux, sigma), expected)
    assert bool(torch.isfinite(network(wide.flux, sigma)).all())
    none = torch.full_like(sigma[:2], torch.inf)
    assert not bool(network.is_bright(wide.flux[:2], none).any())


def test_a_step_is_no_longer_than_what_the_network_states(network, wide):
    """Whatever the spectrum is: a network that is honest is not made worse than it says."""
    raw = of_body(network, wide.flux, wide.sigma)
    stated = stated_by(network.head, raw)
    seen = network.refinement.seen(None, 3 * wide.flux.flip(1), wide.sigma)
    with torch.no_grad():
        network.refinement.gain[-1].bias.add_(10.0)
        centre, _ = network.refinement(stated, seen)
        network.refinement.gain[-1].bias.sub_(10.0)
    moved = (centre - stated.centre).abs() / stated.error
    assert float(moved.max()) <= LONGEST * (1 + 1e-4)
    assert float(moved.max()) > 0.9 * LONGEST


def test_what_is_stated_by_is_the_central_part_of_the_histogram(network):
    """A little probability far from the rest moves neither the point of departure nor the unit of the step."""
    head = network.head
    edges = head.edges
    middle = 0.5 * (edges[:, 1:] + edges[:, :-1])
    raw = -0.5 * ((middle - 0.3) / 0.1).square()[None]
    far = raw.clone()
    far[..., 0] = -3.0
    plain, tailed = stated_by(head, raw), stated_by(head, far)
    assert torch.allclose(plain.centre, torch.full_like(plain.centre, 0.3), atol=1e-2)
    assert torch.allclose(plain.error, torch.full_like(plain.error, 0.1), rtol=0.1)
    assert float(((tailed.centre - plain.centre).abs() / plain.error).max()) < 0.1
    assert float((tailed.error / plain.error - 1).abs().max()) < 0.1
    assert float((head.mean(far) - head.mean(raw)).abs().max()) > 0


def test_it_is_saved_read_back_and_used_by_an_estimator(tmp_path, network, wide, simulator):
    source = simulator.source("train", 5, 64)
    saved = NetworkEstimator("refined").adopt(network, Origin.of(source, source))
    saved.save(tmp_path / "refined")
    found = load_estimator(tmp_path / "refined")
    assert found.network.refinement.config == SIZES
    some = wide.flux[:64], wide.sigma[:64]
    assert torch.equal(found.predict(*some).mean, saved.predict(*some).mean)
    expected = network.mean(network(*some))
    assert torch.allclose(found.predict(*some).mean, expected, rtol=1e-5, atol=1e-4)
    assert not torch.allclose(expected, network.mean(of_body(network, *some)), rtol=1e-3)
    assert "S/N 50" in (tmp_path / "refined" / "card.md").read_text()


def test_errors_are_corrected_for_what_is_stated_in_the_end(network, wide, simulator):
    """Calibration of a network whose refinement states errors that are far too small."""
    source = World(widening=Widening(1.0, (60.0, 300.0))).build().source("train", 5, 2000)
    spread = network.refinement.sharpness[-1].bias.clone()
    correction = {name: value.clone() for name, value in network.head.calibration.state_dict().items()}
    with torch.no_grad():
        network.refinement.sharpness[-1].bias.fill_(4.0)
        calibrate(network, source, 2000)
        sharp = network.estimate(wide.flux, wide.sigma).std
        network.refinement.sharpness[-1].bias.fill_(0.0)
        calibrate(network, source, 2000)
        plain = network.estimate(wide.flux, wide.sigma).std
        network.refinement.sharpness[-1].bias.copy_(spread)
    network.head.calibration.load_state_dict(correction)
    bright = wide.snr >= 60.0
    ratio = (sharp / plain)[bright].median(dim=0).values
    # Uncorrected it would be e⁻² = 0.14.
    assert float(ratio.min()) > 0.5


def test_explanations_are_of_the_refined_estimate(network, wide):
    rows = torch.nonzero(wide.snr >= SIZES.snr)[:2, 0]
    flux, sigma = wide.flux[rows].double().float(), wide.sigma[rows]
    slopes = estimate_slopes(network, flux, sigma, "log_g")
    direction = 1e-3 * torch.randn(flux.shape, generator=torch.Generator().manual_seed(1)) * sigma
    # At a fixed level, as slopes are: the median is of the unchanged spectrum.
    usable, spectrum, noise, _, level = network.front.viewed(flux, sigma)

    def estimate(change):
        raw = network.body(network.front.from_normalised(usable, spectrum + change / level, noise))
        return network.mean(network.step_of(raw, usable, spectrum + change / level, noise))[:, 1]

    network.double()
    usable, spectrum, noise, level = usable, spectrum.double(), noise.double(), level.double()
    found = estimate(direction.double()) - estimate(-direction.double())
    network.float()
    assert torch.allclose((2 * slopes * direction).sum(dim=1).double(), found, rtol=0.05)
    parts = integrated_gradients(network, flux, sigma, "log_g")
    assert float(parts.gap.abs().max()) < 0.05


def learnt(simulator, world, **recipe):
    torch.manual_seed(1)
    config = replace(network_config("subspace"), bins=128)
    network = build_network(config, simulator.grid, simulator.prior.label_space).eval()
    source = endless(world.build(), 3)
    fit_front(network, take(source, 512))
    plan = {"spectra": 6000, "expected_steps": 150, "steps": 150, **recipe}
    return network, refine(network, source, SIZES, RefiningRecipe(**plan))["refinement"], source


BRIGHT = World(widening=Widening(1.0, (60.0, 400.0)))


def test_a_network_that_knows_nothing_is_brought_near(simulator):
    """From an untrained network, whose every estimate is the middle of the range, one step of the error that it states."""
    told = []
    network, record, source = learnt(simulator, BRIGHT)
    assert all(ratio < 0.75 for ratio in list(record["rmse_ratio"].values())[:3])
    # The stars that it says it was scored on were not those it was learnt on.
    fresh = source.draw(50_000, 50_400)
    truth = network.head.labels_scaling.to_scaled(fresh.known_labels())
    with torch.no_grad():
        error, before = (
            (stated_by(network.head, raw).centre - truth).square().mean(dim=0).sqrt()
            for raw in (network(fresh.flux, fresh.sigma), of_body(network, fresh.flux, fresh.sigma))
        )
    for name, ratio in zip(network.label_space.names, error / before, strict=True):
        assert float(ratio) == pytest.approx(record["rmse_ratio"][name], rel=0.1)
    again = learnt(simulator, BRIGHT)[1]
    assert again["rmse_ratio"] == record["rmse_ratio"]
    refine(network, source, SIZES, RefiningRecipe(5000, 2, 2), told.append)
    assert told[-1]["progress"] == 1.0
    assert [r["progress"] for r in told] == sorted(r["progress"] for r in told)


def test_the_loss_is_that_of_a_cut_normal_density():
    """Against SciPy, at the edges of the range too; it tells errors apart that are far below any bin."""
    rng = np.random.default_rng(0)
    truth, centre = rng.uniform(-1, 1, (2, 400, 2))
    spread = np.exp(rng.uniform(-3, 0, (400, 2)))
    low, high = np.array([-1.0, -1.1]), np.array([1.0, 1.2])
    expected = -truncnorm.logpdf(
        truth, (low - centre) / spread, (high - centre) / spread, centre, spread
    ).mean()
    given = (torch.from_numpy(v) for v in (truth, centre, -2 * np.log(spread), low, high))
    # The constant of the normal density is left out.
    assert float(cut_normal_loss(*given)) == pytest.approx(expected - 0.5 * np.log(2 * np.pi), rel=1e-9)
    off = torch.tensor([[1e-4], [1e-3]]).requires_grad_()
    sharp = torch.full((2, 1), 16.0)
    bounds = torch.tensor([-1.0]), torch.tensor([1.0])
    cut_normal_loss(torch.zeros(2, 1), off, sharp, *bounds).backward()
    assert float(off.grad[1]) == pytest.approx(10 * float(off.grad[0]), rel=1e-3)
    far = torch.tensor([[40.0]]).requires_grad_()
    cut_normal_loss(torch.zeros(1, 1), far, sharp[:1], *bounds).backward()
    assert torch.isfinite(far.grad).all()
    assert float(far.grad) > 0


def test_what_cannot_be_refined_is_refused(simulator):
    source = endless(BRIGHT.build(), 3)
    space = simulator.prior.label_space
    for options, words in (
        ({"head": "gaussian"}, "ordinal"),
        ({"head": "ordinal", "experts": 2}, "ordinal"),
        ({"head": "ordinal", "view": "whitened"}, "view"),
    ):
        config = network_config("mlp").with_options(options)
        network = build_network(config, simulator.grid, space)
        with pytest.raises(ConfigError, match=words):
            refine(network, source, SIZES, RefiningRecipe(6000, 2, 2))
    config = network_config("mlp").with_options({"head": "ordinal"})
    network = build_network(config, simulator.grid, space)
    with pytest.raises(DataError, match="spectra"):
        refine(network, source, SIZES, RefiningRecipe(100, 2, 2))
    with pytest.raises(ConfigError, match="snr"):
        RefinementConfig(snr=0.0)
    with pytest.raises(ConfigError, match="steps"):
        RefiningRecipe(steps=0)
