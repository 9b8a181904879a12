"""Learned denoisers as wholes, in a world where the best answer is known: errors, coverage, round trips, what is refused."""

import json

import pytest
import torch

from learned_world import GRID, LINES, PIXELS, SPACE, error, posterior, shapes, source, spectra
from specvit.denoise import Denoiser
from specvit.denoise.learned import LearnedDenoiser
from specvit.denoise.learned.config import split_options
from specvit.denoise.learned.restoration import Restoration
from specvit.denoise.learned.seen import Sight
from specvit.denoise.making import strongest
from specvit.errors import ConfigError, DataError, RunError
from specvit.jobs.denoiser_training import score_flux
from specvit.spectra import MemorySource, SpectraBatch, Truth

NETWORKS = {
    "growth": (1, 2),
    "patch": 4,
    "channels": 8,
    "scales": 4,
    "reach": 3,
    "components": 3,
    "patterns": 3,
}
QUICK = {
    **NETWORKS,
    "width": 8,
    "depth": 1,
    "linear": 3,
    "batch": 32,
    "validations": 2,
    "lr": 3e-3,
    "warmup": 0.1,
}


def trained(objective, train=None, steps=2, held_out=None, **options):
    config, recipe = split_options({**QUICK, "objective": objective, "steps": steps, **options})
    denoiser = LearnedDenoiser(config, recipe, device="cpu")
    return denoiser.fit(train or source(2000, 1), held_out or source(200, 2))


def test_in_a_linear_world_second_exposures_teach_what_noise_free_flux_teaches():
    """The least-squares linear map to noisy targets is that to clean ones, and both are the best linear filter."""
    batch = spectra(60_000, 3, noise=0.15)
    # One noise for all, so that one linear map is the best there is.
    sigma = torch.where(torch.arange(PIXELS) < LINES, 0.2, 1e-3).expand(len(batch), -1)
    noise = torch.randn(batch.flux.shape, generator=torch.Generator().manual_seed(9))
    true_sigma = torch.where(torch.arange(PIXELS) < LINES, 0.2, 0.0).expand(len(batch), -1)
    flux = batch.truth.flux + true_sigma * noise
    night = SpectraBatch(
        flux, sigma, batch.labels, {}, batch.snr, Truth(batch.truth.flux, true_sigma, batch.truth.scale)
    )
    sight = Sight(PIXELS).fit(flux[:500], sigma[:500], None)
    maps = {}
    for task in ("clean", "noise2noise"):
        seen, targets = Restoration(sight, task, "mse").prepare(night, 5)
        given, wanted = (values[:, :LINES].double() - 1 for values in (seen.flux, targets[:, 0]))
        maps[task] = torch.linalg.lstsq(given, wanted).solution
    covariance = (shapes()[1].T @ shapes()[1])[:LINES, :LINES].double()
    best = torch.linalg.solve(covariance + 0.04 * torch.eye(LINES).double(), covariance)
    assert float((maps["clean"] - best).abs().max()) < 0.01
    assert float((maps["noise2noise"] - best).abs().max()) < 0.02
    # Of its own noisy flux, in place of another exposure, it would learn to change nothing.
    own = torch.linalg.lstsq(given, given).solution
    assert float((own - best).abs().max()) > 0.5


def test_a_short_training_comes_near_the_posterior_mean_and_keeps_both_scores():
    denoiser, batch = trained("clean", steps=120), spectra(500, 7)
    assert isinstance(denoiser, Denoiser)
    found = denoiser.denoise(batch.flux, batch.sigma)
    best = error(posterior(batch.flux, batch.sigma)[0], batch.truth.flux)
    assert error(batch.flux, batch.truth.flux) > 10 * best
    assert best < error(found.mean, batch.truth.flux) < 1.5 * best
    assert set(denoiser.origin.training.facts["last_scores"]) == {"raw", "average"}
    assert denoiser.origin.training.best_weights in ("raw", "average")


def test_the_average_of_a_short_training_is_no_random_start():
    """With a decay of 0.9999 uncorrected, 98 % of it would be the start after 200 steps."""
    scores = trained("clean", steps=60, ema=0.9999, linear=0).origin.training.facts["last_scores"]
    start = trained("clean", steps=1, lr=1e-9, linear=0).origin.training.facts["last_scores"]["raw"]
    assert scores["raw"] - start > 0.05
    assert scores["average"] - start > 0.6 * (scores["raw"] - start)


