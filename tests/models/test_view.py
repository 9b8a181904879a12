"""What an estimator sees of a spectrum: continua against NumPy and SciPy, dead pixels without influence, one view for all."""

import numpy as np
import pytest
import torch
from scipy.interpolate import make_lsq_spline

from specvit.errors import ConfigError
from specvit.estimators import NetworkEstimator, make_estimator, network_config
from specvit.explain import estimate_slopes
from specvit.models import PLS, LightGBM, PCARidge, Ridge, build_network
from specvit.models.conditioning import Conditioning
from specvit.models.continuum import polynomial, running_median, spline
from specvit.models.inputs import relative_spectra
from specvit.models.view import GRAVITY_WINDOWS, View
from specvit.spectra import LabelSpace, MemorySource, SpectraBatch, WavelengthGrid
from specvit.training import Recipe

PIXELS = 240
GRID = WavelengthGrid.linear(8400.0, 1.75, PIXELS)
SPACE = LabelSpace(("log_g",), ("dex",), (1.0,), (5.0,))
FORMS = (
    "polynomial-3",
    "spline-6",
    "running-median-41",
    "chunk-50",
    "overlapping-chunk-50",
    "whitened",
    "sigma",
)


def spectra(count=12, seed=0, dead=0.0):
    """Spectra of one line on a sloping continuum, with dead pixels that hold nonsense."""
    rng = np.random.default_rng(seed)
    x = np.linspace(-1, 1, PIXELS)
    depth = rng.uniform(0.1, 0.6, (count, 1))
    clean = (1 + 0.3 * rng.normal(size=(count, 1)) * x) * (1 - depth * np.exp(-0.5 * ((x - 0.2) / 0.03) ** 2))
    sigma = 0.01 * (1 + 5 * np.exp(-0.5 * ((x + 0.5) / 0.02) ** 2)) * rng.uniform(0.5, 2, (count, 1))
    flux = clean + sigma * rng.normal(size=clean.shape)
    sigma = np.where(rng.random(flux.shape) < dead, np.inf, sigma)
    flux = np.where(np.isfinite(sigma), flux, 77.0)
    tensors = [torch.from_numpy(a.astype(np.float32)) for a in (flux, sigma, 1 + 6 * depth)]
    return SpectraBatch(*tensors)


def seen(view, batch):
    relative = relative_spectra(batch.flux, batch.sigma, PIXELS, "test")
    return relative, view.relative(relative, view.mask(GRID, None))


@pytest.mark.parametrize("form", FORMS)
def test_a_dead_pixel_has_no_influence_and_sigma_follows_the_flux(form):
    batch = spectra(dead=0.1)
    dead = torch.isinf(batch.sigma)
    before, after = seen(View(form), batch)
    other = SpectraBatch(torch.where(dead, -3.0, batch.flux), batch.sigma)
    assert torch.equal(after.flux, seen(View(form), other)[1].flux)
    assert torch.equal(torch.isinf(after.sigma), dead)
    if form == "sigma":
        assert torch.equal(after.flux[~dead], before.sigma[~dead])
        return
    # One divisor for both: a change of flux by one sigma stays one of one sigma.
    moved = seen(View(form), batch)[0]
    divisor = moved.sigma / after.sigma
    offset = moved.flux - after.flux * divisor
    found = (moved.flux - offset) / divisor
    torch.testing.assert_close(found[~dead], after.flux[~dead])
    assert bool((divisor[~dead] > 0).all())


@pytest.mark.parametrize("form", FORMS)
def test_spectra_of_a_batch_do_not_meet(form):
    batch = spectra(dead=0.05)
    whole = seen(View(form, noisiest=0.1), batch)[1]
    for row in range(3):
        alone = seen(
            View(form, noisiest=0.1), SpectraBatch(batch.flux[row : row + 1], batch.sigma[row : row + 1])
        )
        torch.testing.assert_close(alone[1].flux[0], whole.flux[row])
        torch.testing.assert_close(alone[1].sigma[0], whole.sigma[row])


