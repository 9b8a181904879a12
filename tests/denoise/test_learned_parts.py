"""Learned denoisers, piece by piece: identity without noise, blindness, what sigma is shown, losses against formulas."""

import pytest
import torch

from learned_world import LINES, PIXELS, error, posterior, spectra
from specvit.denoise.learned.basis import BasisConfig, BasisDiffusion, BasisRestorer
from specvit.denoise.learned.blind_spot import BlindSpotConfig, BlindSpotNet
from specvit.denoise.learned.config import DenoiserConfig, split_options
from specvit.denoise.learned.diffusion import Diffuser, Diffusion, ddpm_times
from specvit.denoise.learned.restoration import TASKS, Restoration
from specvit.denoise.learned.restorer import BlindRestorer, Restorer, combined
from specvit.denoise.learned.seen import SeenSpectra, Sight, _from_noisy
from specvit.denoise.learned.unet import UNet, UNetConfig
from specvit.errors import ConfigError, DataError

SMALL = UNetConfig(width=8, growth=(1, 2), patch=4)
BLIND = BlindSpotConfig(channels=4, scales=4, reach=3)


def shaken(module, seed=0):
    """Return the module with weights that are nowhere zero, as after a training."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.add_(0.3 * torch.randn(parameter.shape, generator=generator))
    return module.requires_grad_(False)


def sight(shown="visible"):
    sample = spectra(256, 5)
    return Sight(PIXELS, shown).fit(sample.flux, sample.sigma, sample.truth.flux)


def seen(batch, strength=1.0):
    return SeenSpectra(batch.flux, batch.sigma, torch.full((len(batch), 1), strength))


def restorer(components=0, shown="visible"):
    made = Restorer(SMALL, sight(shown), components)
    sample = spectra(256, 5)
    made.fit(sample.truth.flux, sample.flux, sample.sigma)
    return shaken(made).eval()


@pytest.mark.parametrize("components", [0, 3])
def test_at_strength_zero_a_restorer_gives_back_the_very_bits_whatever_its_weights(components):
    made, batch = restorer(components), spectra(6)
    assert torch.equal(made(seen(batch, 0.0)), batch.flux)
    assert float((made(seen(batch, 0.3)) - batch.flux).abs().max()) > 1e-2


def test_the_change_is_the_formula_of_the_module():
    made, batch = restorer(), spectra(4)
    s = 0.4
    known = made.sight.known(seen(batch, s))
    learnt = made.network(made.sight.planes(known), known.conditions)[:, 0]
    n, p = s * batch.sigma, made.sight.spread
    g = (
        (-n * (batch.flux - made.sight.mean) + p * (p**2 + n**2).sqrt() * learnt)
        * batch.sigma
        / (p**2 + n**2)
    )
    torch.testing.assert_close(made(seen(batch, s)), batch.flux + s * g, rtol=1e-4, atol=1e-5)


def test_a_new_restorer_is_the_best_linear_filter_but_for_what_that_leaves():
    """In a linear world that is the posterior mean, and before any training nearly all is there."""
    torch.manual_seed(0)
    made, sample, batch = Restorer(SMALL, sight(), 3), spectra(512, 5), spectra(400, 9)
    made.fit(sample.truth.flux, sample.flux, sample.sigma)
    found = made.requires_grad_(False)(seen(batch))
    best = error(posterior(batch.flux, batch.sigma)[0], batch.truth.flux)
    assert best < error(found, batch.truth.flux) < 1.3 * best
    assert torch.equal(made(seen(batch, 0.0)), batch.flux)


def test_dead_pixels_tell_nothing_and_are_filled():
    made, batch = restorer(3), spectra(4)
    sigma = batch.sigma.clone()
    sigma[:, 3:9] = torch.inf
    other = batch.flux.clone()
    other[:, 3:9] = 0.0
    first, second = (
        made(SeenSpectra(torch.where(sigma.isinf(), 0.0, flux), sigma, torch.ones(4, 1)))
        for flux in (batch.flux, other)
    )
    assert torch.equal(first, second)
    assert bool(first.isfinite().all())


@pytest.mark.parametrize("pixels", [PIXELS, 50])
def test_a_blind_network_does_not_see_the_pixel_it_speaks_of(pixels):
    network = shaken(BlindSpotNet(BLIND, pixels, 3, 2, 2)).double().eval()
    planes = torch.randn(1, 3, pixels, dtype=torch.float64, requires_grad=True)
    outputs = network(planes, torch.randn(1, 2, dtype=torch.float64))
    reached = torch.zeros(pixels, pixels)
    for at in range(pixels):
        (slope,) = torch.autograd.grad(outputs[0, :, at].sum(), planes, retain_graph=True)
        reached[at] = slope.abs().sum(dim=(0, 1))
    assert not reached.diagonal().any()
    # All others count, or nothing would be foretold.
    apart = ~torch.eye(pixels, dtype=torch.bool)
    assert float((reached[apart] > 0).float().mean()) > 0.95


def test_what_a_blind_restorer_foretells_does_not_depend_on_the_pixel_but_its_answer_does():
    made, batch = shaken(BlindRestorer(BLIND, sight())).eval(), spectra(2)
    changed = batch.flux.clone()
    changed[:, 7] += 0.3
    first, second = (made(SeenSpectra(flux, batch.sigma, torch.ones(2, 1))) for flux in (batch.flux, changed))
    assert torch.equal(first[:, :, 7], second[:, :, 7])
    assert not torch.equal(first[:, :, 6], second[:, :, 6])
    mean, variance = combined(first, seen(batch), batch.sigma)
    foretold = (2 * first[:, 1]).exp()
    weight = foretold + batch.sigma**2
    torch.testing.assert_close(mean, (foretold * batch.flux + batch.sigma**2 * first[:, 0]) / weight)
    torch.testing.assert_close(variance, foretold * batch.sigma**2 / weight)


def test_only_the_visible_sigma_goes_in():
    batch = spectra(8)
    other = batch.truth.__class__(batch.truth.flux, 3 * batch.truth.sigma, batch.truth.scale)
    leaked = batch.__class__(batch.flux, batch.sigma, batch.labels, {}, batch.snr, other)
    for task in ("clean", "noise2noise", "blind", "blind-supervised"):
        objective = Restoration(sight(), task, "mse")
        first, second = objective.prepare(batch, 3)[0], objective.prepare(leaked, 3)[0]
        assert all(torch.equal(*pair) for pair in zip(first, second, strict=True)), task


def test_noisy_spectra_alone_tell_mean_and_spread():
    sample = spectra(3000, 5)
    # The continuum has no noise in this world, so nothing has to be told from it there.
    flux, sigma, clean = (values[:, :LINES] for values in (sample.flux, sample.sigma, sample.truth.flux))
    # A pixel under a sky line says nothing, and does no harm.
    sky = torch.where(torch.arange(LINES) == 3, 30.0, 1.0)
    noise = torch.randn(flux.shape, generator=torch.Generator().manual_seed(2)) * sigma * (sky - 1)
    mean, variance = _from_noisy(torch.ones_like(flux, dtype=torch.bool), flux + noise, sigma * sky)
    quiet = sky == 1
    torch.testing.assert_close(mean[quiet], clean.mean(dim=0)[quiet], rtol=0, atol=0.015)
    assert float(variance[0] / clean.var(dim=0).mean()) == pytest.approx(1, abs=0.25)
    assert bool((variance == variance[0]).all())


@pytest.mark.parametrize("shown", ["blind", "mean", "shuffled"])
def test_controls_show_nothing_of_a_spectrums_own_sigma(shown):
    made, batch = restorer(shown=shown), spectra(8)
    more = batch.sigma * torch.linspace(1, 3, PIXELS)
    first = made(seen(batch))
    assert torch.equal(first, made(SeenSpectra(batch.flux, more, torch.ones(8, 1))))
    assert not torch.equal(first, restorer()(seen(batch)))
    noise = made.sight.known(seen(batch)).noise
    assert bool((noise == noise[:, :1]).all()) == (shown == "blind")
    assert bool((noise == noise[:1]).all()) == (shown != "shuffled")


def test_losses_against_their_formulas():
    batch, generator = spectra(5), torch.Generator().manual_seed(0)
    outputs = batch.flux + 0.1 * torch.randn(batch.flux.shape, generator=generator)
    off = (outputs - batch.truth.flux).double()
    for name, expected in {
        "mse": (off**2).mean() / float(sight().spread.square().mean()),
        "wmae": (off.abs() / batch.sigma).mean(),
        "wmse": (off**2 / batch.sigma**2).mean(),
    }.items():
        objective = Restoration(sight(), "clean", name)
        assert float(objective.loss(outputs, objective.prepare(batch, 0)[1])) == pytest.approx(
            float(expected), rel=1e-5
        )


def test_likelihoods_of_the_blind_task_are_of_the_noisy_pixel():
    batch = spectra(5)
    foretold = torch.stack([batch.truth.flux + 0.05, torch.full_like(batch.flux, -2.0)], dim=1)
    width = (torch.tensor(-4.0).exp() + batch.sigma**2).sqrt()
    for name, law in {"gaussian": torch.distributions.Normal, "laplace": torch.distributions.Laplace}.items():
        objective = Restoration(sight(), "blind", name)
        stated = width if name == "gaussian" else width / 2**0.5
        expected = -law(foretold[:, 0], stated).log_prob(batch.flux).mean()
        constant = 0.5 * torch.log(torch.tensor(2 * torch.pi)) if name == "gaussian" else 0.0
        found = objective.loss(foretold, objective.prepare(batch, 0)[1])
        torch.testing.assert_close(found, expected - constant, rtol=1e-4, atol=1e-4)


def test_the_supervised_blind_task_is_of_the_clean_flux_after_the_noisy_was_seen():
    batch = spectra(5)
    foretold = torch.stack([batch.truth.flux + 0.05, torch.full_like(batch.flux, -2.0)], dim=1)
    objective = Restoration(sight(), "blind-supervised", "laplace")
    mean, _ = combined(foretold, seen(batch), batch.sigma)
    width = (0.5 * (torch.tensor(-4.0).exp() + batch.sigma**2)).sqrt()
    expected = -torch.distributions.Laplace(mean, width).log_prob(batch.truth.flux).mean()
    found = objective.loss(foretold, objective.prepare(batch, 0)[1])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("task", ["bounded", "residual"])
def test_shares_of_noise_lie_between_their_bounds_and_only_one_task_is_told(task):
    batch = spectra(400)
    inputs, targets = Restoration(sight(), task, "mse", 0.2, 0.5).prepare(batch, 4)
    ratio = ((inputs.flux - targets[:, 0]) / batch.sigma)[:, :LINES].std(dim=1)
    assert float(ratio.min()) > 0.08
    assert float(ratio.max()) < 0.9
    assert abs(float(ratio.mean()) - 0.35) < 0.02
    if task == "residual":
        assert float(torch.corrcoef(torch.stack([ratio, inputs.strength[:, 0]]))[0, 1]) > 0.6
    else:
        assert torch.equal(inputs.strength, torch.ones(400, 1))


def test_a_task_that_needs_truth_says_so():
    batch = spectra(8).without_truth()
    for task in TASKS:
        objective = Restoration(sight(), task, "mse")
        if task == "blind":
            objective.check(batch)
        else:
            with pytest.raises(DataError, match=task):
                objective.check(batch)


def test_noise_of_the_thousand_steps_reaches_from_almost_none_to_almost_all():
    times = ddpm_times()
    assert bool((times.diff() > 0).all())
    assert float(times[0]) == pytest.approx(0.01, rel=1e-3)
    kept = 1 / (1 + times[-1] ** 2)
    assert float(kept) == pytest.approx(4.04e-5, rel=0.01)  # Ho, Jain & Abbeel: L_T of about 1e-5 bits


@pytest.mark.parametrize("form", ["edm", "ddpm"])
def test_both_forms_of_a_diffusion_ask_the_network_for_an_output_of_unit_size(form):
    body = Diffuser(SMALL, sight(), form, conditional=False).requires_grad_(False)
    objective = Diffusion(body)
    inputs, targets = objective.prepare(spectra(2000), 1)
    wanted = (targets[:, :-1] - body(inputs)) / body.size(targets[:, -1:])
    # A new network gives zero, so what is missing is what it is asked for.
    assert float(wanted[:, :LINES].square().mean()) == pytest.approx(1, rel=0.15)


def test_more_and_less_noise_in_the_basis_has_the_moments_it_should():
    torch.manual_seed(0)
    body = BasisRestorer(BasisConfig(3, 3, 8, 1), PIXELS)
    batch, few = spectra(4000, 3), spectra(400, 4)
    body.fit(few.truth.flux, few.flux, few.sigma)
    objective = BasisDiffusion(body)
    told, targets = objective.prepare(batch, 2)
    true = targets[:, 0]
    assert float((true.std(dim=0) - 1).abs().max()) < 0.05
    # In a Gaussian world the linear answer is the posterior mean, with the variance it states.
    pull = (true - told.linear) / told.doubt.sqrt()
    assert float((pull.std(dim=0) - 1).abs().max()) < 0.04
    assert torch.equal(true[:4000], true[4000:8000])
    for part in (told.doubt.mean(dim=1) < 0.05, told.doubt.mean(dim=1) > 0.95):
        assert int(part.sum()) > 100
        assert float((pull[part].std(dim=0) - 1).abs().max()) < 0.15


def test_samples_that_are_too_narrow_are_widened_where_they_are():
    body = BasisRestorer(BasisConfig(3, 3, 8, 1), PIXELS)
    generator = torch.Generator().manual_seed(0)
    noise = torch.linspace(-3, 0, 500)
    # Errors of 1 to 2 stated ones, more for noisier spectra; a pixel in which all stars are alike says nothing.
    wrong = 1 + (noise + 3) / 3
    off = (wrong[:, None] * torch.randn(500, PIXELS, generator=generator)).abs()
    off[:, 5] = torch.nan
    body.correct(noise, off)
    samples = torch.randn(3, 4000, PIXELS, generator=generator)
    found = body.widened(torch.tensor([-9.0, -1.5, 0.5]), samples)
    torch.testing.assert_close(found.mean(dim=1), samples.mean(dim=1), rtol=0, atol=1e-5)
    factor = found.std(dim=1).mean(dim=1) / samples.std(dim=1).mean(dim=1)
    # Beyond the ends the factor stays that of the outermost third.
    torch.testing.assert_close(factor, torch.tensor([1.167, 1.5, 1.833]), rtol=0, atol=0.06)


@pytest.mark.parametrize(
    ("config", "pixels"), [(SMALL, 64), (SMALL, 61), (UNetConfig(8, (1, 1, 1), 2, 3, 2, False, False), 37)]
)
def test_a_u_net_takes_any_number_of_pixels_and_begins_at_zero(config, pixels):
    network = UNet(config, pixels, 2, 3, 4).requires_grad_(False)
    planes, conditions = torch.randn(2, 2, pixels), torch.randn(2, 4)
    assert network(planes, conditions).shape == (2, 3, pixels)
    assert not network(planes, conditions).any()
    moved = shaken(network)(planes, conditions)
    alone = network(planes[:1], conditions[:1])
    torch.testing.assert_close(moved[:1], alone)
    assert not torch.equal(network(planes, conditions + 1), moved)


def test_options_are_refused_by_name():
    config, recipe = split_options({"objective": "residual", "low": "0.1", "growth": "1,1", "steps": "7"})
    assert (config.objective, config.low, config.unet.growth, recipe.steps) == ("residual", 0.1, (1, 1), 7)
    for options, word in [
        ({"objectiv": "clean"}, "objective"),
        ({"objective": "cleen"}, "choose clean"),
        ({"loss": "gaussian"}, "does not train clean"),
        ({"objective": "edm", "loss": "mse"}, "leave it out"),
        ({"objective": "noise2noise", "loss": "wmae"}, "choose mse"),
        ({"sigma": "true"}, "choose visible"),
        ({"high": "2"}, "high: expected 0 to 1"),
        ({"low": "0.9", "high": "0.5"}, "low, high"),
        ({"objective": "basis", "sigma": "blind"}, "basis"),
        ({"pretrain": "masked"}, "unknown option"),
        ({"growth": "0,1"}, "growth: expected factors"),
        ({"kernel": "4"}, "odd"),
    ]:
        with pytest.raises(ConfigError, match=word):
            split_options(options)


def test_networks_that_must_not_see_truth_are_shown_no_linear_guess():
    for task in TASKS:
        shows = DenoiserConfig(objective=task).components > 0
        assert shows == (task in ("clean", "bounded", "residual"))