def two_kinds(count, seed):
    """Stars of two kinds alone, c = -1 and c = 1, where the posterior mean is no linear function of the flux."""
    generator = torch.Generator().manual_seed(seed)
    mean, basis = shapes()
    kind = 2.0 * torch.randint(0, 2, (count, 1), generator=generator) - 1
    clean = mean + kind * basis[1]
    sigma = torch.full_like(clean, 0.4)
    true_sigma = torch.where(torch.arange(PIXELS) < LINES, sigma, 0.0)
    flux = clean + true_sigma * torch.randn(clean.shape, generator=generator)
    truth = Truth(clean, true_sigma, torch.ones(count))
    return SpectraBatch(flux, sigma, torch.full((count, 1), 2.5), {}, torch.full((count,), 5.0), truth)


def test_a_basis_denoiser_learns_what_no_linear_filter_can_and_samples_both_kinds():
    train, held_out = (MemorySource(two_kinds(n, s), GRID, SPACE) for n, s in ((4000, 1), (200, 2)))
    options = {"components": 1, "patterns": 1, "width": 32, "depth": 2, "batch": 128, "lr": 5e-3}
    denoiser = trained("basis", train, 600, held_out, **options)
    batch = two_kinds(400, 3)
    direction = shapes()[1][1]
    precision = float((direction[:LINES] ** 2).sum()) / 0.16
    projected = ((batch.flux - 1) @ direction)[:, None] / 0.16
    exact, linear = torch.tanh(projected), projected / (1 + precision)
    found = denoiser.denoise(batch.flux, batch.sigma, draws=64)
    estimate = ((found.mean - 1) @ direction / (direction @ direction))[:, None]
    excess = float((estimate - exact).square().mean())
    assert excess < 0.15 * float((linear - exact).square().mean())
    drawn = (found.samples - 1) @ direction / (direction @ direction)
    # Samples are of one kind or the other, each as often as the posterior says.
    assert float((drawn.abs() > 0.6).float().mean()) > 0.9
    share = (drawn > 0).float().mean(dim=1)
    assert float((share - (1 + exact[:, 0]) / 2).abs().mean()) < 0.08


def test_samples_of_the_basis_cover_in_a_gaussian_world_and_have_its_posterior():
    denoiser, batch = trained("basis", source(4000, 1), 40, lr=1e-4), spectra(600, 8)
    found = denoiser.denoise(batch.flux, batch.sigma, draws=100)
    mean, std = posterior(batch.flux, batch.sigma)
    # Where the star differs from the mean at all.
    told = std.mean(dim=0) > 0.02
    torch.testing.assert_close(found.mean.double()[:, told], mean[:, told], rtol=0, atol=0.03)
    assert float((found.std.double() / std)[:, told].mean() - 1) == pytest.approx(0, abs=0.06)
    rank = (found.samples < batch.truth.flux[:, None]).float().mean(dim=1)[:, told]
    for share in (0.68, 0.95):
        assert float(((rank - 0.5).abs() <= share / 2).float().mean()) == pytest.approx(share, abs=0.03)
    # Nothing had to be learnt in this world, so nothing is missing in the width of samples.
    # (Forty stars of three numbers each know it to a tenth.)
    assert float(denoiser.method.restorer.widening.mean()) == pytest.approx(1, abs=0.1)
    again = denoiser.denoise(batch.flux, batch.sigma, draws=100)
    other = denoiser.denoise(batch.flux, batch.sigma, draws=100, seed=1)
    assert torch.equal(found.samples, again.samples)
    assert not torch.equal(found.samples, other.samples)


@pytest.mark.parametrize(
    ("objective", "options"),
    [
        ("clean", {"sigma": "shuffled", "loss": "wmae"}),
        ("residual", {"low": 0.5}),
        ("noise2noise", {}),
        ("blind", {"masked": 0.5}),
        ("blind-supervised", {}),
        ("edm", {"steps_of_sampler": 2}),
        ("ddpm", {"conditional": False, "steps_of_sampler": 2, "sampler": "ancestral"}),
        ("basis", {}),
    ],
)
def test_every_kind_is_saved_and_read_back(objective, options, tmp_path):
    denoiser, batch = trained(objective, **options), spectra(3, 4)
    denoiser.metrics = {"MSE": 0.5}
    denoiser.save(tmp_path / "saved")
    loaded = LearnedDenoiser.load(tmp_path / "saved")
    draws = 2 if objective in ("residual", "edm", "ddpm", "basis") else 0
    first, second = (each.denoise(batch.flux, batch.sigma, draws=draws) for each in (denoiser, loaded))
    assert torch.equal(first.mean, second.mean)
    if draws:
        assert first.samples.shape == (3, 2, PIXELS)
        assert torch.equal(first.samples, second.samples)
    assert (denoiser.digest, denoiser.config, denoiser.metrics) == (
        loaded.digest,
        loaded.config,
        loaded.metrics,
    )
    assert "held-out" in (tmp_path / "saved" / "card.md").read_text()
    with pytest.raises(RunError, match="no training recipe"):
        loaded.fit(source(10), source(10))