def test_the_polynomial_is_that_of_numpy():
    batch = spectra()
    before, after = seen(View("polynomial-3"), batch)
    x = np.linspace(-1, 1, PIXELS)
    for row in range(3):
        flux = before.flux[row].numpy()
        fit = np.polynomial.Polynomial.fit(x, flux, 3, w=1 / before.sigma[row].numpy())
        np.testing.assert_allclose(after.flux[row].numpy(), flux / fit(x), rtol=1e-6)


def test_the_spline_is_that_of_scipy_where_no_pixel_is_far_from_it():
    x = torch.linspace(0, 1, PIXELS, dtype=torch.float64)[None]
    flux, sigma = 1 + 0.1 * torch.sin(5 * x), torch.full_like(x, 0.01)
    knots = np.r_[[0] * 4, np.linspace(0, 1, 7)[1:-1], [1] * 4]
    expected = make_lsq_spline(x[0].numpy(), flux[0].numpy(), knots)(x[0].numpy())
    found = spline(flux, sigma, torch.ones_like(x, dtype=torch.bool), 6)
    np.testing.assert_allclose(found[0], expected, atol=2e-4)


def test_a_line_pulls_the_robust_spline_down_less_than_the_polynomial():
    x = torch.linspace(0, 1, PIXELS, dtype=torch.float64)[None]
    flux = 1 - 0.8 * torch.exp(-0.5 * ((x - 0.5) / 0.01) ** 2)
    sigma, usable = torch.full_like(x, 0.01), torch.ones_like(x, dtype=torch.bool)
    noise = 0.01 * torch.from_numpy(np.random.default_rng(0).normal(size=(1, PIXELS)))
    robust = float((spline(flux + noise, sigma, usable, 6) - 1).abs().max())
    plain = float((polynomial(flux + noise, sigma, usable, 8) - 1).abs().max())
    assert robust < 0.03 < plain


def test_the_running_median_is_that_of_numpy_at_its_nodes():
    batch = spectra(dead=0.1)
    usable = torch.isfinite(batch.sigma)
    found = running_median(batch.flux.double(), usable, 41).numpy()
    for node in range(0, PIXELS, 5):
        inside = slice(max(0, node - 20), node + 21)
        for row in range(3):
            values = np.sort(batch.flux[row, inside][usable[row, inside]].double())
            assert found[row, node] == pytest.approx(values[(len(values) - 1) // 2])


def test_chunks_have_no_mean_and_unit_deviation():
    _, after = seen(View("chunk-60"), spectra())
    blocks = after.flux.unflatten(1, (4, 60))
    torch.testing.assert_close(blocks.mean(dim=2), torch.zeros(12, 4, dtype=torch.float64), atol=1e-9, rtol=0)
    torch.testing.assert_close(blocks.std(dim=2, correction=0), torch.ones(12, 4, dtype=torch.float64))


def test_the_noisiest_share_is_hidden_and_equal_sigmas_hide_none():
    batch = spectra()
    before, after = seen(View(noisiest=0.1), batch)
    hidden = torch.isinf(after.sigma)
    assert (hidden.sum(dim=1) == PIXELS // 10).all()
    for row in range(12):
        assert before.sigma[row][hidden[row]].min() >= before.sigma[row][~hidden[row]].max()
    even = SpectraBatch(batch.flux, torch.full_like(batch.sigma, 0.1))
    level = seen(View(noisiest=0.1), even)[1]
    # Of one sigma relative to the level, in float32 as in the input.
    assert int(torch.isinf(level.sigma).sum()) == 0


def test_what_is_seen_is_what_was_asked_for():
    inside = View(seen="gravity").mask(GRID, None)
    windows = [(c, h) for c, h in GRAVITY_WINDOWS.values() if 8400 < c < 8400 + 1.75 * PIXELS]
    expected = np.any([np.abs(GRID.wavelength - c) <= h for c, h in windows], axis=0)
    np.testing.assert_array_equal(inside, expected)

    def density(grid):
        return torch.exp(-0.5 * ((torch.arange(grid.size) - 60) / 4) ** 2) + 0.5 * (
            torch.arange(grid.size) == 200
        )

    top = View(seen="fisher-5").mask(GRID, density).nonzero()[:, 0].tolist()
    assert top == [58, 59, 60, 61, 62]
    peaks = View(seen="peaks-2").mask(GRID, density).nonzero()[:, 0].tolist()
    assert peaks == [*range(55, 66), *range(195, 206)]
    with pytest.raises(ConfigError, match="needs the simulated world"):
        View(seen="fisher-5").mask(GRID, None)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"form": "poly-3"}, "'poly-3' is not known; choose whitened, sigma, polynomial-N"),
        ({"form": "polynomial-99"}, "polynomial-1 to polynomial-15"),
        ({"seen": "fisher"}, "choose gravity, fisher-K"),
        ({"noisiest": 0.95}, "noisiest"),
    ],
)
def test_what_cannot_be_meant_is_refused(options, said):
    with pytest.raises(ConfigError, match=said):
        View(**options)


def source(count, seed, **more):
    return MemorySource(spectra(count, seed, **more), GRID, SPACE)


@pytest.mark.parametrize(
    "make", [Ridge, PCARidge, PLS, lambda **view: LightGBM(rounds=10, threads=1, **view)]
)
def test_hidden_pixels_are_no_columns_and_a_saved_estimator_sees_the_same(make, tmp_path):
    view = View("polynomial-2", "gravity", 0.05)
    model = make(view=view).fit(source(200, 0), source(80, 1))
    batch = spectra(20, 2)
    mask = view.mask(GRID, None)
    hidden = batch.flux + torch.where(
        mask, 0.0, 0.01 * torch.randn(PIXELS, generator=torch.Generator().manual_seed(0))
    )
    # A polynomial sees all pixels; without it what is hidden has no influence at all.
    plain = make(view=View(seen="gravity")).fit(source(200, 0), source(80, 1))
    level = relative_spectra(batch.flux, batch.sigma, PIXELS, "test").level
    moved = relative_spectra(hidden, batch.sigma, PIXELS, "test").level
    found = plain.predict(batch.flux / level[:, None], batch.sigma / level[:, None]).mean
    again = plain.predict(hidden / moved[:, None], batch.sigma / level[:, None]).mean
    if torch.allclose(level, moved):
        torch.testing.assert_close(found, again)
    model.save(tmp_path / "model")
    loaded = type(model).load(tmp_path / "model")
    assert torch.equal(
        loaded.predict(batch.flux, batch.sigma).mean, model.predict(batch.flux, batch.sigma).mean
    )


def test_ridge_on_hidden_pixels_is_ridge_on_the_other_columns():
    mask = View(seen="gravity").mask(GRID, None)
    train, validation, test = (spectra(n, k) for n, k in ((200, 0), (80, 1), (20, 2)))
    alphas = (1.0,)
    seen_only = Ridge(alphas=alphas, view=View(seen="gravity"))
    seen_only.fit(MemorySource(train, GRID, SPACE), MemorySource(validation, GRID, SPACE))

    def columns(batch):
        relative = relative_spectra(batch.flux, batch.sigma, PIXELS, "test")
        return relative.flux[:, mask].numpy()

    x, y = columns(train), train.labels[:, 0].double().numpy()
    scale = x.std(axis=0)
    z = (x - x.mean(axis=0)) / scale
    weights = np.linalg.solve(z.T @ z + np.eye(z.shape[1]), z.T @ (y - y.mean()))
    expected = y.mean() + (columns(test) - x.mean(axis=0)) / scale @ weights
    np.testing.assert_allclose(seen_only.predict(test.flux, test.sigma).mean[:, 0], expected, rtol=1e-6)