def test_a_changed_denoiser_is_refused(tmp_path):
    trained("clean", steps=1).save(tmp_path / "saved")
    manifest = tmp_path / "saved" / "manifest.json"
    content = json.loads(manifest.read_text())
    content["settings"]["options"]["unet"]["width"] = 16
    manifest.write_text(json.dumps(content))
    with pytest.raises(DataError):
        LearnedDenoiser.load(tmp_path / "saved")


def test_strength_of_a_residual_denoiser_is_told_and_zero_is_the_input():
    denoiser, batch = trained("residual", steps=30), spectra(20, 5)
    assert torch.equal(denoiser.denoise(batch.flux, batch.sigma, strength=0.0).mean, batch.flux)
    whole, half = (denoiser.denoise(batch.flux, batch.sigma, strength=s).mean for s in (1.0, 0.5))
    plain = batch.flux + 0.5 * (whole - batch.flux)
    assert not torch.allclose(half, plain, atol=1e-3)


def test_only_a_blind_task_takes_spectra_whose_truth_is_unknown():
    def unknown(count, seed):
        return MemorySource(spectra(count, seed).without_truth(), GRID, SPACE)

    assert trained("blind", unknown(300, 1), held_out=unknown(50, 2)).origin.training.steps == 2
    for objective in ("clean", "basis", "edm", "noise2noise"):
        with pytest.raises(DataError, match="noise-free"):
            trained(objective, unknown(300, 1), held_out=unknown(50, 2))


def test_a_spectrum_is_denoised_alike_in_any_company_and_unit():
    batch = spectra(40, 6)
    for objective in ("clean", "blind", "basis"):
        denoiser = trained(objective, steps=5)
        together = denoiser.denoise(batch.flux, batch.sigma).mean
        alone = denoiser.denoise(5 * batch.flux[7:8], 5 * batch.sigma[7:8]).mean / 5
        torch.testing.assert_close(together[7:8], alone, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("objective", ["edm", "residual"])
def test_trained_diffusions_of_pixels_cover_in_a_gaussian_world(objective):
    """A conditional EDM by itself, a residual network by the exact product: both are of the known posterior."""
    options = {"width": 24, "batch": 128, "steps_of_sampler": 14, "lr": 4e-3}
    denoiser, batch = trained(objective, source(20_000, 1), 800, **options), spectra(150, 8)
    found = denoiser.denoise(batch.flux, batch.sigma, draws=48)
    mean, std = posterior(batch.flux, batch.sigma)
    told = std.mean(dim=0) > 0.02
    best = float((mean - batch.truth.flux)[:, told].square().mean())
    assert float((found.samples.mean(dim=1) - batch.truth.flux)[:, told].square().mean()) < 1.25 * best
    assert float((found.samples.std(dim=1).double() / std)[:, told].mean()) == pytest.approx(1, abs=0.12)
    rank = (found.samples < batch.truth.flux[:, None]).float().mean(dim=1)[:, told]
    for share in (0.68, 0.95):
        assert float(((rank - 0.5).abs() <= share / 2).float().mean()) == pytest.approx(share, abs=0.05)


def test_a_residual_denoiser_is_not_asked_for_more_noise_than_it_was_trained_with():
    weak, batch = trained("residual", high=0.2), spectra(20, 7)
    assert strongest(weak) == 0.2
    assert strongest(trained("clean")) == 1
    with pytest.raises(ConfigError, match=r"at most 0\.2 of the noise"):
        weak.denoise(batch.flux, batch.sigma)
    found = weak.denoise(batch.flux, batch.sigma, strength=0.2)
    assert torch.equal(weak.denoise(batch.flux, batch.sigma, strength=0.0).mean, batch.flux)
    assert torch.isfinite(found.mean).all()
    # Its scores are of spectra with that share of their noise.
    flux = batch.truth.flux + 0.2 * (batch.flux - batch.truth.flux)
    answer = weak.denoise(flux, batch.sigma, strength=0.2).mean
    expected = float((answer - batch.truth.flux).double().square().mean())
    assert score_flux(weak, batch)["all"]["mse"] == pytest.approx(expected, rel=1e-6)


def test_its_weights_go_where_the_flux_is_and_come_back(monkeypatch):
    """A GPU gets its answer there; files and digests are of the CPU."""
    denoiser, batch = trained("clean"), spectra(4, 7)
    body, places = denoiser.method.body, []
    move = type(body).to

    def noted(self, device):
        places.append(str(device))
        return move(self, device)

    monkeypatch.setattr(type(body), "to", noted)
    found = denoiser.denoise(batch.flux, batch.sigma)
    assert found.mean.device == batch.flux.device
    assert places == [str(batch.flux.device), "cpu"]