def test_standardised_trees_are_the_same_trees(tmp_path):
    sets = source(400, 0), source(100, 1)
    plain = LightGBM(rounds=20, threads=1).fit(*sets)
    standardised = LightGBM(rounds=20, threads=1, standardise=True).fit(*sets)
    batch = spectra(100, 2)
    estimates = [m.predict(batch.flux, batch.sigma).mean[:, 0] for m in (plain, standardised)]
    # Edges of the bins are rounded otherwise; nothing else differs.
    assert float((estimates[0] - estimates[1]).std()) < 0.2 * float(estimates[0].std())
    standardised.save(tmp_path / "trees")
    assert torch.equal(
        LightGBM.load(tmp_path / "trees").predict(batch.flux, batch.sigma).mean[:, 0], estimates[1]
    )


@pytest.mark.parametrize("form", ["", *FORMS])
def test_a_front_end_sees_what_every_estimator_sees(form):
    batch = spectra(64, dead=0.05)
    view = View(form, "gravity", 0.05)
    mask = view.mask(GRID, None)
    front = Conditioning(PIXELS, view=view).see(mask).fit(batch.flux, batch.sigma)
    expected = seen(view, batch)[1]
    inputs = front(batch.flux, batch.sigma)
    assert torch.equal(inputs.usable, torch.isfinite(expected.sigma))
    values = torch.where(inputs.usable, (expected.flux.float() - front.centre) / front.scale, 0.0)
    torch.testing.assert_close(inputs.values[:, 0], values, rtol=2e-3, atol=2e-3)
    assert not torch.isnan(inputs.level).any()


def test_slopes_are_those_of_the_flux_that_is_seen():
    config = network_config("mlp").with_options(
        {"width": 8, "depth": 1, "view": "polynomial-2", "noisiest": 0.1}
    )
    torch.manual_seed(0)
    network = build_network(config, GRID, SPACE)
    batch = spectra(8)
    network.front.fit(batch.flux, batch.sigma)
    slopes = estimate_slopes(network, batch.flux, batch.sigma, "log_g")
    viewed = network.front.viewed(batch.flux, batch.sigma)
    assert torch.equal(slopes == 0, ~viewed.usable)
    step = 1e-4 * viewed.divisor * viewed.usable * slopes.sign()
    up, down = (
        network.mean(
            network.body(
                network.front.from_normalised(
                    viewed.usable, viewed.flux + s * step / viewed.divisor, viewed.sigma
                )
            )
        )
        for s in (1, -1)
    )
    torch.testing.assert_close(
        (up - down)[:, 0], 2 * (slopes * step).sum(dim=1).double(), rtol=5e-2, atol=1e-5
    )


def test_a_subspace_network_has_no_view():
    with pytest.raises(ConfigError, match="subspace network sees whole spectra"):
        network_config("subspace").with_options({"view": "polynomial-3"})


def test_a_saved_network_sees_what_it_was_trained_on(tmp_path):
    recipe = Recipe(steps=4, batch=32, validations=1)
    options = {"width": 8, "depth": 1, "seen": "gravity", "noisiest": 0.05}
    model = make_estimator("mlp", recipe=recipe, options=options, device="cpu").fit(
        source(200, 0), source(80, 1)
    )
    model.save(tmp_path / "network")
    loaded = NetworkEstimator.load(tmp_path / "network")
    assert torch.equal(loaded.network.front.seen, View(seen="gravity").mask(GRID, None))
    batch = spectra(20, 2)
    assert torch.equal(
        loaded.predict(batch.flux, batch.sigma).mean, model.predict(batch.flux, batch.sigma).mean
    )
    # Where nothing is seen nothing matters; the level is the median, which one pixel does not move.
    hidden = int((~loaded.network.front.seen).nonzero()[0])
    other = batch.flux.clone()
    other[:, hidden] *= 1.001
    torch.testing.assert_close(
        loaded.predict(other, batch.sigma).mean,
        loaded.predict(batch.flux, batch.sigma).mean,
        rtol=1e-3,
        atol=1e-3,
    )
